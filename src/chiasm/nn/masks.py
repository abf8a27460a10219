"""Who attends to whom, held as rectangles of indices instead of masks over all pairs.

Packed sequences put many documents in one row. A mask over all pairs would cost T² although only
the blocks on the diagonal are used; grouping costs the sum of the squared lengths:

    row      a a a b b c c c c            groups   a a a .
    segments 0 0 0 1 1 2 2 2 2     ──►             b b . .     causal inside each line
                                                   c c c c

Padding stands at the end of a line, so the causal rule alone hides it from every real token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Tokens of equal key brought together, in order, as the lines of one padded rectangle."""

    index: Tensor
    """[G, L] which token stands at each slot; padding slots hold token 0."""
    slot: Tensor
    """[n] in which slot of the flattened rectangle each token stands; 0 where it is in no group."""
    covered: Tensor | None
    """[n, 1] False for tokens that are in no group; None when all are in one."""
    firsts: Tensor
    """[G] the first token of each group."""

    def gather(self, x: Tensor) -> Tensor:
        """[n, ...] -> [G, L, ...]."""
        return x.index_select(0, self.index.flatten()).unflatten(0, self.index.shape)

    def scatter(self, x: Tensor) -> Tensor:
        """[G, L, W] -> [n, W]; exact zeros for tokens in no group."""
        flat = x.flatten(0, 1).index_select(0, self.slot)
        return flat if self.covered is None else flat * self.covered


def group(keys: Tensor) -> Groups:
    """Group [n] integer keys; tokens whose key is negative join no group.

    Raises ValueError when no token has a key.
    """
    order = torch.argsort(keys, stable=True)
    order = order[keys[order] >= 0]
    if not len(order):
        raise ValueError("no token belongs to any group")
    _, counts = torch.unique_consecutive(keys[order], return_counts=True)
    starts = counts.cumsum(0) - counts
    line = torch.arange(len(counts), device=keys.device).repeat_interleave(counts)
    rank = torch.arange(len(order), device=keys.device) - starts.repeat_interleave(counts)
    length = int(counts.max())
    index = torch.zeros(len(counts), length, dtype=torch.long, device=keys.device)
    index[line, rank] = order
    slot = torch.zeros_like(keys)
    slot[order] = line * length + rank
    covered = None if len(order) == len(keys) else (keys >= 0)[:, None]
    return Groups(index, slot, covered, order[starts])


def causal_bias(queries: int, keys: int, like: Tensor) -> Tensor:
    """[queries, keys] of 0 and -inf: query i, aligned to the end of the keys, sees keys up to itself."""
    full = torch.full((queries, keys), float("-inf"), dtype=like.dtype, device=like.device)
    return full.triu(keys - queries + 1)


@dataclass(frozen=True)
class Look:
    """Which tokens look at which units (tiles of pictures, frames of videos), for one forward pass.

    Only tokens that see something enter a cross block: the others' rows are never touched, which is
    why text without pictures stays bit-identical.
    """

    rows: Tensor
    """[n] tokens (numbered through the flattened batch) that see at least one unit."""
    groups: Groups
    """Those tokens, brought together by what they see."""
    units: Tensor
    """[G, K] which units each group sees; padding holds some unit."""
    hidden: Tensor | None
    """[G, K] True where `units` is padding; None when nothing is."""
    thinking: Tensor | None = None
    """[n, 1] 0 where a token looks but its cross's feed-forward says nothing; None when all think."""

    def alone(self, held: int) -> bool:
        """Whether group g sees unit g of the `held` ones, and it alone: nothing need be picked."""
        # Groups stand in the order of what they see, so as many groups as units means one each.
        return self.units.shape == (held, 1)


def pick(part: Tensor, units: Tensor) -> Tensor:
    """Lay the units of each group end to end: [M, H, V, d], [G, K] -> [G, H, K * V, d]."""
    picked = part.index_select(0, units.flatten()).unflatten(0, units.shape)
    return picked.transpose(1, 2).flatten(2, 3)


def look(spans: Tensor, starts: Tensor | None = None) -> Look | None:
    """Turn spans [n, 2] over pictures into a `Look`; None when no token sees a picture.

    starts  [P + 1] the first unit of each picture and the end of the last; one unit each when absent
    """
    if starts is not None:
        spans = starts.to(spans.device)[spans]
    first, last = spans.unbind(-1)
    rows = (last > first).nonzero().squeeze(-1)
    if not len(rows):
        return None
    first, last = first[rows], last[rows]
    groups = group(first * (int(last.max()) + 1) + last)
    begin, end = first[groups.firsts], last[groups.firsts]
    most = int((end - begin).max())
    units = begin[:, None] + torch.arange(most, device=spans.device)
    hidden = units >= end[:, None]
    padded = bool(hidden.any())
    units = torch.where(hidden, begin[:, None], units)
    return Look(rows, groups, units, hidden if padded else None)
