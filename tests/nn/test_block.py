"""Layers: what closed gates add, and who is touched at all."""

from __future__ import annotations

import pytest
import torch

from chiasm.nn import GatedCrossBlock, VisionBlock, causal_bias
from chiasm.nn.masks import look
from chiasm.testing import open_gates


@pytest.fixture
def cross() -> GatedCrossBlock:
    return open_gates(GatedCrossBlock(6, 2, 1, 4, 9, 1e-5)).double()


def arguments(spans: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, object]:
    x = torch.randn(1, len(spans), 6, dtype=torch.float64)
    return x, torch.randn(2, 3, 6, dtype=torch.float64), look(torch.tensor(spans))


def test_a_cross_is_its_formula_where_pictures_are_seen(cross: GatedCrossBlock) -> None:
    x, features, found = arguments([[0, 1]] * 3)
    memory = cross.attn.memory(features)
    h = x[0]
    h = h + torch.tanh(cross.attn_gate) * cross.attn(cross.attn_norm(h), memory, found)
    h = h + torch.tanh(cross.mlp_gate) * cross.mlp(cross.mlp_norm(h))
    torch.testing.assert_close(cross(x, memory, found)[0], h, atol=1e-12, rtol=0)


def test_rows_that_see_nothing_leave_as_they_came(cross: GatedCrossBlock) -> None:
    x, features, found = arguments([[0, 0], [0, 1], [1, 1], [0, 2]])
    out = cross(x, cross.attn.memory(features), found)
    same = (out == x).all(-1)[0].tolist()
    assert same == [True, False, True, False]


def test_closed_gates_add_nothing(cross: GatedCrossBlock) -> None:
    torch.nn.init.zeros_(cross.attn_gate)
    torch.nn.init.zeros_(cross.mlp_gate)
    x, features, found = arguments([[0, 1], [0, 2]])
    assert torch.equal(cross(x, cross.attn.memory(features), found), x)


def test_at_birth_the_gates_alone_learn() -> None:
    cross = GatedCrossBlock(6, 2, 1, 4, 9, 1e-5).double()
    x, features, found = arguments([[0, 1], [0, 2]])
    cross(x, cross.attn.memory(features), found).square().sum().backward()
    moving = {name for name, p in cross.named_parameters() if p.grad.any()}
    assert moving == {"attn_gate", "mlp_gate"}


def test_gates_in_fp32_leave_bf16_as_bf16() -> None:
    cross = open_gates(GatedCrossBlock(6, 2, 1, 4, 9, 1e-5))
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
