"""Connected components: if A is like B and B is like C, the three are one group.

0 ── 3        label  0 1 2 0 1          a group is called by its smallest member,
1 ── 4 ── 1   ────►  {0,3} {1,4} {2}    whatever the order of the edges
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Edges = NDArray[np.int64]
"""Pairs of members [E, 2]."""


def apart(count: int) -> Labels:
    """Return the labels of `count` members that nothing joins."""
    return np.arange(count)


def join(labels: Labels, edges: Edges) -> Labels:
    """Return the labels [N] after edges [E, 2] joined their groups: each group's smallest member.

    Every root that has a smaller neighbour is hooked below the smallest one, then all paths are
    shortened; at least half of the touching groups vanish in a round, so there are at most log2(N).
    """
    out = labels.copy()
    left, right = np.asarray(edges, np.int64).reshape(-1, 2).T
    while len(left):
        roots = np.sort(np.stack((out[left], out[right])), axis=0)
        differ = roots[0] != roots[1]
        left, right, roots = left[differ], right[differ], roots[:, differ]
        np.minimum.at(out, roots[1], roots[0])
        while (out != (shorter := out[out])).any():
            out = shorter
    return out


def groups(labels: Labels) -> list[NDArray[np.int64]]:
    """Return the members of every group of two or more, ascending, groups by their smallest member."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [group for group in np.split(order, cuts) if len(group) > 1]


def kept_of(group: NDArray[np.int64], worth: Sequence[Sequence[int | float]]) -> int:
    """Return the member of a group that stays: the greatest worth, number by number; then the first."""
    return int(max(group, key=lambda member: (*(each[member] for each in worth), -member)))
