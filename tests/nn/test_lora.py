"""Adapters: nothing at birth, nothing but they learn, and merged they are the layer itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from chiasm.base.errors import UserError
from chiasm.base.layers import LowBit, LowRank, is_adapter
from chiasm.inputs.batch import pack
from chiasm.nn import Linear, add_lora, lora_state, merge_lora, quantise
from chiasm.nn.lora import LoRALinear, lora_of
from chiasm.testing import toy_crossed, toy_picture, toy_pixels, toy_prefix, toy_rendered

KINDS = {"crossed": toy_crossed, "prefix": toy_prefix}
SMALL = LowRank(rank=3, alpha=6.0)
EVERYWHERE = (("*", SMALL),)
WORDS = (("decoder.blocks.*.attn.[qv]", SMALL), ("decoder.blocks.*.mlp.up", LowRank(rank=2)))
QUARTER = LowBit(bits=4, group=2)


def batch_of(model: Any) -> Any:
    places = model.config.places()
    shown = [[toy_picture(1)], [], [toy_picture(2), toy_picture(3)]]
    return pack([toy_rendered(i, p, places=places) for i, p in enumerate(shown)], toy_pixels)


def logits_of(model: Any) -> torch.Tensor:
    return model.head(model(**batch_of(model).inputs()))


@torch.no_grad()
def taught(model: Any, seed: int = 5) -> Any:
    """Move every adapter away from its birth."""
    source = torch.Generator().manual_seed(seed)
    for tensor in lora_state(model).values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=source, dtype=tensor.dtype))
    return model


# ---- at birth ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@torch.no_grad()
def test_a_newborn_adapter_changes_no_bit(dtype: torch.dtype) -> None:
    # Not of a prefix: its projector's input begins at an odd address, and there one and the same product
    # of fp64 differs from call to call by 2e-16.
    model = toy_crossed().to(dtype)
    plain = logits_of(model)
    done = add_lora(model, EVERYWHERE)
    assert len(done) > 40 and torch.equal(logits_of(model), plain)
    assert not torch.equal(logits_of(taught(model)), plain)


def test_the_old_names_stay_and_hold_the_old_tensors() -> None:
    model = toy_crossed()
    before = model.state_dict()
    add_lora(model, EVERYWHERE)
    after = model.state_dict()
    assert all(after[name].data_ptr() == value.data_ptr() for name, value in before.items())
    assert {n for n in after if n not in before} == set(lora_state(model))
    assert "decoder.blocks.0.attn.q.lora_a" in lora_state(model)
    assert after["decoder.blocks.0.mlp.up.lora_b"].shape == (28, 3)


@pytest.mark.parametrize(
    ("dtype", "own"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2],
)
def test_adapters_are_kept_wide_and_compute_in_the_streams_type(
    dtype: torch.dtype, own: torch.dtype
) -> None:
    layer = LoRALinear(Linear(6, 5).to(dtype), SMALL)
    assert layer.lora_a.dtype == layer.lora_b.dtype == own
    x = torch.randn(4, 6).to(dtype)
    taught(layer)
    out = layer(x)
    thin = F.linear(x, layer.lora_a.to(dtype)) * 2.0
    expected = F.linear(x, layer.weight, layer.bias) + F.linear(thin, layer.lora_b.to(dtype))
    assert out.dtype == dtype and torch.equal(out, expected)
    out.float().sum().backward()
    assert layer.lora_a.grad.dtype == layer.lora_b.grad.dtype == own


def test_what_the_product_is_multiplied_by() -> None:
    """Hu et al. 2021, section 4.1: alpha / r; Kalajdzievski 2023, theorem 3.2: alpha / sqrt(r)."""
    assert LowRank(rank=16, alpha=8.0).factor == 0.5
    assert LowRank(rank=16, alpha=8.0, divide_by="root").factor == 2.0
    layer = Linear(64, 64, bias=False)
    root = LoRALinear(layer, LowRank(rank=16, alpha=8.0, divide_by="root"))
    taught(root)
    added = root.matrix(torch.float32) - layer.weight
    torch.testing.assert_close(added, 2.0 * root.lora_b @ root.lora_a, atol=1e-6, rtol=0)


def test_a_random_a_keeps_the_size_of_what_it_sees() -> None:
    layer = LoRALinear(Linear(400, 8), LowRank(rank=64))
    assert math.isclose(layer.lora_a.std().item(), 400**-0.5, rel_tol=0.03)  # 25,600 draws
    assert not layer.lora_b.any()


# ---- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [EVERYWHERE, WORDS], ids=["everywhere", "words"])
def test_gradients_reach_the_adapters_and_nothing_they_stand_on(table: Any) -> None:
    model = toy_crossed()
    done = add_lora(model, table)
    taught(model)
    logits_of(model).square().mean().backward()
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0]
        if is_adapter(name):
            assert parameter.grad is not None and parameter.grad.any(), name
        elif layer in done:
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.requires_grad, name


def test_at_birth_only_b_has_a_gradient() -> None:
    layer = LoRALinear(Linear(6, 5), SMALL)
    layer(torch.randn(4, 6)).sum().backward()
    assert layer.lora_b.grad.any() and not layer.lora_a.grad.any()


def test_dropout_hides_inputs_from_the_addition_alone_and_only_while_learning() -> None:
    layer = LoRALinear(Linear(50, 4), LowRank(rank=2, dropout=0.5))
    taught(layer)
    x = torch.randn(1, 50)
    with torch.no_grad():
        exact = layer.eval()(x)
        assert torch.equal(layer(x), exact)
        layer.train()
        drawn = torch.stack([layer(x) for _ in range(4000)])
        assert not torch.equal(drawn[0], drawn[1])
        # Dropout keeps the mean: four standard errors of 4,000 draws.
        assert ((drawn.mean(0) - exact).abs() < 4 * drawn.std(0) / 4000**0.5).all()
        nn.init.zeros_(layer.lora_b)
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_a_layer_of_integers_learns_through_its_adapter() -> None:
    """QLoRA: the gradient of the unfolded matrix, for the adapter and for what lies below."""
    pytest.importorskip("torchao")
    model = nn.Sequential(Linear(8, 6), Linear(6, 4)).double()
    quantise(model, (("*", QUARTER),))
    matrices = [layer.matrix(torch.float64) for layer in model]
    plain = nn.Sequential(*(Linear(w.shape[1], w.shape[0]) for w in matrices)).double()
    for layer, other, w in zip(plain, model, matrices, strict=True):
        layer.weight.data, layer.bias = w, other.bias
    x = torch.randn(3, 8, dtype=torch.float64)
    assert torch.equal(model(x), plain(x))
    for each in (model, plain):
        torch.manual_seed(0)
        add_lora(each, EVERYWHERE)
        taught(each.double())
        each(x).square().sum().backward()
    ours, theirs = (dict(each.named_parameters()) for each in (model, plain))
    for name in lora_state(plain):
        # measured: 1.1e-15
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-12, atol=1e-12)
    assert all(n in lora_state(model) for n, p in model.named_parameters() if p.grad is not None)


# ---- merging -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_merged_model_is_plain_and_computes_the_same(kind: str) -> None:
    model = KINDS[kind]().double()
    names, bare = list(model.state_dict()), logits_of(model)
    add_lora(model, EVERYWHERE)
    taught(model.double())
    apart = logits_of(model)
    merge_lora(model)
    assert list(model.state_dict()) == names
    assert not [m for m in model.modules() if isinstance(m, LoRALinear)]
    together = logits_of(model)
    scale = apart.abs().max()
    assert (bare - apart).abs().max() > 1e-2 * scale
    assert (together - apart).abs().max() <= 1e-12 * scale  # measured: 4e-15


@torch.no_grad()
def test_a_bf16_matrix_is_rounded_once() -> None:
    model = nn.Sequential(Linear(6, 5).bfloat16())
    weight = model[0].weight.double()
    add_lora(model, EVERYWHERE)
    taught(model)
    a, b = (model[0].lora_a.double(), model[0].lora_b.double())
    merge_lora(model)
    exact = weight + 2.0 * b @ a
    # Half a unit in the last of bf16's 8 binary digits, and what fp32 lost before.
    assert model[0].weight.dtype == torch.bfloat16
    assert ((model[0].weight.double() - exact).abs() <= exact.abs() * (2**-8 + 2**-20)).all()


@torch.no_grad()
def test_an_adapter_over_integers_merges_into_a_plain_layer() -> None:
    pytest.importorskip("torchao")
    model = nn.Sequential(Linear(8, 6).double())
    quantise(model, (("*", QUARTER),))
    add_lora(model, EVERYWHERE)
    taught(model)
    apart = model[0].matrix(torch.float32)
    merge_lora(model, torch.bfloat16)
    assert type(model[0]) is Linear and torch.equal(model[0].weight, apart.bfloat16())


# ---- tables ------------------------------------------------------------------------------------


def test_the_first_row_that_matches_decides_and_null_leaves_out() -> None:
    first = LowRank(rank=1)
    table = (
        ("decoder.blocks.1.*", None),
        ("decoder.*.attn.q", first),
        ("decoder.*", SMALL),
    )
    done = add_lora(toy_crossed(), table)
    assert done["decoder.blocks.2.attn.q"] == first
    assert done["decoder.blocks.2.mlp.up"] == SMALL
    assert not [n for n in done if n.startswith(("decoder.blocks.1.", "encoder", "crosses"))]


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("decoder.blocks.*.attn.w", r'Did you mean "decoder\.blocks\.\*\.attn\.'),
        ("encoder.block.*.mlp.up", r'Did you mean "encoder\.blocks\.\*\.mlp\.up"'),
        ("decoder.blocks.0.attn_norm", "matches no linear layer"),
    ],
)
def test_a_row_that_decides_nothing_is_an_error(pattern: str, near: str) -> None:
    model = toy_crossed()
    before = list(model.state_dict())
    with pytest.raises(UserError, match=near):
        add_lora(model, (("decoder.*.o", SMALL), (pattern, SMALL)))
    assert list(model.state_dict()) == before


def test_a_second_adapter_on_the_same_layer_is_an_error() -> None:
    model = toy_crossed()
    add_lora(model, WORDS)
    with pytest.raises(UserError, match="matches no linear layer"):
        add_lora(model, WORDS)


def test_a_model_tells_its_own_table_briefly() -> None:
    model = toy_crossed()
    add_lora(model, (("decoder.blocks.2.attn.q", None), ("decoder.*.attn.[qv]", SMALL)))
    assert lora_of(model) == (
        *((f"decoder.blocks.{i}.attn.q", SMALL) for i in (0,)),
        ("decoder.blocks.*.attn.v", SMALL),
        *((f"decoder.blocks.{i}.attn.q", SMALL) for i in (1, 3)),
    )
