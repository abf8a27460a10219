"""Words that can stand for each other in a sentence and never mean the same.

Used to make an answer wrong by one word. Left out on purpose: words with a second meaning in captions
(a bat, a crane, a date), and neighbours that a picture may not tell apart (a mug and a cup).
"""

from __future__ import annotations

import re

COLOURS = (
    *("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white"),
    *("grey", "gray"),
)
SAME = (frozenset({"grey", "gray"}),)
"""Words of a group that do mean the same."""

_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
NUMBERS = tuple(_COUNTED.split())
"""The word for each number from 0 to 20."""

OPPOSITES = (
    *(("left", "right"), ("above", "below"), ("top", "bottom"), ("inside", "outside")),
    *(("upper", "lower"), ("up", "down"), ("upward", "downward"), ("upwards", "downwards")),
    *(("north", "south"), ("east", "west"), ("northern", "southern"), ("eastern", "western")),
    *(("first", "last"), ("before", "after"), ("in front of", "behind"), ("over", "under")),
    ("on top of", "underneath"),
    *(("clockwise", "counterclockwise"), ("bigger", "smaller"), ("larger", "tinier")),
    *(("longer", "shorter"), ("more", "fewer"), ("higher", "deeper"), ("faster", "slower")),
    *(("increases", "decreases"), ("increased", "decreased"), ("increasing", "decreasing")),
    *(("rises", "falls"), ("rising", "falling"), ("grows", "shrinks"), ("highest", "lowest")),
    *(("largest", "smallest"), ("maximum", "minimum"), ("leftmost", "rightmost")),
)
DIRECTIONS = {one: other for pair in OPPOSITES for one, other in (pair, pair[::-1])}
"""Each word of place, order or degree with its opposite."""

GROUPS = tuple(
    tuple(words.split())
    for words in (
        "dog cat horse cow sheep goat pig rabbit elephant lion tiger bear monkey giraffe zebra camel",
        "eagle owl parrot penguin duck swan chicken peacock flamingo",
        "bee butterfly spider ant ladybug dragonfly snail",
        "apple banana pear grape lemon cherry strawberry pineapple watermelon peach",
        "carrot tomato potato onion mushroom pumpkin cucumber broccoli",
        "car bus truck bicycle motorcycle train tram boat ship airplane helicopter rocket",
        "chair table bed sofa lamp wardrobe desk",
        "guitar piano violin drum trumpet flute harp",
        "hat shirt shoe glove scarf dress sock",
        "circle square triangle rectangle star hexagon pentagon diamond",
        "hammer saw screwdriver wrench axe shovel",
        "pizza hamburger sandwich cake cookie bread sushi",
        "house castle bridge tower church lighthouse tent",
        "man woman boy girl",
        "doctor farmer firefighter astronaut teacher cook",
        "sun moon cloud rainbow snowflake",
        "book pencil scissors envelope candle clock key umbrella",
    )
)
NEAR = tuple(
    frozenset(words.split())
    for words in (
        "square rectangle diamond",
        "boat ship",
        "table desk",
        "train tram",
        "cat lion",
        "cat tiger",
    )
)
"""Nouns of a group of which one may be called by the name of the other: a square is a rectangle."""
_IRREGULAR = {
    "sheep": "sheep",
    "man": "men",
    "woman": "women",
    "scissors": "scissors",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "bread": "bread",
    "sushi": "sushi",
    "broccoli": "broccoli",
}
_UNCOUNTED = {"bread", "sushi", "broccoli", "scissors", "sheep"}
"""One form for one and many, or no "a" before it: no other word fits into its place for certain."""


def plural(noun: str) -> str:
    """Return the plural of a noun of GROUPS."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if re.search(r"(s|x|ch|sh)$", noun):
        return noun + "es"
    return re.sub(r"y$", "ie", noun) + "s" if re.search(r"[^aeiou]y$", noun) else noun + "s"


def _forms() -> dict[str, tuple[str, ...]]:
    """Every noun in either number, with the nouns of its group in the same number."""
    forms: dict[str, tuple[str, ...]] = {}
    for group in GROUPS:
        fits = [noun for noun in group if noun not in _UNCOUNTED]
        for number in (str, plural):
            for noun in fits:
                near = frozenset({noun}).union(*(nouns for nouns in NEAR if noun in nouns))
                others = tuple(number(other) for other in fits if other not in near)
                forms[number(noun)] = others
    return forms


OBJECTS = _forms()
