"""From the eyes to the mind: taps side by side, CLS kept or dropped, neighbours merged."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from chiasm.models import Projector, ProjectorConfig
from chiasm.models.projector import merge_squares
from chiasm.testing import open_gates


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("cls", [True, False])
def test_it_is_its_formula(kind: str, norm: bool, cls: bool) -> None:
    config = ProjectorConfig(taps=("block.1", "last"), kind=kind, norm=norm, cls=cls)
    model = open_gates(Projector(config, 4, 6)).double()
    x = torch.randn(2, 10, 8, dtype=torch.float64)
    expected = x
    if norm:
        first, second = model.norms
        expected = torch.cat(
            [
                F.layer_norm(x[..., :4], (4,), first.weight, first.bias),
                F.layer_norm(x[..., 4:], (4,), second.weight, second.bias),
            ],
            dim=-1,
        )
    if not cls:
        expected = expected[:, 1:]
    if kind == "linear":
        expected = expected @ model.map.weight.T + model.map.bias
    else:
        inner = F.gelu(expected @ model.map.up.weight.T + model.map.up.bias)
        expected = inner @ model.map.down.weight.T + model.map.down.bias
    torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)
    assert model(x).shape[1] == config.places(10)


@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("lead", [0, 1, 2])
def test_only_what_stands_before_the_patches_is_dropped(lead: int, cls: bool) -> None:
    config = ProjectorConfig(cls=cls, norm=False, squares=1 if cls else 3)
    model = Projector(config, 4, 6, lead).double()
    x = torch.randn(2, lead + 9, 4, dtype=torch.float64)
    kept = x if cls else merge_squares(x[:, lead:], 3)
    assert torch.equal(model(x), model.map(kept))
    assert model(x).shape[1] == config.places(lead + 9, lead) == (lead + 9 if cls else 1)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_merging_lays_a_square_of_patches_side_by_side(side: int, count: int, width: int) -> None:
    grid = side * count
    x = torch.arange(grid * grid * width).view(1, grid * grid, width)
    merged = merge_squares(x, side)
    assert merged.shape == (1, count * count, side * side * width)
    for big in range(count * count):
        top, left = (big // count) * side, (big % count) * side
        square = [x[0, (top + i) * grid + left + j] for i in range(side) for j in range(side)]
        assert torch.equal(merged[0, big], torch.cat(square))
    assert ProjectorConfig(squares=side, cls=False).places(1 + grid * grid) == count * count


def test_a_grid_that_does_not_divide_is_an_error() -> None:
    with pytest.raises(ValueError, match="9 patches cannot be merged by squares of 2 x 2"):
        merge_squares(torch.zeros(1, 9, 4), 2)
    with pytest.raises(ValueError, match="8 patches"):
        merge_squares(torch.zeros(1, 8, 4), 2)
