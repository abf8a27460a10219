"""Texts that share most of their shingles, found without comparing all with all.

    shingles ─► signatures: P smallest hashes ─► bands of R ─► same band? ─► true Jaccard ≥ threshold
                (Broder 1997)                    (LSH)         candidates      nothing else is a pair

Whether a pair is near is decided by its shingles, never by an estimate: MinHash only proposes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.data.curation.components import Edges, Labels, apart, join
from chiasm.data.curation.shingles import Hashes, Rows, Unit, mixed, shingles

Signatures = NDArray[np.uint32]

CHUNK = 4096
"""Texts whose shingles are hashed at a time: what fits a processor's cache."""
MANY = 1 << 17
"""Pairs that are compared at a time."""
AT_ONCE = 1 << 22
"""Shingles that are compared at a time."""
_SALT = 0x43484941


@dataclass(frozen=True)
class Nearness:
    """When two texts are near, and how hard to look for them."""

    unit: Unit = "letters"
    n: int = 4
    """Units in a shingle."""
    threshold: float = 0.6
    """Jaccard similarity of two sets of shingles."""
    permutations: int = 128
    """Hash functions."""
    miss: float = 0.02
    """Chance with which a pair just at the threshold may be missed."""


def bands(permutations: int, threshold: float, miss: float) -> tuple[int, int]:
    """Return (bands, rows per band): as many rows as leave a pair at the threshold unseen at most with
    probability `miss`, (1 - threshold^rows)^bands; more alike pairs are missed less often.

    Raises ValueError when no number of rows does it.
    """
    for rows in range(permutations, 0, -1):
        if (1 - threshold**rows) ** (permutations // rows) <= miss:
            return permutations // rows, rows
    raise ValueError(
        f"{permutations} permutations cannot find pairs at {threshold}: take more, or a higher threshold"
    )


def signatures(rows: Rows, permutations: int) -> Signatures:
    """Return the smallest hash of each row under each of P permutations, uint32 [N, P].

    The share of equal places in two signatures estimates the Jaccard similarity of the two rows. A
    permutation is x -> a·x + b modulo 2^32 with a odd; shingles are well mixed before. A row without shingles
    has 2^32 - 1 everywhere.
    """
    chance = np.random.default_rng(_SALT)
    factors = chance.integers(0, 1 << 31, permutations, dtype=np.uint32) * np.uint32(2) + 1
    offsets = chance.integers(0, 1 << 32, permutations, dtype=np.uint32)
    some = np.flatnonzero(rows.lengths)
    out = np.full((len(rows), permutations), np.uint32(0xFFFFFFFF))
    if not len(some):
        return out
    small = (rows.values >> np.uint64(32)).astype(np.uint32)
    turned, least = np.empty_like(small), np.empty((permutations, len(some)), np.uint32)
    for number, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        np.multiply(small, factor, out=turned)
        np.add(turned, offset, out=turned)
        np.minimum.reduceat(turned, rows.starts[some], out=least[number])
    out[some] = least.T
    return out


def jaccard(rows: Rows, pairs: Edges) -> NDArray[np.float64]:
    """Return |A ∩ B| / |A ∪ B| of the sets of shingles of each pair; 0 where both are empty.

    Exact but for chance: shingles of one pair are compared by 45 bits of their hashes.
    """
    ends = np.cumsum(rows.lengths[pairs].sum(axis=1))
    found = [np.zeros(0)]
    begin = 0
    while begin < len(pairs):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        end = min(end, begin + MANY)
        found.append(_jaccard(rows, pairs[begin:end]))
        begin = end
    return np.concatenate(found)


def _jaccard(rows: Rows, pairs: Edges) -> NDArray[np.float64]:
    keys = []
    for side in (0, 1):
        values, owners = _gathered(rows, pairs[:, side])
        keys.append(
            (owners << np.uint64(46)) | (values >> np.uint64(19) << np.uint64(1)) | np.uint64(side)
        )
    each = np.sort(np.concatenate(keys))
    each = each[np.concatenate(([True], each[1:] != each[:-1]))[: len(each)]]
    both = each[1:][(each[1:] >> np.uint64(1)) == (each[:-1] >> np.uint64(1))]
    count = len(pairs)
    shared = np.bincount((both >> np.uint64(46)).astype(np.int64), minlength=count)
    sizes = np.bincount((each >> np.uint64(46)).astype(np.int64), minlength=count)
    return shared / np.maximum(sizes - shared, 1)


def _gathered(rows: Rows, wanted: NDArray[np.int64]) -> tuple[Hashes, Hashes]:
    """The values of the wanted rows, one after the other, and the place in `wanted` of each."""
    lengths = rows.lengths[wanted]
    owners = np.repeat(np.arange(len(wanted)), lengths)
    begin = np.cumsum(lengths) - lengths
    places = np.arange(len(owners)) - begin[owners] + rows.starts[wanted][owners]
    return rows.values[places], owners.astype(np.uint64)


def near_texts(texts: Sequence[str], how: Nearness) -> Labels:
    """Return labels [N] of groups of texts joined by pairs with a Jaccard similarity >= `how.threshold`.

    Takes a byte per permutation, 8 per band and 8 per shingle. Texts without shingles are like nothing.
    """
    count, rows_per_band = bands(how.permutations, how.threshold, how.miss)
    parts, keys, marks, whole = [], [], [], []
    for at in range(0, len(texts), CHUNK):
        part = shingles(texts[at : at + CHUNK], how.unit, how.n)
        signed = signatures(part, how.permutations)
        keys.append(_band_keys(signed[:, : count * rows_per_band].reshape(len(part), count, -1)))
        marks.append(signed.astype(np.uint8))
        whole.append(_sums(part))
        parts.append(part)
    if not parts:
        return apart(0)
    rows, marked = _stacked(parts), np.concatenate(marks)
    labels, alone = _same(rows, np.concatenate(whole))
    least = how.threshold - 4 * (how.threshold * (1 - how.threshold) / how.permutations) ** 0.5
    for pairs in _candidates(np.concatenate(keys, axis=1), alone, now := [labels]):
        likely = pairs[(marked[pairs[:, 0]] == marked[pairs[:, 1]]).mean(axis=1) >= least]
        now[0] = join(now[0], likely[jaccard(rows, likely) >= how.threshold])
    return now[0]


def _band_keys(bands_of: NDArray[np.uint32]) -> Hashes:
    """One hash per band and text, [bands, N], of signatures [N, bands, rows]."""
    out = np.zeros(bands_of.shape[:2], np.uint64)
    for row in range(bands_of.shape[2]):
        out = mixed(out ^ bands_of[:, :, row])
    return np.ascontiguousarray(out.T)


def _sums(rows: Rows) -> Hashes:
    """Equal for texts of equal shingles."""
    running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(rows.values, dtype=np.uint64)))
    return mixed(running[rows.starts[1:]] - running[rows.starts[:-1]]) ^ rows.lengths.astype(
        np.uint64
    )


def _stacked(parts: Sequence[Rows]) -> Rows:
    ends = np.concatenate([part.lengths for part in parts])
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(ends)))
    return Rows(np.concatenate([part.values for part in parts]), starts)


def _same(rows: Rows, sums: Hashes) -> tuple[Labels, NDArray[np.int64]]:
    """Labels that join texts of the same shingles, and the first text of each such group, ascending."""
    labels = apart(len(rows))
    some = np.flatnonzero(rows.lengths)
    _, first, inverse = np.unique(sums[some], return_index=True, return_inverse=True)
    labels[some] = some[first[inverse]]
    return labels, np.sort(some[first])


def _candidates(keys: Hashes, members: NDArray[np.int64], labels: list[Labels]) -> Iterator[Edges]:
    """Pairs of members [E, 2] with a band in common, each once, but for those already in one group.

    `labels[0]` may be replaced between two yields.
    """
    waiting: list[Edges] = []
    held = 0
    for band in range(len(keys)):
        order = members[np.argsort(keys[band][members], kind="stable")]
        sorted_keys = keys[band][order]
        places = np.arange(len(order))
        for gap in range(1, len(order)):
            places = places[places + gap < len(order)]
            places = places[sorted_keys[places] == sorted_keys[places + gap]]
            if not len(places):
                break
            pairs = np.stack((order[places], order[places + gap]), axis=1)
            pairs = pairs[labels[0][pairs[:, 0]] != labels[0][pairs[:, 1]]]
            seen = (keys[:band, pairs[:, 0]] == keys[:band, pairs[:, 1]]).any(axis=0)
            waiting.append(pairs[~seen])
            held += len(waiting[-1])
            if held >= MANY or gap == 1:
                yield np.concatenate(waiting)
                waiting, held = [], 0
    if held:
        yield np.concatenate(waiting)
