"""Short videos of things that move, come, go, blink, bounce and change: what happened, and in which order.

    a plan ─► for each frame: which looks stand where ─► frames ─► animated WebP or GIF

Most answers lie in the order of the frames: no single one tells them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any

from PIL import Image

from chiasm.data.render import phrases
from chiasm.data.render.canvas import ALSO, COLOURS, SHAPES, jitter
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.things import Look, Stage, looks, paint, places
from chiasm.inputs.question import Question

WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Directions, and what they add to x and y."""


@dataclass
class Actor:
    """A thing through time: where it is, how large and of which colour, in each frame."""

    look: Look
    path: list[tuple[int, int]]
    radii: list[int]
    colours: list[str]
    shown: list[bool]


@dataclass
class Film:
    """A clip in the making."""

    stage: Stage
    frames: int
    actors: list[Actor] = field(default_factory=list)

    @property
    def random(self) -> Random:
        """The clip's chance."""
        return self.stage.random

    def add(self, look: Look, x: int, y: int, radius: int) -> Actor:
        """Put a thing at a place for all of the time; the caller then changes what shall change."""
        n = self.frames
        actor = Actor(look, [(x, y)] * n, [radius] * n, [look.colour] * n, [True] * n)
        self.actors.append(actor)
        return actor


def clip(random: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one clip of 8 to 13 frames; WebP, or now and then GIF."""
    side = random.choice((224, 240))
    film = Film(Stage(random, (side, side)), random.randint(8, 12))
    plan = random.choice(PLANS)
    questions = plan(film)
    pictures, boxes = _painted(film)
    duration = random.choice((80, 100, 120, 200))
    data, coded = _encoded(random, pictures, duration, film.stage.style == "cloth")
    truth = {
        "plan": plan.__name__.lstrip("_"),
        "size": [side, side],
        "duration": duration,
        "frames": film.frames,
        "things": [
            {"name": a.look.name, "shape": a.look.shape, "colours": a.colours, "boxes": b}
            for a, b in zip(film.actors, boxes, strict=True)
        ],
    }
    style = f"{truth['plan']}/{film.stage.ground} {film.stage.style}/{coded}"
    return Drawn(data, truth, tuple(questions), style, video=True)


def _painted(film: Film) -> tuple[list[Image.Image], list[list[list[int] | None]]]:
    """Frames, and for each thing its box in each frame (None where it is not shown)."""
    shades = {name: jitter(film.random, COLOURS[name], film.stage.shade) for name in COLOURS}
    boxes: list[list[list[int] | None]] = [[] for _ in film.actors]
    pictures = []
    for now in range(film.frames):
        picture = film.stage.picture.copy()
        for actor, places_ in zip(film.actors, boxes, strict=True):
            if not actor.shown[now]:
                places_.append(None)
                continue
            shade = shades[actor.colours[now]]
            places_.append(
                list(paint(picture, actor.look, actor.path[now], actor.radii[now], 0, shade))
            )
        pictures.append(picture)
    return pictures, boxes


def _encoded(
    random: Random, pictures: Sequence[Image.Image], duration: int, woven: bool
) -> tuple[bytes, str]:
    buffer, chance = io.BytesIO(), random.random()
    told: dict[str, Any] = {"save_all": True, "duration": duration, "loop": 0}
    if chance < 0.1:
        palette = _strip(pictures).quantize(128, Image.Quantize.FASTOCTREE)
        coded = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
        coded[0].save(buffer, "GIF", append_images=coded[1:], **told)
        return buffer.getvalue(), "gif"
    exact = chance < 0.6 and not woven  # grain would cost 200 kB
    kind: dict[str, Any] = {"lossless": True, "quality": 0} if exact else {"quality": 80}
    # kmax 0: no frame is coded a second time as one to begin at.
    more = pictures[1:]
    pictures[0].save(buffer, "WEBP", append_images=more, method=0, kmin=0, kmax=0, **kind, **told)
    return buffer.getvalue(), "lossless webp" if exact else "webp"


def _strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Small copies of every other frame in one picture: all colours that the clip has."""
    small = [picture.reduce(2) for picture in (*pictures[::2], pictures[-1])]
    strip = Image.new("RGB", (small[0].width * len(small), small[0].height))
    for i, picture in enumerate(small):
        strip.paste(picture, (i * picture.width, 0))
    return strip


def _extras(film: Film, names: Sequence[Look], spots: Sequence[tuple[int, int]]) -> None:
    """Things that do nothing."""
    for look, (x, y) in zip(names, spots, strict=True):
        film.add(look, x, y, film.stage.radius("middle"))


def _path(film: Film, way: str, reach: int, radius: int) -> list[tuple[int, int]]:
    """A straight path over `reach` pixels that stays within the picture, at any place."""
    across, down = WAYS[way]
    side, edge = film.stage.side, radius + 2
    along = film.random.randint(edge, side - edge - reach)
    beside = film.random.randint(edge, side - edge)
    steps = [round(reach * i / (film.frames - 1)) for i in range(film.frames)]
    if across + down < 0:
        steps = steps[::-1]
    return [(along + s, beside) if across else (beside, along + s) for s in steps]


def _direction(film: Film) -> list[Question]:
    """One or two things move straight on; others stand still."""
    random = film.random
    chosen = looks(random, film.stage.colours, random.randint(1, 3))
    moving = random.randint(1, min(2, len(chosen)))
    radius = film.stage.radius("middle")
    ways = [random.choice(tuple(WAYS)) for _ in range(moving)]
    spots = places(random, film.stage.size, [radius] * (len(chosen) - moving))
    _extras(film, chosen[moving:], spots)
    asked = []
    for look, way in zip(chosen, ways, strict=False):
        actor = film.add(look, 0, 0, radius)
        actor.path = _path(film, way, random.randint(60, 120), radius)
        asked.append(phrases.ask(random, "direction", _way(way), one=look.name))
    return asked


def _way(way: str) -> tuple[str, dict[str, Any]]:
    def spelled(name: str) -> list[str]:
        return [name, f"{name}ward", f"{name}wards"]

    return phrases.word(way, [text for each in WAYS for text in spelled(each)], spelled(way)[1:])


def _speed(film: Film) -> list[Question]:
    """Two things move in the same time, one at least 1.7 times as far."""
    random = film.random
    one, other = looks(random, film.stage.colours, 2)
    radius, slow = film.stage.radius("middle"), random.randint(30, 60)
    fast = min(round(slow * random.uniform(1.7, 2.6)), film.stage.side - 2 * radius - 6)
    reaches = random.sample((slow, fast), 2)
    for look, reach in zip((one, other), reaches, strict=True):
        actor = film.add(look, 0, 0, radius)
        actor.path = _path(film, random.choice(tuple(WAYS)), reach, radius)
    winner = one if reaches[0] == fast else other
    words = random.sample((one.name, other.name), 2)
    answer = phrases.named(winner, (one, other))
    return [phrases.ask(random, "faster", answer, one=words[0], other=words[1])]


def _order(film: Film) -> list[Question]:
    """Things come one after another and stay, or go one after another."""
    random = film.random
    count = random.randint(2, 4)
    chosen = looks(random, film.stage.colours, count)
    radii = [film.stage.radius("middle")] * count
    moments = sorted(random.sample(range(1, film.frames), count))
    going = random.random() < 0.5
    spots = places(random, film.stage.size, radii)
    for look, moment, spot in zip(chosen, moments, spots, strict=True):
        actor = film.add(look, *spot, radii[0])
        actor.shown = [(now < moment) is going for now in range(film.frames)]
    first, last, order = (
        ("goes first", "goes last", "order of going")
        if going
        else ("appears first", "appears last", "order")
    )
    names = [look.name for look in chosen]
    check = {"how": "sequence", "names": [phrases.variants(look) for look in chosen]}
    listed = phrases.ask(random, order, (", ".join(names), check))
    end, look = random.choice(((first, chosen[0]), (last, chosen[-1])))
    one = phrases.ask(random, end, phrases.named(look, chosen))
    return [random.choice((one, listed))]


def _blinks(film: Film) -> list[Question]:
    """A thing vanishes for single frames, none to four times; another one blinks, too, or does not."""
    random = film.random
    film.frames = max(film.frames, 11)
    chosen = looks(random, film.stage.colours, 2)
    radii = [film.stage.radius("big")] * 2
    counts = []
    for look, spot in zip(chosen, places(random, film.stage.size, radii), strict=True):
        actor, count = film.add(look, *spot, radii[0]), random.randint(0, 4)
        spare = film.frames - 2 - (2 * count - 1)
        cuts = sorted(random.randint(0, spare) for _ in range(count))
        for i, cut in enumerate(cuts):  # at least one frame lies between two blinks
            actor.shown[1 + cut + 2 * i] = False
        counts.append(count)
    which = random.randrange(2)
    return [phrases.ask(random, "blinks", phrases.number(counts[which]), one=chosen[which].name)]


def _bounces(film: Film) -> list[Question]:
    """A thing falls to the floor and springs back, one to four times, drifting aside or not."""
    random = film.random
    film.frames = max(film.frames, 13)
    [look] = looks(random, film.stage.colours, 1)
    count, radius = random.randint(1, 4), film.stage.radius("middle")
    side, n = film.stage.side, film.frames
    floor, height = side - radius - 3, random.randint(80, 130)
    touches = [round((2 * i + 1) * (n - 1) / (2 * count)) for i in range(count)]
    tops = [0, *((a + b) // 2 for a, b in pairwise(touches)), n - 1]
    drift = random.randint(-40, 40)
    start = random.randint(radius + 42, side - radius - 42)
    actor = film.add(look, 0, 0, radius)
    for now in range(n):
        touch = min(touches, key=lambda t: abs(t - now))
        half = max(abs(top - touch) for top in tops if abs(top - touch) <= n // count) or 1
        high = height * (1 - (1 - min(1.0, abs(now - touch) / half)) ** 2)
        actor.path[now] = (start + drift * now // (n - 1), floor - round(high))
    return [phrases.ask(random, "bounces", phrases.number(count), one=look.name)]


def _colours(film: Film) -> list[Question]:
    """A thing changes its colour once or twice, among others that keep theirs."""
    random = film.random
    steps = random.randint(2, 3)
    chosen = random.sample(film.stage.colours, steps)
    shapes = random.sample(SHAPES, 2)
    radii = [film.stage.radius("big")] * 2
    spots = places(random, film.stage.size, radii)
    film.add(Look(shapes[1], random.choice(film.stage.colours)), *spots[1], radii[1])
    actor = film.add(Look(shapes[0], chosen[0]), *spots[0], radii[0])
    cuts = sorted(random.sample(range(2, film.frames - 1), steps - 1))
    bounds = zip([0, *cuts], [*cuts, film.frames], chosen, strict=True)
    actor.colours = [colour for start, end, colour in bounds for _ in range(end - start)]
    actor.look = replace(actor.look, colour="")
    names = [(name, *ALSO.get(name, ())) for name in chosen]
    every = {"how": "sequence", "names": [list(name) for name in names]}
    return [
        random.choice(
            (
                phrases.ask(random, "colour before", phrases.colour(chosen[0]), one=shapes[0]),
                phrases.ask(random, "colour after", phrases.colour(chosen[-1]), one=shapes[0]),
                phrases.ask(random, "colours", (", ".join(chosen), every), one=shapes[0]),
            )
        )
    ]


def _growth(film: Film) -> list[Question]:
    """A thing grows or shrinks."""
    random = film.random
    [look] = looks(random, film.stage.colours, 1)
    small, big = film.stage.radius("small"), round(film.stage.side * random.uniform(0.14, 0.22))
    edge = big + 2
    x, y = (random.randint(edge, film.stage.side - edge) for _ in range(2))
    actor = film.add(look, x, y, big)
    radii = [small + round((big - small) * i / (film.frames - 1)) for i in range(film.frames)]
    grows = random.random() < 0.5
    actor.radii = radii if grows else radii[::-1]
    grow = (
        ["grow", "grows", "growing", "larger", "bigger"],
        ["shrink", "shrinks", "shrinking", "smaller"],
    )
    right, wrong = grow if grows else grow[::-1]
    answer = phrases.word(right[0], wrong, right[1:])
    return [phrases.ask(random, "size", answer, one=look.name)]


PLANS: tuple[Callable[[Film], list[Question]], ...] = (
    _direction,
    _speed,
    _order,
    _blinks,
    _bounces,
    _colours,
    _growth,
)

KINDS = (
    Kind(
        "clips",
        "short videos: direction, speed, order of events, counts of blinks and bounces, changes",
        clip,
        tools=("numpy",),
    ),
)
