"""All pairs of 64-bit hashes that differ in few bits, exactly, without comparing all with all.

hash  [ 16 │ 16 │ 16 │ 16 ]     two hashes within 7 bits differ by at most 1 in one of the quarters:
          ▲                     look there for the same quarter, and for those 1 bit away
          └── 1 + 16 buckets of 65,536     (multi-index hashing; Norouzi et al. 2014)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from chiasm.data.curation.components import Edges

QUARTERS = 4
BITS = 16
BLOCK = 1024
"""Members whose neighbours are looked up at a time."""
MANY = 1 << 21
"""Pairs of hashes that are compared at a time."""


def neighbours(hashes: NDArray[np.uint64], radius: int) -> Iterator[Edges]:
    """Yield pairs (i, j), i < j, of members whose hashes [N, V] are near, int64 [E, 2].

    Near are two members when any hash of one differs in at most `radius` bits from the first hash of
    the other. A pair comes at most once in a yield, and in at most two yields.
    """
    if not len(hashes):
        return
    whole = np.ascontiguousarray(hashes[:, 0])
    tables = [_table(_quarter(whole, quarter)) for quarter in range(QUARTERS)]
    masks = _masks(radius // QUARTERS)
    for at in range(0, len(hashes), BLOCK):
        asked = hashes[at : at + BLOCK].ravel()
        owners = at + np.repeat(np.arange(len(asked) // hashes.shape[1]), hashes.shape[1])
        found = [
            part
            for quarter, table in enumerate(tables)
            for mask in masks
            for part in _matches(asked, owners, whole, table, (quarter, mask, radius))
        ]
        codes = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
        if len(codes):
            yield np.stack(np.divmod(codes, len(hashes)), axis=1)


def _masks(most: int) -> list[int]:
    """All ways to flip at most `most` of BITS bits."""
    return [
        sum(1 << bit for bit in bits)
        for count in range(most + 1)
        for bits in combinations(range(BITS), count)
    ]


def _quarter(hashes: NDArray[np.uint64], quarter: int) -> NDArray[np.int64]:
    return ((hashes >> np.uint64(BITS * quarter)) & np.uint64((1 << BITS) - 1)).astype(np.int64)


def _table(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members by their key, and where each key's begin."""
    starts = np.zeros((1 << BITS) + 1, np.int64)
    np.cumsum(np.bincount(keys, minlength=1 << BITS), out=starts[1:])
    return np.argsort(keys, kind="stable"), starts


def _matches(
    asked: NDArray[np.uint64],
    owners: NDArray[np.int64],
    whole: NDArray[np.uint64],
    table: tuple[NDArray[np.int64], NDArray[np.int64]],
    where: tuple[int, int, int],
) -> Iterator[NDArray[np.int64]]:
    """Codes i * N + j of the near pairs in one bucket of each hash that asks."""
    order, starts = table
    quarter, mask, radius = where
    keys = _quarter(asked, quarter) ^ mask
    counts = starts[keys + 1] - starts[keys]
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(asked):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + MANY, side="right")))
        some = counts[begin:end]
        asking = np.repeat(np.arange(begin, end), some)
        inside = np.arange(len(asking)) - np.repeat(np.cumsum(some) - some, some)
        other = order[starts[keys[asking]] + inside]
        near = np.bitwise_count(asked[asking] ^ whole[other]) <= radius
        one, two = owners[asking[near]], other[near]
        differ = one != two
        one, two = one[differ], two[differ]
        yield np.minimum(one, two) * len(whole) + np.maximum(one, two)
        begin = end
