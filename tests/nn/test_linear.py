"""A linear layer whose weights are kept wider than its activations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from chiasm.nn import Linear


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_in_the_type_of_its_input(bias: bool) -> None:
    layer = Linear(5, 3, bias=bias)
    x = torch.randn(4, 5).bfloat16()
    out = layer(x)
    narrow = layer.bias.bfloat16() if bias else None
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, F.linear(x, layer.weight.bfloat16(), narrow))


def test_its_gradient_arrives_in_fp32() -> None:
    layer = Linear(5, 3)
    layer(torch.randn(4, 5).bfloat16()).sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


def test_in_one_type_it_is_the_plain_layer() -> None:
    layer = Linear(5, 3).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
