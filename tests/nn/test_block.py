"""Layers: what closed gates add, and who is touched at all."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from chiasm.nn import FlamingoCrossBlock, GatedCrossBlock, LatentBlock, VisionBlock, causal_bias
from chiasm.nn.block import CrossBlock
from chiasm.nn.masks import look
from chiasm.testing import open_gates

BIRTHS = {
    "llama": lambda: GatedCrossBlock(6, 2, 1, 4, 9, 1e-5),
    "flamingo": lambda: FlamingoCrossBlock(6, 2, 4, 9, 1e-5),
}


@pytest.fixture(params=BIRTHS)
def newborn(request: pytest.FixtureRequest) -> CrossBlock:
    return BIRTHS[request.param]()


@pytest.fixture
def cross(newborn: CrossBlock) -> CrossBlock:
    return open_gates(newborn).double()


def arguments(spans: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, object]:
    x = torch.randn(1, len(spans), 6, dtype=torch.float64)
    return x, torch.randn(2, 3, 6, dtype=torch.float64), look(torch.tensor(spans))


def test_a_cross_is_its_formula_where_pictures_are_seen(cross: CrossBlock) -> None:
    x, features, found = arguments([[0, 1]] * 3)
    memory = cross.attn.memory(features)
    h = x[0]
    h = h + torch.tanh(cross.attn_gate) * cross.attn(cross.attn_norm(h), memory, found)
    h = h + torch.tanh(cross.mlp_gate) * cross.mlp(cross.mlp_norm(h))
    torch.testing.assert_close(cross(x, memory, found)[0], h, atol=1e-12, rtol=0)


def test_flamingos_cross_is_the_papers_equation() -> None:
    """Alayrac et al. 2022, figure 4, for the tokens that see a picture, one token and head at a time."""
    cross = open_gates(BIRTHS["flamingo"]()).double()
    x, features, found = arguments([[0, 1], [0, 0], [0, 2], [1, 2]])
    w = cross.state_dict()
    assert not [name for name in w if name.endswith("bias") and "norm" not in name]
    expected = x[0].clone()
    for token, pictures in ((0, [0]), (2, [0, 1]), (3, [1])):
        y = expected[token]
        seen = torch.cat([features[picture] for picture in pictures])
        normed = F.layer_norm(y, (6,), w["attn_norm.weight"], w["attn_norm.bias"])
        query = (w["attn.q.weight"] @ normed).view(2, 4)
        keys = (seen @ w["attn.k.weight"].T).view(-1, 2, 4)
        values = (seen @ w["attn.v.weight"].T).view(-1, 2, 4)
        heads = []
        for h in range(2):
            powers = torch.exp(keys[:, h] @ query[h] / math.sqrt(4))
            heads.append(powers / powers.sum() @ values[:, h])
        y = y + math.tanh(w["attn_gate"]) * (w["attn.o.weight"] @ torch.cat(heads))
        normed = F.layer_norm(y, (6,), w["mlp_norm.weight"], w["mlp_norm.bias"])
        inner = F.gelu(w["mlp.up.weight"] @ normed)
        expected[token] = y + math.tanh(w["mlp_gate"]) * (w["mlp.down.weight"] @ inner)
    # measured: 1.1e-16
    got = cross(x, cross.attn.memory(features), found)[0]
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


def test_rows_that_see_nothing_leave_as_they_came(cross: CrossBlock) -> None:
    x, features, found = arguments([[0, 0], [0, 1], [1, 1], [0, 2]])
    out = cross(x, cross.attn.memory(features), found)
    same = (out == x).all(-1)[0].tolist()
    assert same == [True, False, True, False]


def test_closed_gates_add_nothing(cross: CrossBlock) -> None:
    torch.nn.init.zeros_(cross.attn_gate)
    torch.nn.init.zeros_(cross.mlp_gate)
    x, features, found = arguments([[0, 1], [0, 2]])
    assert torch.equal(cross(x, cross.attn.memory(features), found), x)


def test_at_birth_the_gates_alone_learn(newborn: CrossBlock) -> None:
    cross = newborn.double()
    x, features, found = arguments([[0, 1], [0, 2]])
    cross(x, cross.attn.memory(features), found).square().sum().backward()
    moving = {name for name, p in cross.named_parameters() if p.grad.any()}
    assert moving == {"attn_gate", "mlp_gate"}


def test_gates_in_fp32_leave_bf16_as_bf16(newborn: CrossBlock) -> None:
    cross = open_gates(newborn)
    x, features, found = arguments([[0, 1], [0, 0]])
    out = cross(x.bfloat16(), cross.attn.memory(features.bfloat16()), found)
    assert out.dtype == torch.bfloat16


def test_a_vision_block_is_its_formula() -> None:
    block = open_gates(VisionBlock(6, 2, 9, "gelu", 1e-5)).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    h = x + block.attn(block.attn_norm(x))
    torch.testing.assert_close(block(x), h + block.mlp(block.mlp_norm(h)), atol=0, rtol=0)


def test_a_causal_bias_hides_what_comes_later() -> None:
    block = open_gates(VisionBlock(6, 2, 9, "gelu", 1e-5)).double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    changed = x.clone()
    changed[0, 3] = torch.randn(6)  # adding a constant would vanish in the norm
    bias = causal_bias(5, 5, x)
    same = (block(changed, bias) == block(x, bias)).all(dim=-1)[0]
    assert same.tolist() == [True, True, True, False, False]
    assert not (block(changed) == block(x)).all(dim=-1).any()  # without it, all see all
    alone = torch.cat(
        [block(x[:, : i + 1], causal_bias(i + 1, i + 1, x))[:, -1:] for i in range(5)], 1
    )
    torch.testing.assert_close(block(x, bias), alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("joint", [True, False])
def test_a_latent_block_is_its_formula(joint: bool) -> None:
    width = 6 if joint else 5
    block = LatentBlock(6, 2, 4, 9, 1e-5, source=width, joint=joint, bias=not joint)
    block = open_gates(block).double()
    latents = torch.randn(2, 3, 6, dtype=torch.float64)
    vectors = torch.randn(2, 7, width, dtype=torch.float64)
    own, read = block.attn_norm(latents), block.source_norm(vectors)
    h = latents + (block.attn(own, torch.cat((read, own), 1)) if joint else block.attn(own, read))
    expected = h + block.mlp(block.mlp_norm(h))
    # measured: 0
    torch.testing.assert_close(block(latents, vectors), expected, atol=1e-12, rtol=0)
    biases = {name for name in block.state_dict() if name.endswith("bias") and "norm" not in name}
    assert len(biases) == (0 if joint else 6)
