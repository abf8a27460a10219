"""SVG drawings to PNG pictures, the same bytes on every machine: no system font, no file but its own."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.rows import BadSample

SIDE = 256
"""Pixels of the longer side."""
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")


def rasterised(svg: bytes, where: str, side: int = SIDE) -> bytes:
    """Return the PNG of a drawing whose longer side has `side` pixels; what it leaves open is transparent.

    Text is set in DejaVu Sans. Raises BadSample("bad_drawing"), which names `where`; UserError
    without the renderer.
    """
    if find_spec("resvg_py") is None or find_spec("matplotlib") is None:
        raise UserError(
            "SVG drawings are made into pictures by resvg, which is not installed; run "
            "pip install 'chiasm[render]'."
        )
    from resvg_py import svg_to_bytes

    fonts = _fonts() if re.search(rb"<(?:\w+:)?text\b", svg) else None
    try:
        return svg_to_bytes(
            svg_string=_text(svg),
            width=side,
            height=side,
            skip_system_fonts=True,
            font_files=fonts,
            font_family="DejaVu Sans" if fonts else None,
        )
    except ValueError as error:
        detail = " ".join(str(error).split())[:200]
        raise BadSample(
            "bad_drawing", where, f"the drawing cannot be rendered ({detail})"
        ) from None


def read(path: Path, side: int = SIDE) -> bytes:
    """Return the PNG of a drawing in a file; raises as `rasterised`."""
    try:
        svg = path.read_bytes()
    except OSError as error:
        raise BadSample("bad_drawing", str(path), f"cannot be read ({error.strerror})") from None
    return rasterised(svg, str(path), side)


def _text(svg: bytes) -> str:
    told = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["']""", svg)
    try:
        return svg.decode(told[1].decode() if told else "utf-8-sig")
    except (LookupError, UnicodeDecodeError):
        return svg.decode("latin-1")


def _fonts() -> list[str]:
    """The two fonts that come with the renderer of charts: a system's own would differ by machine."""
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return [str(folder / name) for name in _FONTS]
