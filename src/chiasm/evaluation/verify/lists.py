"""Answers that name several things: a set in any order, or a sequence."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from pydantic import Field

from chiasm.evaluation.verify.normal import NEGATION, Verifier, mentions, plain, said

Name: TypeAlias = str | tuple[str, ...]
"""A name, or all its accepted variants."""

_FILL = (
    "a an the and also then next first second third fourth last lastly finally followed by after that "
    "are is was were they there these those it in order from to as well following objects things ones "
    "i we see can so"
)
"""Words that may stand between the names of a list."""


class Names(Verifier):
    """{"how": "names", "names": ["red circle", ["grey star", "gray star"]], "among": [...]}

    Right is a text that names all of them and nothing else, in any order, with commas, bullets or
    "and" between them. With `among`, other words are no matter, but other names of that list are.
    An empty list is answered by "none".
    """

    how: Literal["names"] = "names"
    names: tuple[Name, ...]
    """What must be named; for each one its variants."""
    among: tuple[str, ...] = ()
    """Everything that could be named instead."""

    def right(self, answer: str) -> bool:
        """Return whether exactly these things are named."""
        if not self.names:
            return plain(said(answer)) in (
                "none",
                "nothing",
                "no one",
                "there are none",
                "there is none",
            )
        places = _named(self.names, self.among, answer)
        return places is not None and set(places) == set(range(len(self.names)))


class Sequence(Verifier):
    """{"how": "sequence", "names": ["red", "blue", "green"], "among": [...]}

    Right is a text that names each of them once, in this order: "red, then blue, then green",
    "1. red 2. blue 3. green", "red -> blue -> green". "x after y" is not understood and wrong.
    """

    how: Literal["sequence"] = "sequence"
    names: tuple[Name, ...] = Field(min_length=1)
    """What must be named, in order; for each one its variants."""
    among: tuple[str, ...] = ()
    """Everything that could be named instead."""

    def right(self, answer: str) -> bool:
        """Return whether exactly these things are named in this order."""
        if re.search(r"\bafter\b(?! (?:that|this|it)\b)|\bbefore\b|<-", plain(said(answer))):
            return False
        return _named(self.names, self.among, answer) == list(range(len(self.names)))


def _named(names: tuple[Name, ...], among: tuple[str, ...], answer: str) -> list[int] | None:
    """Numbers of the names in the order of the text; None where something else is said."""
    text = plain(said(answer))
    owner: dict[str, int] = {plain(other): -1 for other in among}
    for number, name in enumerate(names):
        owner.update({plain(v): number for v in ((name,) if isinstance(name, str) else name)})
    found, rest = mentions(owner, text)
    if any(owner[phrase] < 0 for _, phrase in found) or NEGATION.search(rest):
        return None
    rest = re.sub(r"(?<!\S)[(#]?\d{1,2}[.):](?!\S)", " ", rest)  # numbers of a list
    if not among and set(re.findall(r"\w+", rest)) - set(_FILL.split()):
        return None
    return [owner[phrase] for _, phrase in found]
