"""What to draw from: cut-outs that are half transparent discs, two files that are none, a small map."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def stamps(folder: Path) -> Path:
    """Fill a folder with eight cut-outs, an opaque picture and a damaged one."""
    folder.mkdir()
    for i, letter in enumerate("abcdefgh"):
        picture = Image.new("RGBA", (60 + i, 50), (0, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse([4, 4, 50, 44], fill=(30 * i, 255 - 30 * i, 90, 255))
        picture.save(folder / f"thing-{letter}.png")
    Image.new("RGB", (9, 9), "red").save(folder / "opaque.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n")
    return folder


def toy_map() -> dict[str, Any]:
    """A map of six squares in three columns, and a sea."""
    pixels = np.full((200, 300, 3), (0, 0, 255), np.uint8)
    names = ("North", "South", "East Reach", "West Reach", "Upper Vale", "Lower Vale")
    regions: list[Any] = []
    for number, name in enumerate(names):
        top, left = 10 + 90 * (number % 2), 20 + 90 * (number // 2)
        colour = [10 + 30 * number, 200 - 20 * number, 40]
        pixels[top : top + 80, left : left + 70] = colour
        regions.append([name, colour])
    pixels[0, :29] = (1, 1, 1)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return {"name": "Toyland", "data": out.getvalue(), "regions": [*regions, ["Strip", [1, 1, 1]]]}
