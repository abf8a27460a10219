"""SVG drawings to PNG pictures, the same on every machine: no system font, no file but its own."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.rows import BadSample

SIDE = 256
"""Pixels of the longer side."""
WIDEST = 2048
"""Pixels to which a page is enlarged at most where the drawing fills only a corner of it."""
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
            dpi=96.0,  # what CSS says an inch has; 0 would make millimetres nothing
            skip_system_fonts=True,
            font_files=fonts,
            font_family="DejaVu Sans" if fonts else None,
        )
    except ValueError as error:
        detail = " ".join(str(error).split())[:200]
        raise BadSample(
            "bad_drawing", where, f"the drawing cannot be rendered ({detail})"
        ) from None


def trimmed(svg: bytes, where: str, side: int = SIDE) -> bytes:
    """Return the PNG of a drawing without the empty page around it; otherwise as `rasterised`.

    Margins under a tenth stay. A drawing beside its page, which shows nothing, is a BadSample, too.
    """
    from PIL import Image

    wide = side
    while True:
        png = rasterised(svg, where, wide)
        image = Image.open(io.BytesIO(png))
        box = image.getchannel("A").getbbox()
        if box is None:
            raise BadSample("bad_drawing", where, "nothing is drawn on the page")
        width, height = box[2] - box[0], box[3] - box[1]
        if max(width, height) > 0.9 * side or wide == WIDEST:
            break
        wide = min(WIDEST, round(wide * side / max(width, height)))
    if wide == side and width > 0.9 * image.width and height > 0.9 * image.height:
        return png
    out = io.BytesIO()
    image.crop(box).save(out, "png")
    return out.getvalue()


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
