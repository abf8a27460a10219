"""What every renderer is: a function from a seeded chance to a picture whose truth is known.

    draw(Random("seed/kind/number"), library) ──► Drawn: encoded picture or video, truth, questions

The number-th picture of a kind depends on nothing but (seed, kind, number): any number of processes
draws the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeAlias

from chiasm.inputs.question import Question


@dataclass(frozen=True)
class Drawn:
    """A picture or a short video, everything that is true of it, and questions about it."""

    data: bytes
    """Encoded: PNG, JPEG or WebP; an animated WebP where it is a video."""
    truth: Mapping[str, Any]
    """All that was drawn, as plain JSON values; boxes are [left, top, right, bottom] in pixels."""
    questions: tuple[Question, ...]
    style: str
    """How it was drawn, for reports: "bar/seaborn", "receipt/mono"."""
    video: bool = False
    """Whether `data` is a video."""


Draw: TypeAlias = Callable[[Random, Mapping[str, Any]], Drawn]
"""Draws one; the mapping holds what the renderer was given to draw from (tables, texts, cut-outs)."""


@dataclass(frozen=True)
class Kind:
    """A kind of rendered pictures."""

    name: str
    does: str
    """What it draws, for the command line's help."""
    draw: Draw
    needs: str = ""
    """The program or extra without which it cannot draw, for the message that says how to get it."""
    check: Callable[[], None] | None = None
    """Raises UserError, saying what to install, where what it needs is missing."""
    tools: tuple[str, ...] = ()
    """What decides its bytes besides Pillow: names that `versions` knows."""
    draws_from: Literal["", "cutouts", "maps", "tables", "texts"] = ""
    """The part of the library that it uses."""
    usual: str = ""
    """The collection that it is drawn from when none is named; empty when it can do without."""
