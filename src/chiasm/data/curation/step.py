"""What every step of curation is: a function from a few items to as many verdicts.

    Step         items of one shard ──► one Verdict each: kept (with facts), or a reason
    WholeStep    a table of all that is left ──► {row: Verdict}: duplicates, diversity

Steps know no engine, no file and no order of work: the pipeline calls them. What a model does (scores,
captions, OCR) is passed in with Tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from chiasm.data.pairs import Pair

Fact: TypeAlias = str | int | float | bytes | None
"""What a step found out about an item: a value of a Parquet column."""
Pixels: TypeAlias = NDArray[np.uint8]
"""Upright RGB, uint8 [H, W, 3]."""
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A setting from 0 to 1."""


@dataclass
class Item:
    """A pair on its way through the steps."""

    pair: Pair
    caption: str
    """The text as it stands now; `pair.caption` is the one that came."""
    frames: tuple[Pixels, ...] = ()
    """The decoded picture, or chosen frames of a video in their order; empty when no step needs them."""
    times: tuple[float, ...] = ()
    """When each frame of a video is shown, in seconds; empty for a picture."""
    seconds: float = 0.0
    """How long a video is; 0 for a picture."""
    facts: dict[str, Fact] = field(default_factory=dict)
    """What the steps before found out."""


@dataclass(frozen=True)
class Verdict:
    """What a step says of one item."""

    reason: str = ""
    """Empty: the item is kept. Otherwise why it is dropped: a key of the step's `reasons`."""
    note: str = ""
    """What the report shows beside an example: "fr, 0.98"."""
    caption: str | None = None
    """The caption from now on, where the step changes it."""
    frames: tuple[Pixels, ...] | None = field(default=None, compare=False)
    """The picture from now on, where the step changes it: it is encoded again, without loss."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What the step found out: added to the item's facts, and to the columns of the shards."""


KEPT = Verdict()


class Step(Protocol):
    """Looks at items on their own; the same item always gets the same verdict, whatever its neighbours."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def reasons(self) -> Mapping[str, str]:
        """Every reason for which it drops an item, and what that means in one sentence."""
        ...

    @property
    def looks(self) -> bool:
        """Whether it needs `Item.frames`."""
        ...

    def __call__(self, items: Sequence[Item]) -> list[Verdict]: ...


@runtime_checkable
class WholeStep(Protocol):
    """Compares items with each other.

    Called with one pyarrow table of everything that the steps before kept, in the order of `key`:
    columns `key`, `caption`, `source`, `sha256` (of the picture's bytes), and each fact that a step before
    wrote. Returns a verdict for each row that is dropped, by its number; the others are kept.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def reasons(self) -> Mapping[str, str]:
        """Every reason for which it drops an item, and what that means in one sentence."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Facts that it reads; a step before must have written them."""
        ...

    def __call__(self, table: Any) -> dict[int, Verdict]: ...


@dataclass(frozen=True)
class Tools:
    """What models do for curation, each a function or None where there is no model for it."""

    embed_pictures: Callable[[Sequence[Pixels]], NDArray[np.float32]] | None = None
    """Pictures to unit vectors [N, D] of a two-tower model (CLIP)."""
    embed_texts: Callable[[Sequence[str]], NDArray[np.float32]] | None = None
    """Texts to unit vectors [N, D] in the same space."""
    read_text: Callable[[Pixels], str] | None = None
    """The text that stands in a picture, lines in reading order, separated by newlines (OCR)."""
    describe: Callable[[Sequence[Pixels]], list[str]] | None = None
    """A caption for each picture."""
    unsafe: Callable[[Sequence[Pixels]], list[float]] | None = None
    """How likely each picture must not be shown, 0 to 1."""
    faces: Callable[[Pixels], list[tuple[int, int, int, int]]] | None = None
    """Boxes (left, top, right, bottom) of faces in pixels."""
