"""Small packages laid out as the real ones are."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
    '<rect width="10" height="10" fill="#f00"/></svg>'
)
"""A red square."""


def put(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write files: text as it is, bytes as they are, anything else as JSON."""
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def png(colour: str = "blue", size: tuple[int, int] = (4, 3)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def pixels(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data))
