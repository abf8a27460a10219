"""Cut-outs to compose scenes of: half transparent discs, and two files that are none."""

from __future__ import annotations

from pathlib import Path

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
