"""How questions about drawn things are worded: several templates each, chosen by the seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, TypeAlias

from chiasm.data.render.canvas import ALSO, COLOURS
from chiasm.data.render.things import Look
from chiasm.inputs.question import Question

TEMPLATES: dict[str, tuple[str, ...]] = {
    "count": (
        "How many {things} are there?",
        "How many {things} can you see?",
        "Count the {things}.",
        "What is the number of {things}?",
    ),
    "total": (
        "How many things are there in all?",
        "Count everything that is drawn here.",
        "What is the number of all things in this picture?",
    ),
    "times": (
        "How many times is {thing} shown?",
        "How often can you see {thing}?",
    ),
    "exists": (
        "Is there {a_thing}?",
        "Can you see {a_thing}?",
        "Does the picture show {a_thing}?",
        "Is {a_thing} among these things?",
    ),
    "more": (
        "Are there more {things} than {others}?",
        "Do the {things} outnumber the {others}?",
    ),
    "relation": (
        "Is the {one} {where} the {other}?",
        "Can the {one} be found {where} the {other}?",
        "Looking at the {one}: is it {where} the {other}?",
    ),
    "further": (
        "Which is further {way}, the {one} or the {other}?",
        "The {one} or the {other}: which lies further {way}?",
    ),
    "bigger": (
        "Which is {size}, the {one} or the {other}?",
        "Of the {one} and the {other}, which one is {size}?",
    ),
    "front": (
        "Which covers a part of the other, the {one} or the {other}?",
        "Which is in front, the {one} or the {other}?",
    ),
    "quarter": (
        "In which quarter of the picture is {the_thing}?",
        "Where is {the_thing}: top left, top right, bottom left or bottom right?",
    ),
    "inside": (
        "Is the {one} inside the {other}?",
        "Does the {other} contain the {one}?",
    ),
    "count inside": (
        "How many things are inside the {other}?",
        "Count the things within the {other}.",
    ),
    "colour": (
        "What colour is the {shape}?",
        "Which colour does the {shape} have?",
        "Name the colour of the {shape}.",
    ),
    "shape": (
        "What shape is the {colour} thing?",
        "Which shape does the {colour} thing have?",
    ),
    "pattern": (
        "How is the {shape} filled: plain, striped, dotted or chequered?",
        "Is the {shape} plain, striped, dotted or chequered?",
    ),
    "odd colour": (
        "One thing differs from all others. What colour is it?",
        "Which colour does the odd one out have?",
    ),
    "odd shape": (
        "One thing differs from all others. What shape is it?",
        "Which shape does the odd one out have?",
    ),
    "odd quality": (
        "One thing differs from all others: by its colour, shape, pattern or size?",
        "What sets the odd one out apart: colour, shape, pattern or size?",
    ),
    # marks over a picture, and places in words
    "in box": (
        "What is in the {mark} box?",
        "Name what the {mark} box holds.",
        "Which thing does the {mark} box enclose?",
    ),
    "in ring": ("What is circled in {mark}?", "Which thing does the {mark} ring surround?"),
    "at arrow": (
        "What does the {mark} arrow point at?",
        "Which thing is the {mark} arrow aimed at?",
    ),
    "labelled": ("What is marked with {mark}?", "Which thing carries the label {mark}?"),
    "label": ("Which label does the {one} carry?", "With which number is the {one} marked?"),
    "at place": (
        "What is at {place}?",
        "Which thing lies within {place}?",
        "Name what you see in the region {place}.",
    ),
    "box": (
        "Where is the {one}? Answer with [left, top, right, bottom], each from 0 to 1.",
        "Give the bounding box of the {one} as [left, top, right, bottom] between 0 and 1.",
    ),
    "point": (
        "Point at the {one}: answer with (x, y), each from 0 to 1.",
        "At which point (x, y), from 0 to 1 each, is the {one}?",
    ),
    "in place": ("Is the {one} within {place}?", "Does the region {place} hold the {one}?"),
    # maps: names of regions stand without an article
    "region labelled": (
        "Which region of this map is marked with {mark}?",
        "What is the region with the number {mark} called?",
    ),
    "label of region": (
        "With which number is {one} marked?",
        "Which number stands in {one}?",
    ),
    "region at": (
        "Which region lies at {place}, as shares of width and height?",
        "Name the region at the point {place}.",
    ),
    "box of region": (
        "Where is {one}? Answer with [left, top, right, bottom], each from 0 to 1.",
        "Give the bounding box of {one} as [left, top, right, bottom] between 0 and 1.",
    ),
    "point in region": (
        "Point at {one}: answer with (x, y), each from 0 to 1.",
        "Give a point (x, y), from 0 to 1 each, that lies in {one}.",
    ),
    "is in region": ("Does the point {place} lie in {one}?", "Is {one} at {place}?"),
    # short videos
    "direction": (
        "In which direction does the {one} move: left, right, up or down?",
        "Does the {one} move left, right, up or down?",
    ),
    "faster": (
        "Which moves faster, the {one} or the {other}?",
        "The {one} or the {other}: which is faster?",
    ),
    "appears first": ("Which thing appears first?", "What is the first thing to appear?"),
    "appears last": ("Which thing appears last?", "What is the last thing to appear?"),
    "order": (
        "In which order do the things appear?",
        "List the things in the order in which they come into view.",
    ),
    "goes first": ("Which thing vanishes first?", "What is the first thing to go?"),
    "goes last": ("Which thing vanishes last?", "What is the last thing to go?"),
    "order of going": (
        "In which order do the things vanish?",
        "List the things in the order in which they go.",
    ),
    "blinks": (
        "How many times does the {one} blink?",
        "How often does the {one} vanish for a moment?",
    ),
    "bounces": (
        "How many times does the {one} touch the floor?",
        "How often does the {one} bounce off the floor?",
    ),
    "colour before": (
        "What colour is the {one} at first?",
        "Which colour does the {one} begin with?",
    ),
    "colour after": (
        "What colour is the {one} at the end?",
        "Which colour does the {one} end with?",
    ),
    "colours": ("Which colours does the {one} take, in their order?",),
    "size": ("Does the {one} grow or shrink?", "Is the {one} growing or shrinking?"),
}
MORE_SHAPES = {
    "moon": ("crescent", "crescent moon", "half moon"),
    "drop": ("teardrop", "raindrop"),
    "cross": ("plus", "plus sign"),
    "diamond": ("rhombus",),
    "square": ("rectangle",),
}
"""Other names that are right, too."""
QUARTERS = ("top left", "top right", "bottom left", "bottom right")


Told: TypeAlias = tuple[str, dict[str, Any]]
"""An answer in words, and the check that goes with it."""


def ask(random: Random, kind: str, told: Told, **words: str) -> Question:
    """Return a question of a kind in the words of one of its templates."""
    return Question(random.choice(TEMPLATES[kind]).format(**words), *told, kind)


def plural(name: str) -> str:
    """Return the plural of a shape's name, a colour before it or not."""
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def a(name: str) -> str:
    """Return a name behind its article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def yes_no(value: bool) -> Told:
    """Return the answer and its check."""
    return ("yes" if value else "no"), {"how": "yes_no", "value": value}


def number(value: int) -> Told:
    """Return the answer and its check."""
    return str(value), {"how": "number", "value": value}


def word(right: str, among: Iterable[str], also: Sequence[str] = ()) -> Told:
    """Return the answer and its check: `also` names other right words, `among` all that could be said."""
    accept = [right, *also]
    rest = [other for other in among if other not in accept]
    return right, {"how": "words", "accept": accept, "among": [*accept, *rest]}


def colour(name: str) -> Told:
    """Return a colour as answer, and its check."""
    every = [*COLOURS, *(other for others in ALSO.values() for other in others)]
    return word(name, every, ALSO.get(name, ()))


def shape(name: str, among: Iterable[str]) -> Told:
    """Return a shape as answer, and its check."""
    return word(name, among, MORE_SHAPES.get(name, ()))


def named(look: Look, among: Iterable[Look]) -> Told:
    """Return a thing as answer, and its check, which knows the other things of the picture."""
    return word(look.name, (each.name for each in among), variants(look)[1:])


def variants(look: Look) -> list[str]:
    """Return all names of a look, the one that we use first."""
    if not look.colour:
        return [look.shape]
    colours = (look.colour, *ALSO.get(look.colour, ()))
    shapes = (look.shape, *MORE_SHAPES.get(look.shape, ()))
    return [f"{one} {other}" for one in colours for other in shapes]


def quarter(x: float, y: float, size: tuple[int, int]) -> str | None:
    """Return where a place is in words; None where that is a matter of taste."""
    across, down = x / size[0] - 0.5, y / size[1] - 0.5
    if min(abs(across), abs(down)) < 0.06:
        return None
    return f"{'top' if down < 0 else 'bottom'} {'left' if across < 0 else 'right'}"


def coordinates(values: Sequence[float]) -> str:
    """Return normalised coordinates as text, to two digits."""
    return ", ".join(f"{value:.2f}" for value in values)


def in_quarter(name: str) -> Told:
    """Return a quarter as answer, and its check."""

    def spelled(name: str) -> list[str]:
        high, side = name.split()
        highs = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}[high]
        return [f"{h} {side}" for h in highs] + [f"{side} {h}" for h in highs]

    every = [text for each in QUARTERS for text in spelled(each)]
    return word(name, every, spelled(name)[1:])
