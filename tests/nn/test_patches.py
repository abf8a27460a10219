"""Cutting into patches is a convolution; stretching a position grid keeps its corners."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from chiasm.nn import Patches, resample_positions
from chiasm.testing import open_gates


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 4), st.booleans())
def test_patches_are_a_convolution(
    patch: int, rows: int, columns: int, more: int, bias: bool
) -> None:
    layer = open_gates(Patches(6, patch, bias=bias)).double()
    height, width = rows * patch + min(more, patch - 1), columns * patch
    pixels = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected = F.conv2d(pixels, layer.weight, layer.bias, stride=patch).flatten(2).transpose(1, 2)
    torch.testing.assert_close(layer(pixels), expected, atol=1e-12, rtol=0)


def test_the_own_grid_stays_bit_for_bit() -> None:
    table = torch.randn(1 + 9, 4)
    assert resample_positions(table, (3, 3)) is table


@pytest.mark.parametrize("lead", [0, 1, 5])
@pytest.mark.parametrize("grid", [(5, 5), (2, 7), (1, 1), (3, 9)])
def test_another_grid_is_bilinear_with_corners_aligned(grid: tuple[int, int], lead: int) -> None:
    table = torch.randn(lead + 9, 4)
    got = resample_positions(table, grid, lead)
    assert resample_positions(table, (3, 3), lead) is table
    old, new = table[lead:].view(3, 3, 4), got[lead:].view(*grid, 4)
    assert torch.equal(got[:lead], table[:lead])  # CLS has no place in the grid
    for y in range(grid[0]):
        for x in range(grid[1]):
            at = [i * 2 / max(1, n - 1) for i, n in ((y, grid[0]), (x, grid[1]))]
            top, left = (min(int(a), 1) for a in at)
            dy, dx = at[0] - top, at[1] - left
            square = old[top : top + 2, left : left + 2]
            weights = torch.tensor([[(1 - dy) * (1 - dx), (1 - dy) * dx], [dy * (1 - dx), dy * dx]])
            expected = (square * weights[..., None]).sum((0, 1))
            torch.testing.assert_close(new[y, x], expected, atol=1e-5, rtol=0)


def test_resampling_keeps_the_type_and_does_not_pass_through_a_narrower_one() -> None:
    table = torch.randn(9, 4, dtype=torch.float64)
    exact, narrow = (resample_positions(t, (5, 4), lead=0) for t in (table, table.bfloat16()))
    assert (exact.dtype, narrow.dtype) == (torch.float64, torch.bfloat16)
    assert torch.equal(exact.view(5, 4, 4)[::2, ::3], table.view(3, 3, 4)[:, ::2])  # shared places
    wide = resample_positions(table.bfloat16().float(), (5, 4), lead=0)
    assert torch.equal(narrow, wide.bfloat16())


def test_resampling_passes_the_gradient_to_the_table() -> None:
    table = torch.randn(1 + 4, 3, requires_grad=True)
    resample_positions(table, (4, 6)).sum().backward()
    assert (table.grad != 0).all()
