"""The two feed-forward networks against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from chiasm.nn import MLP, SwiGLU


def test_swiglu_is_its_formula() -> None:
    net = SwiGLU(5, 7).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    gate, up = x @ net.gate.weight.T, x @ net.up.weight.T
    expected = (gate / (1 + torch.exp(-gate)) * up) @ net.down.weight.T
    torch.testing.assert_close(net(x), expected)


FORMULAS = {
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: (
        x * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_mlp_is_its_formula(activation: str) -> None:
    net = MLP(5, 7, activation, 4).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    inner = x @ net.up.weight.T + net.up.bias
    active = inner.detach().clone().apply_(FORMULAS[activation])
    torch.testing.assert_close(net(x), active @ net.down.weight.T + net.down.bias)


def test_an_mlp_without_biases_has_none() -> None:
    net = MLP(5, 7, "gelu", bias=False).double()
    assert set(net.state_dict()) == {"up.weight", "down.weight"}
    x = torch.randn(3, 5, dtype=torch.float64)
    active = (x @ net.up.weight.T).detach().apply_(FORMULAS["gelu"])
    torch.testing.assert_close(net(x), active @ net.down.weight.T)
