"""Cutting into patches is a convolution; stretching a position grid keeps its corners."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from chiasm.nn import Patches, resample_positions


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 4))
def test_patches_are_a_convolution(patch: int, rows: int, columns: int, more: int) -> None:
    layer = Patches(6, patch).double()
    height, width = rows * patch + min(more, patch - 1), columns * patch
    pixels = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected = F.conv2d(pixels, layer.weight, stride=patch).flatten(2).transpose(1, 2)
    torch.testing.assert_close(layer(pixels), expected, atol=1e-12, rtol=0)


def test_the_own_grid_stays_bit_for_bit() -> None:
    table = torch.randn(1 + 9, 4)
    assert resample_positions(table, (3, 3)) is table


@pytest.mark.parametrize("grid", [(5, 5), (2, 7), (1, 1), (3, 9)])
def test_another_grid_is_bilinear_with_corners_aligned(grid: tuple[int, int]) -> None:
    table = torch.randn(1 + 9, 4)
    got = resample_positions(table, grid)
    old, new = table[1:].view(3, 3, 4), got[1:].view(*grid, 4)
    assert torch.equal(got[0], table[0])  # CLS has no place in the grid
    for y in range(grid[0]):
        for x in range(grid[1]):
            at = [i * 2 / max(1, n - 1) for i, n in ((y, grid[0]), (x, grid[1]))]
            top, left = (min(int(a), 1) for a in at)
            dy, dx = at[0] - top, at[1] - left
            square = old[top : top + 2, left : left + 2]
            weights = torch.tensor([[(1 - dy) * (1 - dx), (1 - dy) * dx], [dy * (1 - dx), dy * dx]])
            expected = (square * weights[..., None]).sum((0, 1))
            torch.testing.assert_close(new[y, x], expected, atol=1e-5, rtol=0)


def test_resampling_passes_the_gradient_to_the_table() -> None:
    table = torch.randn(1 + 4, 3, requires_grad=True)
    resample_positions(table, (4, 6)).sum().backward()
    assert (table.grad != 0).all()
