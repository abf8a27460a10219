"""What may be done to the linear layers of a built model: settings that its folder records.

Readable without torch, for the command line's help.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError, did_you_mean

R = TypeVar("R")

ADAPTER = ("lora_a", "lora_b")
"""What an adapter's two matrices are called, after the name of their layer."""


class LowRank(Settings):
    """A learned addition of low rank to a layer's matrix (LoRA, Hu et al. 2021)."""

    rank: PositiveInt = 8
    """Rows of the one matrix and columns of the other."""
    alpha: PositiveFloat = 16.0
    """How much the addition weighs, before it is divided by the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the inputs that the addition does not see while it learns."""
    divide_by: Literal["rank", "root"] = "rank"
    """alpha / rank (Hu et al. 2021, section 4.1), or alpha / √rank, which keeps the size of what a high
    rank learns (rsLoRA, Kalajdzievski 2023, theorem 3.2)."""

    @property
    def factor(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.alpha / (self.rank if self.divide_by == "rank" else math.sqrt(self.rank))


class LowBit(Settings):
    """Integers with a scale in a matrix's stead, rounded to the nearest."""

    bits: Literal[8, 4] = 8
    """8: one of 256 steps, around zero; 4: one of 16, between a group's smallest and largest weight."""
    group: NonNegativeInt = 0
    """Neighbouring weights of a row that share a scale; 0: the whole row."""


INT8, INT4 = LowBit(), LowBit(bits=4, group=32)
"""What `int8` and `int4` mean."""
LowRankTable = tuple[tuple[str, LowRank | None], ...]
"""Rows (pattern, adapter): the first pattern that a linear layer's name matches decides; None: none."""
LowBitTable = tuple[tuple[str, LowBit | None], ...]
"""Rows (pattern, integers), as in `LowRankTable`."""


def chosen(
    names: Sequence[str], table: Iterable[tuple[str, R | None]], setting: str
) -> dict[str, R]:
    """Return what the first matching row says for each name that has one; rows of None leave it out.

    Raises UserError for a row that decides nothing.
    """
    rows = tuple(table)
    found: dict[str, R] = {}
    used = set()
    for name in names:
        row = next((i for i, (pattern, _) in enumerate(rows) if fnmatchcase(name, pattern)), None)
        if row is not None:
            used.add(row)
            if (what := rows[row][1]) is not None:
                found[name] = what
    for i, (pattern, _) in enumerate(rows):
        if i not in used:
            raise UserError(
                f'The pattern "{pattern}" of `{setting}` matches no linear layer that an earlier row '
                f"has left.{did_you_mean(pattern, [*dict.fromkeys(map(starred, names))])}"
            )
    return found


def starred(name: str) -> str:
    """Return a name with its numbers replaced: "decoder.blocks.3.attn.q" -> "decoder.blocks.*.attn.q"."""
    return ".".join("*" if piece.isdigit() else piece for piece in name.split("."))


def folded(names: Sequence[str], done: dict[str, R]) -> tuple[tuple[str, R | None], ...]:
    """Return a short table that `chosen` turns back into `done`, of all linear layers' `names`."""
    table: dict[str, R | None] = {}
    for name, what in done.items():
        if any(fnmatchcase(name, pattern) for pattern in table):
            continue
        alike = [other for other in names if fnmatchcase(other, starred(name))]
        whole = all(done.get(other) == what for other in alike)
        table[starred(name) if whole else name] = what
    return tuple(table.items())


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name belongs to a LoRA adapter."""
    return name.rpartition(".")[2] in ADAPTER
