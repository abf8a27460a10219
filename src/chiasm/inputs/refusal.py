"""How the child says no: a reason that media.py has a sentence for, and a detail made by us alone.

picture or video ──▶ decoding.py, films.py ──▶ pixels
                           │ refuse(reason)
                           ▼
                      Refused ──▶ {"reason": ..., "detail": ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


class Refused(Exception):
    """A picture or video that is not decoded, and why: a key of media.REASONS, and a detail."""


def refuse(reason: str, detail: str = "") -> NoReturn:
    """Give up on a picture or video."""
    raise Refused(reason, detail)


def refuse_too_large(
    width: int, height: int, bytes_per_pixel: int, request: Mapping[str, Any]
) -> None:
    """Refuse by what the header says, before anything is decoded."""
    pixels = width * height
    if pixels > request["pixels"]:
        most = f"the limit is {request['pixels'] / 1e6:g} million pixels"
        refuse("too_many_pixels", f"{width} x {height} pixels ({most})")
    if pixels * bytes_per_pixel > request["decoded_bytes"]:
        most = f"the limit is {request['decoded_bytes'] / 1e6:g} MB"
        refuse("too_many_pixels", f"{width} x {height} pixels ({most})")


def refuse_too_many(frames: int, width: int, height: int, request: Mapping[str, Any]) -> None:
    """Refuse frames whose pixels would together be too much."""
    each = 3 * width * height
    if frames * each > request["decoded_bytes"]:
        most = f"the limit is {request['decoded_bytes'] / 1e6:g} MB"
        refuse("too_many_pixels", f"{frames} frames of {each / 1e6:g} MB ({most})")
