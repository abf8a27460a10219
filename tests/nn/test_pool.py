"""A probe that asks all vectors, against torch's own multi-head attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chiasm.nn import AttentionPool
from chiasm.testing import open_gates


@pytest.mark.parametrize("heads", [1, 3, 6])
@torch.no_grad()
def test_it_is_its_formula(heads: int) -> None:
    pool = open_gates(AttentionPool(12, heads, 20, "gelu_tanh", 1e-3)).double()
    reference = nn.MultiheadAttention(12, heads, batch_first=True).double()
    reference.in_proj_weight.copy_(torch.cat([pool.q.weight, pool.k.weight, pool.v.weight]))
    reference.in_proj_bias.copy_(torch.cat([pool.q.bias, pool.k.bias, pool.v.bias]))
    reference.out_proj.load_state_dict(pool.o.state_dict())
    x = torch.randn(4, 7, 12, dtype=torch.float64)
    found, _ = reference(pool.probe.expand(4, 1, 12), x, x)
    expected = found + pool.mlp(pool.mlp_norm(found))
    torch.testing.assert_close(pool(x), expected[:, 0], atol=1e-12, rtol=0)


def test_it_sees_every_vector_in_no_order_and_no_other_picture() -> None:
    pool = open_gates(AttentionPool(12, 3, 20, "gelu", 1e-6)).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(pool(x.flip(1)), pool(x), atol=1e-12, rtol=0)
    for place in range(7):
        changed = x.clone()
        changed[0, place] += 1
        same = (pool(changed) == pool(x)).all(dim=1)
        assert same.tolist() == [False, True]


def test_weights_may_be_wider_than_what_they_work_on() -> None:
    pool = AttentionPool(12, 3, 20, "gelu", 1e-6)
    out = pool(torch.randn(2, 7, 12, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert pool.probe.grad.dtype == torch.float32 and bool((pool.probe.grad != 0).all())
