"""Paper and ink: fonts that ship with packages, words written fast, pictures encoded.

No system font is ever used: the same picture on every machine.

    font("serif", 14) ─► write(image, (x, y), "two words", font, ink) ─► encoded(image, rng) ─► bytes
                          └─ each word's ink is kept: pages are written from words seen before
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from chiasm.base.errors import UserError

FACES = {
    "sans": "DejaVuSans.ttf",
    "sans bold": "DejaVuSans-Bold.ttf",
    "sans italic": "DejaVuSans-Oblique.ttf",
    "serif": "DejaVuSerif.ttf",
    "serif bold": "DejaVuSerif-Bold.ttf",
    "serif italic": "DejaVuSerif-Italic.ttf",
    "mono": "DejaVuSansMono.ttf",
    "mono bold": "DejaVuSansMono-Bold.ttf",
    "mono italic": "DejaVuSansMono-Oblique.ttf",
    "times": "STIXGeneral.ttf",
    "times bold": "STIXGeneralBol.ttf",
    "times italic": "STIXGeneralItalic.ttf",
}
"""Our names of the faces, and matplotlib's files."""

FAMILIES = ("sans", "serif", "mono", "times")


@contextmanager
def needed(library: str, drawn: str) -> Iterator[None]:
    """Turn a failing import of a library of the extra `render` into a UserError: how to get it."""
    try:
        yield
    except ImportError:
        raise UserError(
            f"{drawn} need {library}, which is not installed: pip install 'chiasm[render]'."
        ) from None


def font_folder() -> Path:
    """Return the folder of matplotlib's fonts; raises UserError where matplotlib is missing."""
    with needed("matplotlib", "The fonts of rendered pictures"):
        import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def needs_fonts() -> None:
    """Raise UserError where the fonts are missing."""
    font_folder()


@lru_cache(maxsize=256)
def font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """Return one of FACES at a size in pixels.

    Laid out by FreeType alone: Raqm, which some machines have, places letters a little otherwise.
    """
    path = font_folder() / FACES[face]
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=20_000)
def width(text: str, ink_font: ImageFont.FreeTypeFont) -> int:
    """Return how many pixels `write` takes for a text."""
    first, *rest = text.split(" ")
    if not rest:
        return round(ink_font.getlength(text))
    return sum(width(word, ink_font) for word in (first, *rest)) + len(rest) * _space(ink_font)


def write(
    image: Image.Image,
    at: tuple[int, int],
    text: str,
    ink_font: ImageFont.FreeTypeFont,
    ink: tuple[int, int, int] | int = 0,
) -> int:
    """Write one line, its top left corner (ascender) at `at`; return the x behind it."""
    x, y = at
    for word in text.split(" "):
        if word:
            mask, left, top = _word(word, ink_font)
            image.paste(ink, (x + left, y + top), mask)
            x += width(word, ink_font)
        x += _space(ink_font)
    return x - _space(ink_font)


def wrapped(text: str, ink_font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    """Cut a text into lines that fit into `room` pixels; a longer word stands alone."""
    lines: list[str] = []
    line, used = "", 0
    for word in text.split():
        wide = width(word, ink_font)
        if line and used + _space(ink_font) + wide > room:
            lines.append(line)
            line, used = "", 0
        used += wide + (_space(ink_font) if line else 0)
        line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def line_height(ink_font: ImageFont.FreeTypeFont) -> int:
    """Return the height of a line in pixels, ascender to descender."""
    return sum(ink_font.getmetrics())


def encoded(image: Image.Image, rng: Random, *, lossy: float = 0.3) -> bytes:
    """Encode as PNG or, as often as `lossy` says, as JPEG of quality 85 to 95."""
    out = io.BytesIO()
    if rng.random() < lossy:
        image.save(out, format="JPEG", quality=rng.randint(85, 95))
    else:
        image.save(out, format="PNG", compress_level=1)
    return out.getvalue()


@lru_cache(maxsize=256)
def _space(ink_font: ImageFont.FreeTypeFont) -> int:
    return round(ink_font.getlength(" "))


@lru_cache(maxsize=20_000)
def _word(word: str, ink_font: ImageFont.FreeTypeFont) -> tuple[Image.Image, int, int]:
    """The ink of one word, and where it lies from the word's top left corner."""
    left, top, right, bottom = (int(edge) for edge in ink_font.getbbox(word))
    mask = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(mask).text((-left, -top), word, font=ink_font, fill=255)
    return mask, left, top
