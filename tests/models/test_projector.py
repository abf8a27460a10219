"""From the eyes to the mind: taps side by side, CLS kept or dropped, neighbours merged."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from chiasm.base.config import as_record, from_record
from chiasm.base.errors import UserError
from chiasm.models import Projector, ProjectorConfig, ResamplerConfig
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


SMALL = ResamplerConfig(latents=3, depth=2, heads=2, head_width=4, frames=2)


def resampling(**changes: object) -> ProjectorConfig:
    return ProjectorConfig(**({"kind": "resampler", "resampler": SMALL} | changes))


@pytest.mark.parametrize("counts", [None, [2, 1]])
@pytest.mark.parametrize("squares", [1, 2])
@pytest.mark.parametrize("norm", [True, False])
def test_a_resampler_reads_the_taps_side_by_side_and_a_matrix_follows(
    counts: list[int] | None, squares: int, norm: bool
) -> None:
    config = resampling(taps=("block.1", "last"), squares=squares, cls=False, norm=norm)
    model = open_gates(Projector(config, 4, 6)).double()
    counted = None if counts is None else torch.tensor(counts)
    x = torch.randn(3, 17, 8, dtype=torch.float64)
    patches = x[:, 1:]
    if norm:
        pairs = zip(patches.split(4, dim=-1), model.norms, strict=True)
        patches = torch.cat([F.layer_norm(t, (4,), n.weight, n.bias) for t, n in pairs], dim=-1)
    if squares > 1:
        patches = merge_squares(patches, squares)
    expected = model.resampler(patches, counted) @ model.map.weight.T + model.map.bias
    got = model(x, counted)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)  # measured: 0
    assert got.shape == (3 if counts is None else 2, config.places(17), 6)
    assert config.places(17) == config.places(5) == config.places(16, lead=0) == 3


@given(
    st.sampled_from(["linear", "mlp", "resampler"]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(1, 2),
    st.integers(1, 2),
)
def test_as_many_vectors_leave_as_were_promised(
    kind: str, lead: int, cls: bool, squares: int, count: int
) -> None:
    config = ProjectorConfig(
        kind=kind,
        cls=cls and squares == 1,
        squares=squares,
        resampler=SMALL if kind == "resampler" else None,
    )
    model, encoded = Projector(config, 4, 6, lead), lead + (squares * count) ** 2
    assert model(torch.randn(2, encoded, 4)).shape == (2, config.places(encoded, lead), 6)


def test_eyes_without_cls_lose_no_patch() -> None:
    """SigLIP has none: dropping the first vector all the same would drop the top left of every picture."""
    model = Projector(ProjectorConfig(norm=False, cls=False), 4, 6, lead=0).double()
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    assert torch.equal(model(x), model.map(x))


def test_the_mlp_of_llava_is_two_matrices_as_wide_as_the_language_model() -> None:
    """LLaVA-1.5 7B: 1024 to 4096 to 4096, with biases, of 20,979,712 parameters; 576 places."""
    config = ProjectorConfig(taps=("block.23",), kind="mlp", norm=False, cls=False)
    with torch.device("meta"):
        model = Projector(config, 1024, 4096)
    assert sum(p.numel() for p in model.parameters()) == 20_979_712
    assert config.places(1 + (336 // 14) ** 2) == 576


def test_gradient_reaches_every_parameter_of_a_resampling_projector() -> None:
    model = open_gates(Projector(resampling(), 4, 6)).double()
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    (model(x, torch.tensor([2, 1])) * torch.randn(2, 3, 6)).sum().backward()
    assert not [name for name, p in model.named_parameters() if not p.grad.any(-1).all()]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_only_a_resampler_merges_frames(kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind {kind} does not merge frames"):
        Projector(ProjectorConfig(kind=kind), 4, 6)(torch.zeros(2, 5, 4), torch.tensor([2]))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"kind": "resampler"}, "the kind resampler and the group resampler go together"),
        ({"resampler": {"latents": 3}}, "the kind resampler and the group resampler go together"),
        ({"squares": 2}, "set cls to false"),
        ({"kind": "resampler", "resampler": {"latents": 0}}, "latents"),
        ({"kind": "resampler", "resampler": {"latent": 3}}, "latents"),
    ],
)
def test_settings_that_do_not_go_together_are_told(record: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        from_record(ProjectorConfig, record)


def test_a_resamplers_sizes_come_back_from_their_record() -> None:
    assert from_record(ProjectorConfig, as_record(resampling())) == resampling()
