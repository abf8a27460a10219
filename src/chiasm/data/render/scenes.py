"""Scenes of shapes and cut-outs: how many, where, of which colour, which one is different?

    a plan (count, relate, enclose, cover, look, odd) ─► answer drawn first ─► things that make it true
                                                                 └─► questions, balanced by it

The answer is drawn before the picture, so that no answer is likelier than another one for the same
words. Cut-outs (RGBA pictures with names) come from the library's "cutouts": (name, bytes) each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from chiasm.data.render import phrases
from chiasm.data.render.canvas import PATTERNS, SHAPES, finish
from chiasm.data.render.cutouts import Cutouts
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.things import Look, Stage, Thing, looks, places
from chiasm.inputs.question import Question

WHERE = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
"""Where one thing is as seen from another, and the direction of that."""


def scene(random: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one scene; `library` may hold "cutouts"."""
    stage = Stage(random)
    art = Cutouts(library.get("cutouts", ()))
    plan = random.choice(CUTOUT_PLANS if art and random.random() < 0.6 else PLANS)
    questions = plan(stage, art)
    data, treated = finish(random, stage.picture)
    truth = {
        "plan": plan.__name__.lstrip("_"),
        "size": list(stage.size),
        "things": [thing.plain() for thing in stage.things],
    }
    style = f"{truth['plan']}/{stage.ground} {stage.style}/{treated}"
    return Drawn(data, truth, tuple(questions), style)


Plan = Callable[[Stage, Cutouts], list[Question]]


def _spread(stage: Stage, chosen: list[Look], sizes: tuple[str, ...], art: Cutouts) -> list[Thing]:
    """Paint looks at free places, in any order."""
    random = stage.random
    random.shuffle(chosen)
    radii = [stage.radius(random.choice(sizes)) for _ in chosen]
    spots = places(random, stage.size, radii)
    return [
        stage.add(look, *spot, radius, art.picture(look.shape, random) if not look.colour else None)
        for look, spot, radius in zip(chosen, spots, radii, strict=True)
    ]


def _count(stage: Stage, art: Cutouts) -> list[Question]:
    """How many red circles? From none to six, each as likely; the rest is like them in one way or none."""
    random, wanted = stage.random, stage.random.randint(0, 6)
    target = Look(random.choice(SHAPES), random.choice(stage.colours))
    by = random.choice(("both", "both", "colour", "shape"))

    def fits(look: Look) -> bool:
        same = look.colour == target.colour, look.shape == target.shape
        return all(same) if by == "both" else same[by == "shape"]

    pool = [Look(shape, colour) for shape in SHAPES for colour in stage.colours]
    inside = [look for look in pool if fits(look)]
    others = [look for look in pool if not fits(look)]
    near = [x for x in others if x.colour == target.colour or x.shape == target.shape] or others
    chosen = random.choices(inside, k=wanted)
    for _ in range(random.randint(3, 6)):
        chosen.append(random.choice(near if random.random() < 0.5 else others))
    patterned = random.random() < 0.3
    dressed = [replace(x, pattern=random.choice(PATTERNS)) if patterned else x for x in chosen]
    _spread(stage, dressed, ("small", "middle"), art)
    words = {"both": target.name, "colour": f"{target.colour} thing", "shape": target.shape}[by]
    answer = phrases.number(wanted)
    asked = [phrases.ask(random, "count", answer, things=phrases.plural(words))]
    asked.append(_exists(stage, [look for look in pool if not fits(look)]))
    if random.random() < 0.5:
        asked.append(phrases.ask(random, "total", phrases.number(len(chosen))))
    return asked


def _exists(stage: Stage, pool: list[Look]) -> Question:
    """Is there a red circle? A look of the pool that is there, or as likely one that is not."""
    random, true = stage.random, stage.random.random() < 0.5
    there = {(t.look.colour, t.look.shape) for t in stage.things}
    fitting = [look for look in pool if ((look.colour, look.shape) in there) is true]
    if not true:  # what is not there has a colour and a shape that are
        colours, shapes = {c for c, _ in there}, {s for _, s in there}
        fitting = [x for x in fitting if x.colour in colours and x.shape in shapes] or fitting
    look = random.choice(fitting)
    return phrases.ask(random, "exists", phrases.yes_no(true), a_thing=phrases.a(look.name))


def _more(stage: Stage, art: Cutouts) -> list[Question]:
    """Are there more of these than of those?"""
    random = stage.random
    one, other, third = looks(random, stage.colours, 3)
    counts = random.sample(range(1, 7), 2)
    true = counts[0] > counts[1]
    chosen = [one] * counts[0] + [other] * counts[1] + [third] * random.randint(0, 2)
    _spread(stage, chosen, ("small", "middle"), art)
    names = {"things": phrases.plural(one.name), "others": phrases.plural(other.name)}
    return [phrases.ask(random, "more", phrases.yes_no(true), **names)]


def _relate(stage: Stage, art: Cutouts, cut: bool = False) -> list[Question]:
    """Left of, above, further down, bigger, in which quarter: of things that each are there once."""
    random = stage.random
    count = random.randint(4, 6)
    chosen = art.looks(random, count) if cut else looks(random, stage.colours, count)
    things = _spread(stage, chosen, ("middle", "big"), art)
    asked = [_where(stage, things), _further(stage, things)]
    sizes = [(a, b) for a in things for b in things if a.radius > 1.3 * b.radius]
    if sizes and not cut:  # how big a cut-out seems depends on its outline
        asked.append(_bigger(stage, *random.choice(sizes)))
    if placed := _quarter(stage, things):
        asked.append(placed)
    random.shuffle(asked)
    return asked[: random.randint(1, 3)]


def _where(stage: Stage, things: list[Thing]) -> Question:
    """Is one left of the other? As often as not it is on the opposite side."""
    random = stage.random
    where, (across, down) = random.choice(tuple(WHERE.items()))
    true = random.random() < 0.5
    one, other = random.sample(things, 2)
    ahead = (one.x - other.x) * across + (one.y - other.y) * down
    if (ahead > 0) is not true:
        one, other = other, one
    clear = abs(ahead) > (one.radius + other.radius) * 0.6
    if not clear:  # too close to call: the two that are furthest apart this way
        line = sorted(things, key=lambda t: t.x * across + t.y * down)
        one, other = (line[-1], line[0]) if true else (line[0], line[-1])
    words = {"one": one.look.name, "other": other.look.name, "where": where}
    return phrases.ask(random, "relation", phrases.yes_no(true), **words)


def _further(stage: Stage, things: list[Thing]) -> Question:
    random = stage.random
    way, axis, sign = random.choice(
        (("left", 0, 1), ("right", 0, -1), ("up", 1, 1), ("down", 1, -1))
    )
    line = sorted(things, key=lambda t: sign * (t.x, t.y)[axis])
    first, last = (line[0], line[-1]) if random.random() < 0.5 else _neighbours(line, axis, random)
    one, other = random.sample((first, last), 2)
    answer = phrases.named(first.look, (one.look, other.look))
    words = {"one": one.look.name, "other": other.look.name, "way": way}
    return phrases.ask(random, "further", answer, **words)


def _neighbours(line: list[Thing], axis: int, random: Random) -> tuple[Thing, Thing]:
    """Two that follow each other in a line, clearly apart; else its ends."""
    pairs = [
        (a, b)
        for a, b in pairwise(line)
        if abs((a.x - b.x, a.y - b.y)[axis]) > 0.6 * (a.radius + b.radius)
    ]
    return random.choice(pairs) if pairs else (line[0], line[-1])


def _bigger(stage: Stage, big: Thing, small: Thing) -> Question:
    random = stage.random
    one, other = random.sample((big, small), 2)
    size, answer = random.choice((("bigger", big), ("smaller", small)))
    told = phrases.named(answer.look, (one.look, other.look))
    words = {"one": one.look.name, "other": other.look.name, "size": size}
    return phrases.ask(random, "bigger", told, **words)


def _quarter(stage: Stage, things: list[Thing], the_thing: str = "") -> Question | None:
    random = stage.random
    known = [(t, q) for t in things if (q := phrases.quarter(t.x, t.y, stage.size))]
    if not known:
        return None
    # First the quarter, so that each is as likely; then one of the things in it.
    wanted = random.choice(sorted({quarter for _, quarter in known}))
    thing = random.choice([t for t, quarter in known if quarter == wanted])
    name = the_thing or f"the {thing.look.name}"
    return phrases.ask(random, "quarter", phrases.in_quarter(wanted), the_thing=name)


def _enclose(stage: Stage, art: Cutouts) -> list[Question]:
    """A large shape with none to three small things in it, and others around it."""
    random, count = stage.random, stage.random.randint(0, 3)
    outer, *small = looks(random, stage.colours, 7)
    outer = replace(outer, shape=random.choice(("circle", "square", "hexagon")))
    inner = [x for x in small if x.colour != outer.colour][:count]
    outside = [look for look in small if look not in inner and look.name != outer.name][:3]
    big, little = round(stage.side * 0.27), stage.radius("small")
    x = random.randint(big + 2, stage.size[0] - big - 2)
    y = random.randint(big + 2, stage.size[1] - big - 2)
    stage.add(outer, x, y, big)
    start = random.randrange(3)
    ring = ((0, -0.5), (0.43, 0.25), (-0.43, 0.25))
    for i, look in enumerate(inner):
        across, down = ring[(start + i) % 3]
        stage.add(look, x + round(across * big), y + round(down * big), little)
    spots = _around(stage, (x, y, big), little, len(outside))
    for look, spot in zip(outside, spots, strict=False):
        stage.add(look, *spot, little)
    words = {"other": f"big {outer.name}"}
    asked = [phrases.ask(random, "count inside", phrases.number(len(inner)), **words)]
    if inner and spots:
        true = random.random() < 0.5
        one = random.choice(inner if true else outside[: len(spots)]).name
        asked.append(phrases.ask(random, "inside", phrases.yes_no(true), one=one, **words))
    random.shuffle(asked)
    return asked


def _around(
    stage: Stage, taken: tuple[int, int, int], radius: int, count: int
) -> list[tuple[int, int]]:
    """Places for small things outside a large one; fewer where there is no room."""
    found = [taken]
    edge = radius + 2
    for _ in range(200):
        x = stage.random.randint(edge, stage.size[0] - edge)
        y = stage.random.randint(edge, stage.size[1] - edge)
        if all((x - a) ** 2 + (y - b) ** 2 > ((r + radius) * 1.15 + 4) ** 2 for a, b, r in found):
            found.append((x, y, radius))
        if len(found) > count:
            break
    return [(x, y) for x, y, _ in found[1:]]


def _cover(stage: Stage, art: Cutouts) -> list[Question]:
    """Two things, one of which hides a part of the other."""
    random = stage.random
    colours = random.sample(
        stage.colours, 3
    )  # alike in colour, nobody would see which covers which
    behind, front = (Look(random.choice(SHAPES), colour) for colour in colours[:2])
    radius = round(stage.side * random.uniform(0.16, 0.2))
    x = random.randint(2 * radius, stage.size[0] - 2 * radius)
    y = random.randint(2 * radius, stage.size[1] - 2 * radius)
    dx, dy = random.choice((-1, 1)), random.choice((-1, 1))
    stage.add(behind, x - dx * radius // 3, y - dy * radius // 3, radius)
    stage.add(front, x + dx * radius // 3, y + dy * radius // 3, radius)
    one, other = random.sample((behind, front), 2)
    answer = phrases.named(front, (behind, front))
    asked = [phrases.ask(random, "front", answer, one=one.name, other=other.name)]
    pool = [Look(s, c) for s in dict.fromkeys((behind.shape, front.shape)) for c in colours]
    asked.append(_exists(stage, pool))
    return asked


def _look(stage: Stage, art: Cutouts) -> list[Question]:
    """What colour is the star? No two things share a shape or a colour."""
    random, count = stage.random, stage.random.randint(2, 5)
    shapes, colours = random.sample(SHAPES, count), random.sample(stage.colours, count)
    dressed = [Look(s, c, random.choice(PATTERNS)) for s, c in zip(shapes, colours, strict=True)]
    _spread(stage, dressed, ("middle", "big"), art)
    order = random.sample(dressed, min(3, count))
    kinds = random.sample(("colour", "shape", "pattern"), len(order))
    asked = []
    for kind, look in zip(kinds, order, strict=True):
        answer = {
            "colour": phrases.colour(look.colour),
            "shape": phrases.shape(look.shape, SHAPES),
            "pattern": phrases.word(look.pattern, PATTERNS, _PATTERN_NAMES[look.pattern]),
        }[kind]
        words = {"shape": look.shape, "colour": look.colour}
        asked.append(phrases.ask(random, kind, answer, **words))
    return asked


_PATTERN_NAMES = {
    "plain": ("solid",),
    "striped": ("stripes",),
    "dotted": ("dots",),
    "chequered": ("checkered", "checked"),
}


def _odd(stage: Stage, art: Cutouts) -> list[Question]:
    """All alike but one: in colour, shape, pattern or size."""
    random = stage.random
    quality = random.choice(("colour", "shape", "pattern", "size"))
    [common] = looks(random, stage.colours, 1)
    choices = {"colour": stage.colours, "shape": SHAPES, "pattern": PATTERNS, "size": ("small",)}
    value = random.choice([v for v in choices[quality] if v != getattr(common, quality, None)])
    odd = common if quality == "size" else replace(common, **{quality: value})
    count, middle = random.randint(4, 8), stage.radius("middle")
    radii = [round(middle * 0.58) if quality == "size" else middle, *[middle] * count]
    spots = places(random, stage.size, radii)
    for look, spot, radius in zip([odd, *[common] * count], spots, radii, strict=True):
        stage.add(look, *spot, radius)
    where = _quarter(stage, stage.things[:1], "the odd one out")
    asked = [where] if where else []
    told: dict[str, Callable[[str], phrases.Told]] = {
        "colour": phrases.colour,
        "shape": partial(phrases.shape, among=SHAPES),
    }
    if random.random() < 0.5 or (not asked and quality not in told):
        answer = phrases.word(quality, _QUALITIES, _ALSO[quality])
        return [phrases.ask(random, "odd quality", answer), *asked]
    if quality in told:
        return [phrases.ask(random, f"odd {quality}", told[quality](getattr(odd, quality))), *asked]
    return asked


_QUALITIES = ("colour", "shape", "pattern", "size")
_ALSO = {"colour": ("color",), "shape": ("form",), "pattern": ("filling",), "size": ()}


def _count_cutouts(stage: Stage, art: Cutouts) -> list[Question]:
    """How often is a cut-out shown? From never to five times, each as likely."""
    random, wanted = stage.random, stage.random.randint(0, 5)
    target, *rest = art.looks(random, 4)
    chosen = [target] * wanted + random.choices(rest[:-1], k=random.randint(2, 4))
    _spread(stage, chosen, ("middle",), art)
    answer = phrases.number(wanted)
    asked = [phrases.ask(random, "times", answer, thing=f'"{target.shape}"')]
    true = random.random() < 0.5
    shown = sorted({look.shape for look in chosen} - {target.shape})
    name = random.choice(shown) if true else rest[-1].shape
    told = phrases.yes_no(true)
    return [*asked, phrases.ask(random, "exists", told, a_thing=f'"{name}"')]


def _relate_cutouts(stage: Stage, art: Cutouts) -> list[Question]:
    return _relate(stage, art, cut=True)


PLANS: tuple[Plan, ...] = (_count, _more, _relate, _enclose, _cover, _look, _odd)
CUTOUT_PLANS: tuple[Plan, ...] = (_count_cutouts, _relate_cutouts)

KINDS = (
    Kind(
        "scenes",
        "shapes and cut-outs on grounds: counting, relations, attributes, the odd one out",
        scene,
        tools=("numpy",),
        draws_from="cutouts",
    ),
)
