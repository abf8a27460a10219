"""Layers of integers: how far a weight may move, how it is kept, and what comes back."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiasm.base.errors import UserError
from chiasm.base.layers import INT4, INT8, LowBit, LowRank
from chiasm.inputs.batch import pack
from chiasm.nn import Linear, LowBitLinear, add_lora, quantise
from chiasm.nn.lowbit import lay_low_bits, low_bits_of, quantised
from chiasm.testing import toy_crossed, toy_picture, toy_pixels, toy_prefix, toy_rendered

pytest.importorskip("torchao")

QUARTER = LowBit(bits=4, group=2)
GROUPS = [INT8, LowBit(group=8), INT4, LowBit(bits=4, group=8), LowBit(bits=4)]


def ids(low_bit: LowBit) -> str:
    return f"int{low_bit.bits}g{low_bit.group}"


def layer_of(weight: Tensor) -> Linear:
    layer = Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def weights() -> dict[str, Tensor]:
    """Rows that a rounding may stumble over."""
    source = torch.Generator().manual_seed(1)
    plain = torch.randn(40, 64, generator=source) * 0.05
    outlier = plain.clone()
    outlier[:, 5] = 30.0
    tied = torch.arange(-32, 32).repeat(4, 1) * 0.5  # many weights in the middle between two steps
    return {
        "normal": plain,
        "outlier": outlier,
        "positive": plain.abs() + 1.0,
        "negative": -plain.abs() - 1.0,
        "nothing": torch.zeros(3, 64),
        "tiny": plain * 1e-30,
        "ties": tied,
        "bf16": plain.bfloat16(),
    }


# ---- the rounding ------------------------------------------------------------------------------


@pytest.mark.parametrize("low_bit", GROUPS, ids=ids)
@pytest.mark.parametrize("name", weights())
def test_no_weight_moves_by_more_than_half_a_step(name: str, low_bit: LowBit) -> None:
    """A step is (range of the group with 0) / 15, or (largest |weight|) / 127.5, rounded up to bf16."""
    weight = weights()[name]
    layer = quantised(layer_of(weight), low_bit)
    exact = weight.double().unflatten(1, (layer.scale.shape[1], -1))
    step = layer.scale.double()[..., None]
    moved = (layer.matrix(torch.float64).view_as(exact) - exact).abs()
    assert (moved <= step / 2 * (1 + 1e-6)).all()  # measured: 0.5 of a step
    low, high = exact.amin(-1, True).clamp(max=0), exact.amax(-1, True).clamp(min=0)
    ideal = exact.abs().amax(-1, True) / 127.5 if low_bit.bits == 8 else (high - low) / 15
    tiny = torch.finfo(torch.float32).tiny  # the smallest step
    assert (step >= ideal.clamp(min=tiny) * (1 - 1e-6)).all()
    assert (step <= ideal.clamp(min=tiny) * 1.0079).all()


def test_a_bit_more_is_a_sixteenth_of_the_error() -> None:
    weight = weights()["normal"]
    errors = [
        (quantised(layer_of(weight), LowBit(bits=b, group=32)).matrix(torch.float32) - weight).std()
        for b in (4, 8)
    ]
    assert 12 < errors[0] / errors[1] < 20  # measured: 15.3


def test_four_bits_are_two_to_a_byte() -> None:
    layer = quantised(layer_of(weights()["normal"]), INT4)
    assert layer.weight.shape == (40, 32) and layer.weight.dtype == torch.uint8
    assert layer.scale.shape == layer.zero.shape == (40, 2)
    whole = layer.integers()
    assert whole.dtype == torch.int8 and int(whole.min()) >= -8 and int(whole.max()) <= 7
    assert torch.equal((whole[:, 0] + 8).to(torch.uint8), layer.weight[:, 0] & 15)
    assert torch.equal((whole[:, 1] + 8).to(torch.uint8), layer.weight[:, 0] >> 4)


# ---- the layer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("low_bit", [INT8, INT4], ids=ids)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_computes_with_its_matrix_in_the_type_of_its_input(
    low_bit: LowBit, dtype: torch.dtype
) -> None:
    plain = Linear(64, 5)
    layer = quantised(plain, low_bit)
    assert layer.bias is plain.bias
    x = torch.randn(2, 3, 64).to(dtype)
    expected = torch.nn.functional.linear(x, layer.matrix(dtype)) + plain.bias.to(dtype)
    assert torch.equal(layer(x), expected)


def test_a_gradient_passes_through_to_the_input() -> None:
    layer = quantised(Linear(6, 4), QUARTER)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.double(), (x,))
    assert torch.autograd.gradcheck(layer, (x[0].detach().requires_grad_(),))


def test_no_matrix_is_kept_for_the_gradient() -> None:
    kept = []
    layer = quantised(layer_of(torch.randn(64, 64)), INT8)
    x = torch.randn(1, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layer(x).sum().backward()
    assert torch.Size([64, 64]) not in kept


# ---- a model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [toy_crossed, toy_prefix])
@torch.no_grad()
def test_only_matrices_of_linear_layers_change(kind: Any) -> None:
    model = kind()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = {n for n, m in model.named_modules() if isinstance(m, Linear)}
    done = quantise(model, (("decoder.*", QUARTER), ("encoder.*", None), ("*", INT8)))
    assert set(done) == {n for n in layers if not n.startswith("encoder.")}
    for name, value in model.state_dict().items():
        layer, _, kind_of = name.rpartition(".")
        if layer not in done or kind_of == "bias":
            assert torch.equal(value, before[name]), name
    assert done["decoder.blocks.0.attn.q"] == QUARTER
    assert {done[n] for n in done if n.startswith("projector.")} == {INT8}


@torch.no_grad()
def test_eight_bits_change_logits_little_and_four_more() -> None:
    batch = pack([toy_rendered(1, [toy_picture(1)], tokens=40)], toy_pixels)
    errors = {}
    exact = toy_crossed()(**batch.inputs())
    for low_bit in (INT8, QUARTER, LowBit(bits=4)):
        model = toy_crossed()
        quantise(model, (("*", low_bit),))
        got = model(**batch.inputs())
        errors[low_bit] = float((got - exact).norm() / exact.norm())
    assert 0 < errors[INT8] < 0.02  # measured: 0.0094
    assert errors[INT8] < errors[QUARTER] < errors[LowBit(bits=4)] < 0.3  # measured: 0.067, 0.146


def test_a_model_tells_its_own_table_and_it_can_be_laid_again() -> None:
    model = toy_crossed()
    quantise(model, (("decoder.blocks.1.*", None), ("decoder.*.mlp.*", QUARTER), ("*.o", INT8)))
    table = low_bits_of(model)
    again = toy_crossed(seed=3)
    lay_low_bits(again, table)
    assert low_bits_of(again) == table
    assert [(n, v.shape, v.dtype) for n, v in again.state_dict().items()] == [
        (n, v.shape, v.dtype) for n, v in model.state_dict().items()
    ]
    again.load_state_dict(model.state_dict())
    batch = pack([toy_rendered(1, [toy_picture(1)])], toy_pixels)
    with torch.no_grad():
        assert torch.equal(again(**batch.inputs()), model(**batch.inputs()))


# ---- what is wrong -----------------------------------------------------------------------------


def test_rows_that_cannot_be_cut_are_told() -> None:
    with pytest.raises(UserError, match=r"rows of decoder\.blocks\.0\.attn\.q have 20 weights"):
        quantise(toy_crossed(), (("decoder.*", INT4),))
    with pytest.raises(UserError, match="cannot be cut into groups of 3 at 4 bits"):
        quantise(nn.Sequential(Linear(3, 2)), (("*", LowBit(bits=4)),))


def test_a_weight_that_is_not_finite_is_told() -> None:
    model = nn.Sequential(Linear(4, 4))
    model[0].weight.data[2, 1] = float("nan")
    with pytest.raises(UserError, match="0 holds a weight that is not finite"):
        quantise(model, (("*", INT8),))


def test_an_adapter_must_be_merged_first() -> None:
    model = nn.Sequential(Linear(4, 4))
    add_lora(model, (("*", LowRank()),))
    with pytest.raises(UserError, match="merge it before"):
        quantise(model, (("*", INT8),))


def test_a_pattern_that_matches_nothing_is_told() -> None:
    with pytest.raises(UserError, match=r'Did you mean "decoder\.blocks\.\*\.mlp\.up"'):
        quantise(toy_crossed(), (("decoder.layers.*.mlp.up", INT8),))


def test_without_torchao_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(UserError, match=r"pip install 'chiasm\[quant\]'"):
        quantise(nn.Sequential(Linear(4, 4)), (("*", INT8),))


def test_what_is_quantised_runs_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = quantised(Linear(4, 4), INT8)
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert isinstance(layer, LowBitLinear) and layer(torch.randn(2, 4)).shape == (2, 4)
