"""Regions of real maps and their places: numbers in them, points and boxes in text.

    library["maps"]: {"name", "data" (PNG), "regions": [[name, [red, green, blue]] ...]} each
    one colour of the map ─► a region's pixels ─► its box, and its point furthest from any border

Coordinates are shares of the picture's width and height, from its top left corner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chiasm.base.errors import UserError
from chiasm.data.collections.maps import Region, placed
from chiasm.data.render import phrases
from chiasm.data.render.canvas import finish, font
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.question import Question

FEWEST = 4
"""Regions that can be pointed at, which a map must have."""
SOLID = 0.35
"""A region fills so much of its box, or nobody would draw that box: not islands far apart."""
SMALLEST = 0.05
"""Least width and height of a region whose box is asked for, as shares: answers have two digits."""
TRIES = 30
"""Maps that are looked at for one with enough regions."""

Regions = tuple[tuple[str, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Spot:
    """A region that can be pointed at; coordinates are shares of the map's width and height."""

    name: str
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    """Inside the region, as far from its borders as any point."""
    reach: float
    """How far that is, in shares of the map's longer side."""
    solid: bool
    """Whether its box can be asked for."""


def draw_map(random: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one of the maps of `library["maps"]` and ask which region is where."""
    chart, spots = _choose(random, library.get("maps") or ())
    picture = Image.fromarray(_pixels(chart["data"]))
    longer = random.randrange(320, 641, 16)
    picture.thumbnail((longer, longer), Image.Resampling.LANCZOS)
    plan = random.choice((_numbered, _told))
    every = [str(name) for name, _ in chart["regions"]]
    questions, marks = plan(random, picture, spots, every)
    data, treated = finish(random, picture)
    truth = {
        "map": chart["name"],
        "plan": plan.__name__.lstrip("_"),
        "size": list(picture.size),
        "regions": [{"name": s.name, "box": list(s.box), "point": list(s.point)} for s in spots],
        "marks": marks,
    }
    return Drawn(data, truth, tuple(questions), f"map {truth['plan']}/{treated}")


def _choose(
    random: Random, maps: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], tuple[Spot, ...]]:
    for place in random.sample(range(len(maps)), min(TRIES, len(maps))):
        known = tuple((str(name), (r, g, b)) for name, (r, g, b) in maps[place]["regions"])
        if len(spots := seen(maps[place]["data"], known)) >= FEWEST:
            return maps[place], spots
    raise UserError(
        f"None of the maps has {FEWEST} regions that can be pointed at: draw from data:kgeography."
    )


@lru_cache(maxsize=1)
def _decoder() -> ImageDecoder:
    return ImageDecoder()


@lru_cache(maxsize=8)
def _pixels(data: bytes) -> NDArray[np.uint8]:
    return _decoder().decode(data, "A map")


@lru_cache(maxsize=1024)
def seen(data: bytes, known: Regions) -> tuple[Spot, ...]:
    """Return the regions that can be pointed at; each has a name and a colour of its own."""
    names, colours = Counter(name for name, _ in known), Counter(colour for _, colour in known)
    wanted = tuple(Region(n, "", c) for n, c in known if names[n] == 1 and colours[c] == 1)
    pixels, spots = _pixels(data), []
    high, wide, _ = pixels.shape
    for each in placed(pixels, wanted):
        left, top, right, bottom = each.box
        inside = (pixels[top:bottom, left:right] == each.region.colour).all(-1)
        x, y, reach = _middle(inside)
        # Written with two digits, the point must still be inside.
        if reach < 2 + 0.005 * (wide + high):
            continue
        box = (left / wide, top / high, right / wide, bottom / high)
        point = ((left + x + 0.5) / wide, (top + y + 0.5) / high)
        large = min(box[2] - box[0], box[3] - box[1]) >= SMALLEST
        spots.append(
            Spot(
                each.region.name,
                (round(box[0], 4), round(box[1], 4), round(box[2], 4), round(box[3], 4)),
                (round(point[0], 4), round(point[1], 4)),
                reach / max(wide, high),
                large and bool(inside.mean() >= SOLID),
            )
        )
    return tuple(spots)


def _middle(inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The column and row furthest from any border, and how far: steps across and down (erosion)."""
    left, steps = np.pad(inside, 1), 0
    last = left
    while left.any():
        last, steps = left, steps + 1
        left = left.copy()
        left[1:-1, 1:-1] &= last[:-2, 1:-1] & last[2:, 1:-1] & last[1:-1, :-2] & last[1:-1, 2:]
    rows, columns = np.nonzero(last)
    middle = len(rows) // 2
    return int(columns[middle]) - 1, int(rows[middle]) - 1, steps


Asked = tuple[list[Question], list[dict[str, Any]]]
"""Questions, and the marks that were drawn for them as JSON values."""


def _numbered(
    random: Random, picture: Image.Image, spots: Sequence[Spot], every: Sequence[str]
) -> Asked:
    """A number in some of the regions, in any order."""
    size = random.choice((11, 13, 15))
    wanted = random.sample(spots, random.randint(2, min(8, len(spots))))
    colours = random.choice((("black", "white"), ("white", "black"), ("black", "yellow")))
    chosen = _apart(wanted, picture.size, 2 * (size * 2 // 3) + 2)
    numbers = random.sample(range(1, 10), len(chosen))
    marks = [
        _mark(picture, spot, number, size, colours)
        for spot, number in zip(chosen, numbers, strict=True)
    ]
    one, other = random.choice(marks), random.choice(marks)
    name = phrases.word(one["region"], every)
    asked = [phrases.ask(random, "region labelled", name, mark=str(one["number"]))]
    if other is not one:  # the first question would have told it
        told = phrases.number(other["number"])
        asked.append(phrases.ask(random, "label of region", told, one=other["region"]))
    random.shuffle(asked)
    return asked, marks


def _apart(spots: Sequence[Spot], size: tuple[int, int], gap: int) -> list[Spot]:
    """Those whose numbers do not hide one another: the first of two that are too close."""
    kept: list[Spot] = []
    for spot in spots:
        away = (
            [abs(a - b) * side for a, b, side in zip(spot.point, k.point, size, strict=True)]
            for k in kept
        )
        if all(max(both) >= gap for both in away):
            kept.append(spot)
    return kept


def _mark(
    picture: Image.Image, spot: Spot, number: int, size: int, colours: tuple[str, str]
) -> dict[str, Any]:
    """Write a number on a plate into a region."""
    ink, plate = colours
    pen, half = ImageDraw.Draw(picture), size * 2 // 3
    x, y = round(spot.point[0] * picture.width), round(spot.point[1] * picture.height)
    place = [x - half, y - half, x + half, y + half]
    pen.ellipse(place, fill=plate, outline=ink)
    pen.text((x, y), str(number), fill=ink, font=font(size), anchor="mm")
    return {"number": number, "region": spot.name, "box": place}


def _told(
    random: Random, picture: Image.Image, spots: Sequence[Spot], every: Sequence[str]
) -> Asked:
    """Coordinates in words: as question, as answer, and to be judged."""
    one, other, third, fourth = random.sample(spots, 4)
    where = {s: f"({phrases.coordinates(s.point)})" for s in (one, other, third, fourth)}
    asked = [
        phrases.ask(random, "region at", phrases.word(one.name, every), place=where[one]),
        _find(random, other),
    ]
    true = random.random() < 0.5
    place = where[third if true else fourth]
    told = phrases.yes_no(true)
    asked.append(phrases.ask(random, "is in region", told, one=third.name, place=place))
    random.shuffle(asked)
    return asked[: random.randint(2, 3)], []


def _find(random: Random, spot: Spot) -> Question:
    corners = list(spot.box)
    if spot.solid and random.random() < 0.5:
        check = {"how": "box", "box": corners, "overlap": 0.5}
        told = f"[{phrases.coordinates(corners)}]"
        return phrases.ask(random, "box of region", (told, check), one=spot.name)
    # A box that is hardly filled says little about where: then the point must be near ours.
    x, y = spot.point
    near = corners if spot.solid else _near(spot)
    check = {"how": "point", "box": near}
    told = f"({phrases.coordinates((x, y))})"
    return phrases.ask(random, "point in region", (told, check), one=spot.name)


def _near(spot: Spot) -> list[float]:
    """The part of a region's box around its middle that is mostly region: twice as far as it reaches."""
    x, y = spot.point
    left, top, right, bottom = spot.box
    far = 2 * spot.reach
    return [
        round(value, 4)
        for value in (
            max(left, x - far),
            max(top, y - far),
            min(right, x + far),
            min(bottom, y + far),
        )
    ]


KINDS = (
    Kind(
        "maps",
        "real maps: which region is marked, what is at a point, where a region lies",
        draw_map,
        tools=("numpy",),
        draws_from="maps",
        usual="data:kgeography",
    ),
)
