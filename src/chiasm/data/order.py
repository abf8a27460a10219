"""Which record stands at which place: a pure function of the seed, for any number of ranks.

    place   0 1 2 3 4 5 │ 6 7 8 …      endless: epoch after epoch, each a permutation of its own
    step    ├─0─┤ ├─1─┤ │                (records 3)
    rank 0  0   2   4     6              (world 2): of each step's places, every second one

Ranks, workers and micro-batches share out a step; they never change what a step holds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from chiasm.base.errors import UserError


class Order:
    """The endless order of `count` records."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def at(self, place: int) -> tuple[int, int]:
        """Return (epoch, number of the record) of a place, counted from 0."""
        epoch, index = divmod(place, self.count)
        return epoch, self._epoch(epoch)[index]

    def _permutation(self, epoch: int) -> list[int]:
        order = list(range(self.count))
        random.Random(f"{self.seed}/epoch/{epoch}").shuffle(order)
        return order


def places(step: int, records: int, rank: int = 0, world: int = 1) -> Sequence[int]:
    """Return the places of a 0-based step of so many records that one of `world` ranks takes.

    Raises UserError when the ranks cannot share a step evenly: the batch is never changed to fit.
    """
    if records % world:
        fits = max(world, records - records % world)
        raise UserError(
            f"data.load.records is {records}, which {world} processes cannot share evenly: "
            f"make it {fits}, or another multiple of {world}."
        )
    return range(step * records + rank, (step + 1) * records, world)
