"""Words and places joined, both ways: marks over a picture, and coordinates in text.

    mark: box, ring, arrow, numbers ─► "What is in the red box?" ─► "green star"
    [0.12, 0.30, 0.45, 0.62] in the question ─► "green star";  "Where is the green star?" ─► the box

Coordinates are shares of the picture's width and height, from its top left corner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from PIL import ImageDraw

from chiasm.data.render import phrases
from chiasm.data.render.canvas import COLOURS, Rgb, finish, font
from chiasm.data.render.cutouts import Cutouts
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.things import Box, Stage, Thing, looks, places
from chiasm.inputs.question import Question

MARKS = ("red", "blue", "black", "white", "yellow", "green", "pink")
"""Colours of marks."""


def grounding(random: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw things, each there once, and ask which is where; `library` may hold "cutouts"."""
    stage = Stage(random)
    art = Cutouts(library.get("cutouts", ()))
    things = _things(stage, art)
    plan = random.choice(PLANS)
    questions, marks = plan(stage, things)
    data, treated = finish(random, stage.picture)
    truth = {
        "plan": plan.__name__.lstrip("_"),
        "size": list(stage.size),
        "things": [thing.plain() for thing in things],
        "marks": marks,
    }
    style = f"{truth['plan']}/{stage.ground} {stage.style}/{treated}"
    return Drawn(data, truth, tuple(questions), style)


def _things(stage: Stage, art: Cutouts) -> list[Thing]:
    random, count = stage.random, stage.random.randint(4, 6)
    cut = bool(art) and random.random() < 0.5
    chosen = art.looks(random, count) if cut else looks(random, stage.colours, count)
    radii = [stage.radius(random.choice(("middle", "big"))) for _ in chosen]
    # The gap leaves room for marks.
    spots = places(random, stage.size, radii, gap=14)
    return [
        stage.add(look, *spot, radius, art.picture(look.shape, random) if cut else None)
        for look, spot, radius in zip(chosen, spots, radii, strict=True)
    ]


Asked = tuple[list[Question], list[dict[str, Any]]]
"""Questions, and the marks that were drawn for them as JSON values."""


def _marked(stage: Stage, things: list[Thing]) -> Asked:
    """Boxes, rings or arrows in one to three colours, each on another thing; one of them is asked for."""
    random = stage.random
    kind = random.choice(("in box", "in ring", "at arrow"))
    visible = [name for name in MARKS if name in stage.colours]
    count = random.randint(1, min(3, len(visible)))
    chosen = random.sample(things, count)
    colours = _other_colours(random, chosen, visible)
    marks, draw = [], {"in box": _box, "in ring": _ring, "at arrow": _arrow}[kind]
    for thing, colour in zip(chosen, colours, strict=True):
        place = draw(stage, thing, COLOURS[colour], random.randint(2, 3))
        marks.append({"kind": kind, "colour": colour, "thing": thing.look.name, "box": place})
    asked = []
    for number in random.sample(range(count), min(2, count)):
        answer = phrases.named(chosen[number].look, [thing.look for thing in things])
        asked.append(phrases.ask(random, kind, answer, mark=colours[number]))
    return asked, marks


def _other_colours(random: Random, chosen: list[Thing], visible: list[str]) -> list[str]:
    """A colour for each thing, all different, and other than its own where that can be had."""
    for _ in range(20):
        colours = random.sample(visible, len(chosen))
        if all(c != thing.look.colour for c, thing in zip(colours, chosen, strict=True)):
            break
    return colours


def _around(stage: Stage, thing: Thing, gap: int) -> list[int]:
    left, top, right, bottom = thing.box
    wide, high = stage.size
    return [
        max(0, left - gap),
        max(0, top - gap),
        min(wide - 1, right - 1 + gap),
        min(high - 1, bottom - 1 + gap),
    ]


def _box(stage: Stage, thing: Thing, colour: Rgb, width: int) -> list[int]:
    place = _around(stage, thing, stage.random.randint(3, 5))
    ImageDraw.Draw(stage.picture).rectangle(place, outline=colour, width=width)
    return place


def _ring(stage: Stage, thing: Thing, colour: Rgb, width: int) -> list[int]:
    left, top, right, bottom = thing.box
    half = math.hypot(right - left, bottom - top) / 2 + 2
    x, y = (left + right) / 2, (top + bottom) / 2
    place = [round(x - half), round(y - half), round(x + half), round(y + half)]
    ImageDraw.Draw(stage.picture).ellipse(place, outline=colour, width=width)
    return place


def _arrow(stage: Stage, thing: Thing, colour: Rgb, width: int) -> list[int]:
    """An arrow that ends at the thing's edge, from where most room is."""
    left, top, right, bottom = thing.box
    x, y = (left + right) / 2, (top + bottom) / 2
    half = (right - left) / 2 + 1, (bottom - top) / 2 + 1
    others = [other for other in stage.things if other is not thing]

    def reach(angle: float) -> float:
        return 1 / math.hypot(math.cos(angle) / half[0], math.sin(angle) / half[1])

    def room(angle: float) -> float:
        away = reach(angle) + 26
        tail = (x + away * math.cos(angle), y + away * math.sin(angle))
        edge = min(tail[0], tail[1], stage.size[0] - tail[0], stage.size[1] - tail[1])
        gaps = (math.hypot(tail[0] - o.x, tail[1] - o.y) - o.radius for o in others)
        return min(edge, *gaps)

    angle = max((i * math.pi / 8 for i in range(16)), key=room)
    cos, sin = math.cos(angle), math.sin(angle)
    near, far = reach(angle) * 0.85, reach(angle) + 26
    tip, tail = (x + near * cos, y + near * sin), (x + far * cos, y + far * sin)
    pen = ImageDraw.Draw(stage.picture)
    pen.line([tail, (tip[0] + 5 * cos, tip[1] + 5 * sin)], fill=colour, width=width)
    wings = [(tip[0] + 9 * cos - s * 5 * sin, tip[1] + 9 * sin + s * 5 * cos) for s in (-1, 1)]
    pen.polygon([tip, *wings], fill=colour)
    return [round(value) for value in (*tail, *tip)]


def _numbered(stage: Stage, things: list[Thing]) -> Asked:
    """A number at every thing, in any order."""
    random = stage.random
    numbers = random.sample(range(1, 10), len(things))
    pen, size = ImageDraw.Draw(stage.picture), random.choice((11, 13, 15))
    ink = random.choice(
        [name for name in ("black", "white", "red", "blue") if name in stage.colours]
    )
    plate = (250, 250, 250) if ink != "white" else (20, 20, 20)
    marks = []
    for thing, number in zip(things, numbers, strict=True):
        x = min(max(thing.box[2] - 2, size), stage.size[0] - size)
        y = min(max(thing.box[1] + 2, size), stage.size[1] - size)
        half = size * 2 // 3
        place = [x - half, y - half, x + half, y + half]
        pen.ellipse(place, fill=plate, outline=COLOURS[ink])
        pen.text((x, y), str(number), fill=COLOURS[ink], font=font(size), anchor="mm")
        marks.append({"kind": "label", "number": number, "thing": thing.look.name, "box": place})
    every = [thing.look for thing in things]
    one, other = random.sample(range(len(things)), 2)
    name = phrases.named(things[one].look, every)
    told = phrases.number(numbers[other])
    asked = [
        phrases.ask(random, "labelled", name, mark=str(numbers[one])),
        phrases.ask(random, "label", told, one=things[other].look.name),
    ]
    return asked, marks


def _told(stage: Stage, things: list[Thing]) -> Asked:
    """Coordinates in words: as question, as answer, and to be judged."""
    random = stage.random
    one, other, third = random.sample(things, 3)
    every = [thing.look for thing in things]
    asked = [
        phrases.ask(random, "at place", phrases.named(one.look, every), place=_written(stage, one)),
        _find(stage, other),
    ]
    true = random.random() < 0.5
    place = _written(
        stage, third if true else random.choice([t for t in things if t not in (one, other, third)])
    )
    told = phrases.yes_no(true)
    asked.append(phrases.ask(random, "in place", told, one=third.look.name, place=place))
    random.shuffle(asked)
    return asked[: random.randint(2, 3)], []


def _find(stage: Stage, thing: Thing) -> Question:
    corners = normalised(thing.box, stage.size)
    name = thing.look.name
    if stage.random.random() < 0.5:
        check = {"how": "box", "box": corners, "overlap": 0.5}
        return phrases.ask(stage.random, "box", (_written(stage, thing), check), one=name)
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    check = {"how": "point", "box": corners}
    return phrases.ask(stage.random, "point", (f"({phrases.coordinates((x, y))})", check), one=name)


def normalised(box: Box, size: tuple[int, int]) -> list[float]:
    """Return a box in pixels as shares of the picture's width and height, to four digits."""
    return [round(value / size[i % 2], 4) for i, value in enumerate(box)]


def _written(stage: Stage, thing: Thing) -> str:
    return f"[{phrases.coordinates(normalised(thing.box, stage.size))}]"


PLANS: tuple[Callable[[Stage, list[Thing]], Asked], ...] = (
    _marked,
    _marked,
    _numbered,
    _told,
    _told,
)

KINDS = (
    Kind(
        "grounding",
        "which thing is where: boxes, rings, arrows and numbers over it, coordinates in text",
        grounding,
        tools=("numpy",),
        draws_from="cutouts",
    ),
)
