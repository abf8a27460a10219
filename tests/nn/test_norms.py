"""Normalisations against their formulas, in every type that they are used in."""

from __future__ import annotations

import pytest
import torch

from chiasm.nn import LayerNorm, RMSNorm


def rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    x, weight = x.double(), weight.double()
    return x / (x.pow(2).sum(-1, keepdim=True) / x.shape[-1] + eps) ** 0.5 * weight


# measured: 1.8e-15, 7.4e-7, 3.1e-2 (three roundings to 8 bits of values up to 6)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6), (torch.bfloat16, 5e-2)]
)
def test_rms_norm_is_its_formula_and_keeps_the_type(dtype: torch.dtype, tolerance: float) -> None:
    norm = RMSNorm(7, 1e-5)
    torch.nn.init.normal_(norm.weight)
    norm.to(dtype)
    x = torch.randn(50, 7, dtype=torch.float64).to(dtype)
    got = norm(x)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), rms(x, norm.weight, 1e-5), atol=tolerance, rtol=0)


def test_rms_norm_in_fp64_has_the_gradient_of_its_formula() -> None:
    norm = RMSNorm(5, 1e-5).double()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


def test_rms_norm_reduces_bf16_in_fp32() -> None:
    """A length that was itself rounded to bf16 would move half of all numbers to a neighbour."""
    norm = RMSNorm(4096, 1e-5).bfloat16()
    x = torch.randn(20, 4096).bfloat16()
    once = rms(x, norm.weight, 1e-5).bfloat16()
    assert (norm(x) == once).float().mean() > 0.999


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_weights_in_fp32_serve_activations_in_bf16(kind: type) -> None:
    norm = kind(6, 1e-5)
    x = torch.randn(2, 6).bfloat16()
    out = norm(x)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert norm.weight.grad.dtype == torch.float32
