"""What a family does to tensors that we hold otherwise: every way there has its way back, bit for bit.

    theirs ── ours() ──► ours          rows of pairs    ◄─► rows of halves      a b c d ◄─► a c b d
           ◄── theirs() ──             one tall matrix  ◄─► several, one below the other
                                       a flat row       ◄─► patches, tiles
                                       channels of taps in turn  ◄─► taps side by side

A change looks at shapes alone, never at values, so that it also works on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiasm.models.tiled import shapes_of


@dataclass(frozen=True)
class Change:
    """How a family's tensor becomes one or several of ours, and how those become theirs again."""

    ours: Callable[[Tensor], Sequence[Tensor]]
    theirs: Callable[[Sequence[Tensor]], Tensor]


def one(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]) -> Change:
    """Return the change of one tensor into one."""
    return Change(lambda stored: (ours(stored),), lambda own: theirs(own[0]))


def halves(heads: int) -> Change:
    """Rows of queries or keys: theirs rotates neighbours as pairs, ours the two halves of a head."""
    return one(
        lambda stored: stored.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2),
        lambda own: own.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2),
    )


def below(*heights: int) -> Change:
    """Rows: what theirs holds in one, we hold in several; all but the first have the given heights."""

    def split(stored: Tensor) -> Sequence[Tensor]:
        return stored.split((len(stored) - sum(heights), *heights))

    return Change(split, lambda own: torch.cat(tuple(own)))


def spare_rows(count: int) -> Change:
    """Rows of zeros below ours, which theirs has for tokens that nobody predicts."""
    return one(
        lambda stored: stored[: len(stored) - count],
        lambda own: torch.cat((own, own.new_zeros(count, *own.shape[1:]))),
    )


def patches(side: int) -> Change:
    """A matrix over flat patches: [width, 3 * P * P] ours [width, 3, P, P]."""
    return one(lambda stored: stored.unflatten(1, (3, side, side)), lambda own: own.flatten(1))


def taps_in_turn(width: int, taps: int) -> Change:
    """Columns over features: theirs begins with the first tap, then takes one channel of each in turn.

    Llama 3.2 Vision, whose code stacks the layers it reads along a new last dimension (llama-models,
    `ImageTransformer`); ours lays all taps side by side.
    """

    def turned(matrix: Tensor, *sizes: int) -> Tensor:
        first, others = matrix.split((width, matrix.shape[1] - width), dim=1)
        return torch.cat((first, others.unflatten(1, sizes).transpose(1, 2).flatten(1)), dim=1)

    return one(lambda m: turned(m, width, taps - 1), lambda m: turned(m, taps - 1, width))


def tile_shapes(tiles: int, vectors: int, width: int) -> Change:
    """A flat row for each shape of a picture: ours [1 + shapes, tiles, vectors, width]."""
    return one(
        lambda stored: stored.unflatten(1, (tiles, vectors, width)), lambda own: own.flatten(1)
    )


def tile_grid(tiles: int, vectors: int, width: int) -> Change:
    """The same, of a table by place in the grid: ours [tiles, tiles, vectors, width].

    What theirs has for padding is zero; what ours has for places that no shape reaches is lost, and
    comes back as zero.
    """
    shapes = shapes_of(tiles)

    def ours(stored: Tensor) -> Tensor:
        rows = stored.unflatten(1, (tiles, vectors, width))
        grid = stored.new_zeros(tiles, tiles, vectors, width)
        for at, (high, wide) in enumerate(shapes, start=1):
            grid[:high, :wide] = rows[at, : high * wide].unflatten(0, (high, wide))
        return grid

    def theirs(own: Tensor) -> Tensor:
        rows = own.new_zeros(1 + len(shapes), tiles, vectors, width)
        for at, (high, wide) in enumerate(shapes, start=1):
            rows[at, : high * wide] = own[:high, :wide].flatten(0, 1)
        return rows.flatten(1)

    return one(ours, theirs)


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal to the last bit: 0 is not -0, and a NaN equals itself."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    left, right = (t.detach().contiguous().view(-1).view(torch.uint8) for t in (left, right))
    return torch.equal(left, right)
