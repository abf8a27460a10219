"""What pictures are painted with: colours that keep their names, outlines of shapes, grounds, encoders.

    Paint("red", ...) ─┐
    mask("star", ...) ─┼─► paste on a ground ─► finish: noise, blur, contrast ─► JPEG, PNG or WebP
    pattern ───────────┘

Everything is drawn with Pillow. Grain is cut from one fixed tile, so that no picture depends on a
library's own chance.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

Rgb: TypeAlias = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "red": (214, 32, 36),
    "orange": (247, 134, 24),
    "yellow": (248, 222, 44),
    "green": (38, 158, 58),
    "blue": (38, 84, 214),
    "purple": (128, 44, 168),
    "pink": (250, 138, 190),
    "brown": (124, 72, 32),
    "black": (22, 22, 24),
    "white": (250, 250, 250),
    "grey": (134, 136, 140),
    "turquoise": (40, 196, 196),
}
"""Names that people agree about, and the middle of what they mean."""
ALSO = {"grey": ("gray",), "turquoise": ("cyan", "teal"), "purple": ("violet",)}
"""Other names that are right, too."""
GROUNDS: dict[str, tuple[Rgb, tuple[str, ...]]] = {
    "paper": (((246, 244, 238)), ("white", "yellow", "grey", "pink")),
    "sky": ((206, 226, 240), ("white", "grey", "turquoise", "blue")),
    "sand": ((226, 208, 172), ("yellow", "orange", "brown", "white", "pink", "grey")),
    "meadow": ((198, 222, 184), ("green", "white", "yellow", "turquoise", "grey")),
    "slate": ((62, 66, 76), ("black", "grey", "brown", "blue", "purple", "green")),
    "night": ((24, 28, 48), ("black", "blue", "purple", "brown")),
    "lilac": ((222, 210, 236), ("white", "pink", "purple", "grey")),
}
"""Colours to stand on, and the names of those that would not stand out from it."""
SHAPES = (
    *(
        "circle",
        "square",
        "triangle",
        "star",
        "hexagon",
        "diamond",
        "cross",
        "heart",
        "moon",
        "drop",
    ),
)
PATTERNS = ("plain", "striped", "dotted", "chequered")

_FINE = 4
"""A mask is drawn so many times as large and then reduced: smooth edges."""


def jitter(random: Random, colour: Rgb, most: int = 14) -> Rgb:
    """Return a colour close to another one."""
    red, green, blue = (min(255, max(0, c + random.randint(-most, most))) for c in colour)
    return red, green, blue


def _polygon(radii: Sequence[float], turn: float) -> list[tuple[float, float]]:
    """Corners around the centre at equal angles, the first one above it."""
    step = 2 * math.pi / len(radii)
    return [
        (r * math.sin(i * step + turn), -r * math.cos(i * step + turn)) for i, r in enumerate(radii)
    ]


def _outline(shape: str, turn: float) -> list[tuple[float, float]]:
    """Corners of a shape within -1 … 1; round ones have many."""
    many = [i * math.pi / 32 for i in range(64)]
    # A square on its corner would be a diamond.
    tilt = (turn - math.pi) / 16 if turn else 0.0
    if shape == "heart":
        raw = [
            (
                16 * math.sin(t) ** 3 / 17,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
                / 17
                - 0.1,
            )
            for t in many
        ]
        return [_turned(x, y, turn / 3) for x, y in raw]
    if shape == "drop":
        raw = [(math.sin(t) * math.sin(t / 2) ** 1.6 * 0.85, -math.cos(t)) for t in many]
        return [_turned(x, y, turn / 3) for x, y in raw]
    if shape == "moon":
        angles = [math.pi * i / 24 for i in range(3, 22)]
        raw = [(-math.sin(a), -math.cos(a)) for a in angles]
        raw += [(0.05 - 0.5 * math.sin(a), -0.97 * math.cos(a)) for a in reversed(angles)]
        return [_turned(x + 0.35, y, turn) for x, y in raw]
    if shape == "cross":
        a, b = 0.32, 0.95
        raw = [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
        return [_turned(x, y, turn / 3) for x, y in raw]
    if shape == "diamond":
        return [_turned(x, y, tilt) for x, y in ((0, -1), (0.62, 0), (0, 1), (-0.62, 0))]
    if shape == "square":
        return _polygon([1.12] * 4, math.pi / 4 + tilt)
    if shape == "star":
        return _polygon([1.05, 0.45] * 5, turn)
    return _polygon([1.08] * {"triangle": 3, "hexagon": 6}[shape], turn)


def _turned(x: float, y: float, turn: float) -> tuple[float, float]:
    cos, sin = math.cos(turn), math.sin(turn)
    return x * cos - y * sin, x * sin + y * cos


@lru_cache(maxsize=2048)
def mask(shape: str, radius: int, turn: int = 0) -> Image.Image:
    """Return a shape as an "L" picture of side 2 radius + 1, smooth at its edge.

    turn  in fortieths of a whole turn; shapes that would change their name turn less than that
    """
    side = 2 * radius + 1
    large = Image.new("L", (side * _FINE, side * _FINE))
    pen = ImageDraw.Draw(large)
    middle, scale = side * _FINE / 2, radius * _FINE * 0.92
    if shape == "circle":
        pen.ellipse([middle - scale, middle - scale, middle + scale, middle + scale], fill=255)
    else:
        corners = _outline(shape, (turn % 40) * math.pi / 20 if turn else 0.0)
        pen.polygon([(middle + scale * x, middle + scale * y) for x, y in corners], fill=255)
    return large.reduce(_FINE)


@lru_cache(maxsize=512)
def _texture(pattern: str, side: int, pitch: int) -> Image.Image:
    """An "L" picture: where a pattern's second colour shows."""
    tile = Image.new("L", (side, side))
    pen = ImageDraw.Draw(tile)
    for i in range(0, side + pitch, pitch):
        if pattern == "striped":
            pen.rectangle([0, i, side, i + pitch // 2 - 1], fill=255)
            continue
        for j in range(0, side + pitch, pitch):
            if pattern == "chequered":
                half = pitch // 2
                pen.rectangle([i, j, i + half - 1, j + half - 1], fill=255)
                pen.rectangle([i + half, j + half, i + pitch - 1, j + pitch - 1], fill=255)
            else:
                pen.ellipse([i, j, i + pitch // 2, j + pitch // 2], fill=255)
    return tile


def filled(side: int, colour: Rgb, pattern: str) -> Image.Image | Rgb:
    """Return what to paste through a mask: a colour, or a picture of its pattern with a second shade."""
    if pattern == "plain":
        return colour
    dark = sum(colour) < 330
    red, green, blue = (c + (255 - c) * 11 // 20 if dark else c * 9 // 20 for c in colour)
    ground = Image.new("RGB", (side, side), colour)
    ground.paste((red, green, blue), mask=_texture(pattern, side, max(6, side // 5 // 2 * 2)))
    return ground


@lru_cache(maxsize=1)
def _grain() -> Image.Image:
    """Gaussian grain around 128 with a standard deviation of 40: 700 x 700, always the same."""
    made = np.random.Generator(np.random.PCG64(1)).normal(128, 40, (700, 700))
    return Image.fromarray(made.clip(0, 255).astype(np.uint8))


def grain(random: Random, size: tuple[int, int], strength: float) -> Image.Image:
    """Return RGB grain around 128 of a size; `strength` is its standard deviation."""
    wide, high = size
    cuts = []
    for _ in range(3):
        x, y = random.randint(0, 700 - wide), random.randint(0, 700 - high)
        cuts.append(_grain().crop((x, y, x + wide, y + high)))
    table = [round(128 + (value - 128) * strength / 40) for value in range(256)]
    return Image.merge("RGB", [cut.point(table) for cut in cuts])


GROUND_STYLES = ("flat", "flat", "gradient", "grid", "bands", "cloth")


def ground(random: Random, size: tuple[int, int], colour: Rgb, style: str) -> Image.Image:
    """Return a picture to draw on, of shades close to one colour."""
    made = Image.new("RGB", size, colour)
    other: Rgb = jitter(random, colour, 12)
    if style == "gradient":
        slope = Image.linear_gradient("L").resize(size)
        if random.random() < 0.5:
            slope = slope.transpose(Image.Transpose.TRANSPOSE).resize(size)
        return ImageOps.colorize(slope, colour, tuple(max(0, c - 26) for c in colour))
    if style in ("grid", "bands"):
        pen, pitch = ImageDraw.Draw(made), random.randint(14, 40)
        for x in range(random.randint(0, pitch), max(size), pitch):
            if style == "grid":
                pen.line([(x, 0), (x, size[1])], fill=other)
                pen.line([(0, x), (size[0], x)], fill=other)
            else:
                pen.rectangle([0, x, size[0], x + pitch // 2], fill=other)
    if style == "cloth":
        made = ImageChops.add(made, grain(random, size, 5.0), 1, -128)
    return made


def finish(random: Random, picture: Image.Image) -> tuple[bytes, str]:
    """Return an encoded picture, some with grain or blur before, and how it was treated."""
    treated = "clean"
    chance = random.random()
    if chance < 0.2:
        picture = ImageChops.add(
            picture, grain(random, picture.size, random.uniform(2, 9)), 1, -128
        )
        treated = "grain"
    elif chance < 0.3:
        picture, treated = picture.filter(ImageFilter.BoxBlur(random.uniform(0.4, 0.9))), "blur"
    buffer, chance = io.BytesIO(), random.random()
    if chance < 0.15 and treated != "grain":
        picture.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), f"{treated}/png"
    if chance < 0.3:
        picture.save(buffer, "WEBP", quality=random.randint(60, 95), method=0)
        return buffer.getvalue(), f"{treated}/webp"
    picture.save(buffer, "JPEG", quality=random.randint(55, 95), subsampling=random.choice((0, 2)))
    return buffer.getvalue(), f"{treated}/jpeg"


@lru_cache(maxsize=64)
def font(size: int) -> Any:
    """Return Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)
