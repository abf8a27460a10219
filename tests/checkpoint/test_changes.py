"""Changes of form: each has its way back, bit for bit, and says shapes without values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiasm.checkpoint.changes import (
    Change,
    below,
    halves,
    patches,
    same_bits,
    spare_rows,
    taps_in_turn,
    tile_grid,
    tile_shapes,
)
from chiasm.models.tiled import shapes_of

CHANGES: dict[str, tuple[Change, tuple[int, ...], list[tuple[int, ...]]]] = {
    "halves": (halves(3), (12, 5), [(12, 5)]),
    "below": (below(2, 1), (9, 4), [(6, 4), (2, 4), (1, 4)]),
    "below nothing": (below(0), (9, 4), [(9, 4), (0, 4)]),
    "patches": (patches(2), (5, 12), [(5, 3, 2, 2)]),
    "taps": (taps_in_turn(4, 3), (5, 12), [(5, 12)]),
    "one tap": (taps_in_turn(4, 1), (5, 4), [(5, 4)]),
    "tile shapes": (tile_shapes(4, 5, 2), (9, 40), [(9, 4, 5, 2)]),
    "tile shapes, three": (tile_shapes(3, 1, 2), (6, 6), [(6, 3, 1, 2)]),
}


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Every value once, so that a mix-up shows; with a -0 and a NaN."""
    size = torch.Size(shape).numel()
    filled = torch.arange(float(size)).neg()  # -0.0 first
    filled[size // 2] = float("nan")
    return filled.view(shape).to(dtype)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back_to_the_bit(name: str, dtype: torch.dtype) -> None:
    change, shape, parts = CHANGES[name]
    stored = values(*shape, dtype=dtype)
    own = change.ours(stored)
    assert [tuple(part.shape) for part in own] == parts
    assert same_bits(change.theirs(own), stored)
    again = change.ours(change.theirs(own))
    assert all(same_bits(a, b) for a, b in zip(again, own, strict=True))


@pytest.mark.parametrize("name", [*CHANGES, "tile grid", "spare rows"])
def test_shapes_are_known_without_values(name: str) -> None:
    forms = CHANGES | {
        "tile grid": (tile_grid(4, 5, 2), (9, 40), [(4, 4, 5, 2)]),
        "spare rows": (spare_rows(2), (9, 4), [(7, 4)]),
    }
    change, shape, parts = forms[name]
    own = change.ours(torch.empty(shape, device="meta"))
    assert [tuple(part.shape) for part in own] == parts
    assert tuple(change.theirs(own).shape) == shape


def test_halves_are_what_transformers_makes_of_metas_rows() -> None:
    """A rotation of neighbours before is a rotation of halves after (llama-models, `apply_rotary_emb`)."""
    (got,) = halves(1).ours(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]))
    assert got.flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_taps_in_turn_are_what_a_stack_makes() -> None:
    """The matrix applied to stacked features is ours applied to features side by side."""
    final, *others = torch.randn(4, 7, 5, dtype=torch.float64).unbind()
    matrix = torch.randn(3, 20, dtype=torch.float64)
    stacked = torch.cat((final, torch.stack(others, dim=-1).flatten(-2)), dim=-1)
    (ours,) = taps_in_turn(5, 4).ours(matrix)
    side_by_side = torch.cat((final, *others), dim=-1)
    torch.testing.assert_close(side_by_side @ ours.T, stacked @ matrix.T)


@given(st.integers(1, 5), st.integers(1, 3))
def test_a_grid_keeps_the_cells_that_shapes_reach(tiles: int, vectors: int) -> None:
    grid = values(tiles, tiles, vectors, 2).nan_to_num()
    change = tile_grid(tiles, vectors, 2)
    stored = change.theirs([grid])
    assert not stored[0].any()
    (back,) = change.ours(stored)
    for rows in range(tiles):
        for columns in range(tiles):
            reached = (rows + 1, columns + 1) in shapes_of(tiles)
            wanted = grid[rows, columns] if reached else torch.zeros(vectors, 2)
            assert torch.equal(back[rows, columns], wanted)
    assert same_bits(change.theirs([back]), stored)


def test_spare_rows_are_zeros_below() -> None:
    own = values(3, 2)
    stored = spare_rows(2).theirs([own])
    assert same_bits(stored[:3], own) and not stored[3:].any() and len(stored) == 5
    assert same_bits(*spare_rows(2).ours(stored), own)


def test_bits_are_compared_not_values() -> None:
    nan, zero = torch.tensor([float("nan")]), torch.zeros(1)
    assert same_bits(nan, nan.clone())
    assert not same_bits(zero, -zero) and torch.equal(zero, -zero)
    assert not same_bits(zero, zero.half()) and not same_bits(zero, torch.zeros(2))
    assert same_bits(values(4, 6).T, values(4, 6).T.contiguous())
