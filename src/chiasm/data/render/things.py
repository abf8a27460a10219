"""What stands in a drawn scene: things with a place, a look and a name, and how they get there.

choose kinds ─► place (no two overlap, or one within another) ─► paint ─► boxes as painted
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, TypeAlias

from PIL import Image

from chiasm.data.render.canvas import (
    COLOURS,
    GROUND_STYLES,
    GROUNDS,
    SHAPES,
    Rgb,
    filled,
    ground,
    jitter,
    mask,
)

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, right and bottom not included."""
_HALF = [0] * 128 + [255] * 128


@dataclass(frozen=True)
class Look:
    """What a thing looks like, as far as words tell."""

    shape: str
    """A shape's name, or a cut-out's."""
    colour: str = ""
    """Empty for a cut-out."""
    pattern: str = "plain"

    @property
    def name(self) -> str:
        """ "red circle", or what a cut-out is called."""
        return f"{self.colour} {self.shape}".strip()


@dataclass(frozen=True)
class Thing:
    """A thing at its place, in pixels."""

    look: Look
    x: int
    y: int
    radius: int
    turn: int = 0
    box: Box = (0, 0, 0, 0)
    """What was painted, whether or not something covers it."""

    def plain(self) -> dict[str, Any]:
        """Return what is true of it as JSON values."""
        look = self.look
        return {
            "name": look.name,
            "shape": look.shape,
            "colour": look.colour,
            "pattern": look.pattern,
            "box": list(self.box),
        }


class Stage:
    """A picture being painted: its ground, and the colours that stand out from it."""

    def __init__(self, random: Random, size: tuple[int, int] | None = None) -> None:
        self.random = random
        side = random.randrange(224, 337, 16)
        self.size = size or (
            side,
            random.choice((side, side, max(224, side - 48), min(336, side + 48))),
        )
        self.ground = random.choice(tuple(GROUNDS))
        self.style = random.choice(GROUND_STYLES)
        colour, hidden = GROUNDS[self.ground]
        self.colours = [name for name in COLOURS if name not in hidden]
        self.picture = ground(random, self.size, jitter(random, colour, 6), self.style)
        self.shade = random.choice((4, 10, 14))
        """How far a colour may be from the middle of its name."""
        self.things: list[Thing] = []

    @property
    def side(self) -> int:
        """The shorter side in pixels."""
        return min(self.size)

    def radius(self, size: str) -> int:
        """Return the radius in pixels of a "small", "middle" or "big" thing."""
        low, high = {"small": (0.055, 0.065), "middle": (0.075, 0.095), "big": (0.115, 0.13)}[size]
        return round(self.side * self.random.uniform(low, high))

    def add(self, look: Look, x: int, y: int, radius: int, art: Image.Image | None = None) -> Thing:
        """Paint a thing around a place; `art` is a cut-out's picture."""
        turn = self.random.randint(1, 39) if self.random.random() < 0.6 else 0
        if art is not None:
            box = _paste(self.picture, art, x, y, radius)
        else:
            shade = jitter(self.random, COLOURS[look.colour], self.shade)
            box = paint(self.picture, look, (x, y), radius, turn, shade)
        thing = Thing(look, x, y, radius, turn, box)
        self.things.append(thing)
        return thing


def paint(
    picture: Image.Image, look: Look, place: tuple[int, int], radius: int, turn: int, shade: Rgb
) -> Box:
    """Paint a shape around a place and return the box of what can be seen of it."""
    shape = mask(look.shape, radius, turn)
    left, top = place[0] - radius, place[1] - radius
    fill = filled(shape.width, shade, look.pattern)
    if isinstance(fill, Image.Image):
        picture.paste(fill, (left, top), shape)
    else:
        picture.paste(fill, (left, top, left + shape.width, top + shape.height), shape)
    return _seen(_covered(look.shape, radius, turn), left, top, picture.size)


@lru_cache(maxsize=2048)
def _covered(shape: str, radius: int, turn: int) -> Box:
    return _more_than_half(mask(shape, radius, turn))


def _more_than_half(alpha: Image.Image) -> Box:
    """The box of the pixels that are more than half covered."""
    return alpha.point(_HALF).getbbox() or (0, 0, 1, 1)


def _seen(box: Box, left: int, top: int, size: tuple[int, int]) -> Box:
    """A box moved to its place, within the picture."""
    return (
        max(0, left + box[0]),
        max(0, top + box[1]),
        min(size[0], left + box[2]),
        min(size[1], top + box[3]),
    )


def _paste(picture: Image.Image, art: Image.Image, x: int, y: int, radius: int) -> Box:
    small = art.copy()
    small.thumbnail((2 * radius, 2 * radius), Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top = x - small.width // 2, y - small.height // 2
    alpha = small.getchannel("A")
    picture.paste(small.convert("RGB"), (left, top), alpha)
    return _seen(_more_than_half(alpha), left, top, picture.size)


def places(
    random: Random, size: tuple[int, int], radii: Sequence[int], gap: int = 4
) -> list[tuple[int, int]]:
    """Return a place for each radius so that no two things touch, in any order over the whole picture.

    Tries at random, and gives the places of a grid where that finds none. Raises ValueError when
    even the grid is too small.
    """
    for _ in range(20):
        found: list[tuple[int, int, int]] = []
        for radius in sorted(radii, reverse=True):
            place = next(_free(random, size, radius, found, gap), None)
            if place is None:
                break
            found.append((*place, radius))
        if len(found) == len(radii):
            break
    else:
        return _grid(random, size, radii)
    order = sorted(range(len(radii)), key=lambda i: -radii[i])
    by_thing = {number: (x, y) for number, (x, y, _) in zip(order, found, strict=True)}
    return [by_thing[number] for number in range(len(radii))]


def _free(
    random: Random, size: tuple[int, int], radius: int, taken: list[tuple[int, int, int]], gap: int
) -> Iterator[tuple[int, int]]:
    edge = radius + 2
    for _ in range(40):
        x, y = random.randint(edge, size[0] - edge), random.randint(edge, size[1] - edge)
        if all((x - a) ** 2 + (y - b) ** 2 > _apart(radius, r, gap) for a, b, r in taken):
            yield x, y


def _apart(one: int, other: int, gap: int) -> float:
    """The square of how far two centres must be apart: a square's corner reaches 1.12 radii."""
    return ((one + other) * 1.12 + gap) ** 2


def _grid(random: Random, size: tuple[int, int], radii: Sequence[int]) -> list[tuple[int, int]]:
    step = round(2 * max(radii) * 1.12 + 4)
    spots = [
        (x, y)
        for x in range(step // 2 + 1, size[0] - step // 2, step)
        for y in range(step // 2 + 1, size[1] - step // 2, step)
    ]
    if len(spots) < len(radii):
        raise ValueError(f"{len(radii)} things of {max(radii)} pixels do not fit into {size}")
    return random.sample(spots, len(radii))


def looks(random: Random, colours: Sequence[str], count: int) -> list[Look]:
    """Return so many different looks; no colour and no shape is more likely than another."""
    pairs = [Look(shape, colour) for shape in SHAPES for colour in colours]
    return random.sample(pairs, count)
