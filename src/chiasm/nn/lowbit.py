"""Linear layers whose weights are small integers: less to store, and less to read for every token."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.base.errors import UserError
from chiasm.base.layers import LowBit, LowBitTable, chosen, folded
from chiasm.nn.linear import Linear


class LowBitLinear(nn.Module):
    """y = x Wᵀ + b with W = (integers - zero) * scale, computed in the type of x.

    weight  int8 [out, in]; of 4 bits uint8 [out, in / 2], the even column in the lower half of a byte
    scale   bf16 [out, groups]
    zero    int8 [out, groups], of 4 bits only: the integer that stands for 0

    They are buffers: integers do not learn. A gradient passes through to x and to an adapter.
    """

    weight: Tensor
    scale: Tensor
    zero: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        low_bit: LowBit,
        bias: nn.Parameter | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.low_bit = in_features, out_features, low_bit
        rows, groups = (out_features,), in_features // (low_bit.group or in_features)
        kind = torch.int8 if low_bit.bits == 8 else torch.uint8
        columns = in_features * low_bit.bits // 8
        self.register_buffer("weight", torch.zeros(*rows, columns, dtype=kind, device=device))
        self.register_buffer(
            "scale", torch.zeros(*rows, groups, dtype=torch.bfloat16, device=device)
        )
        if low_bit.bits == 4:
            zero = torch.zeros(*rows, groups, dtype=torch.int8, device=device)
            self.register_buffer("zero", zero)
        self.register_parameter("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self)
        return y if self.bias is None else y + self.bias.to(x.dtype)

    def integers(self) -> Tensor:
        """Return the integers as int8 [out, in], from -128 or -8 on."""
        if self.low_bit.bits == 8:
            return self.weight
        pairs = torch.stack((self.weight & 15, self.weight >> 4), dim=-1)
        return pairs.flatten(1).to(torch.int8) - 8

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return W [out, in]: exact in fp32, rounded once in a narrower type."""
        whole = self.integers().to(dtype).unflatten(1, (self.scale.shape[1], -1))
        if self.low_bit.bits == 4:
            whole = whole - self.zero[..., None].to(dtype)
        return (whole * self.scale[..., None].to(dtype)).flatten(1)


class _Product(torch.autograd.Function):
    """x Wᵀ of the integers alone, whatever adapter their layer has.

    W is unfolded again for the gradient, so that no layer keeps its own in memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LowBitLinear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, LowBitLinear.matrix(layer, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ LowBitLinear.matrix(ctx.layer, gradient.dtype), None


def quantise(model: nn.Module, table: LowBitTable) -> dict[str, LowBit]:
    """Turn linear layers of a built model into integers, in place; return which, and how.

    The first row whose pattern matches a layer's name decides. Only matrices of linear layers are
    touched: embeddings, norms, gates and biases stay as they are. The numbers are chosen by torchao.

    Raises UserError when a row matches nothing, when a layer's rows cannot be cut into groups, when a
    weight is not finite, and when torchao is not installed.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear)}
    done = chosen(list(layers), table, "quantise")
    for name, low_bit in done.items():
        _check(name, layers[name], low_bit)  # all of them, before the first is touched
    for name, low_bit in done.items():
        model.set_submodule(name, quantised(layers[name], low_bit), strict=True)
    return done


def _check(name: str, layer: Linear, low_bit: LowBit) -> None:
    _cut(name, layer.in_features, low_bit)
    if type(layer) is not Linear:
        raise UserError(f"{name} has an adapter: merge it before its matrix is quantised.")
    if not bool(layer.weight.isfinite().all()):
        raise UserError(f"{name} holds a weight that is not finite, which no integer stands for.")


def _cut(name: str, length: int, low_bit: LowBit) -> None:
    if length % (low_bit.group or length) or length * low_bit.bits % 8:
        raise UserError(
            f"The rows of {name} have {length} weights, which cannot be cut into groups of "
            f'{low_bit.group or length} at {low_bit.bits} bits: leave it as it is by ("{name}", null), '
            "or choose another group."
        )


@torch.no_grad()
def quantised(layer: Linear, low_bit: LowBit) -> LowBitLinear:
    """Return a layer of integers in a plain layer's stead: every weight is off by half a step at most.

    A step is the group's scale: for 8 bits its largest |weight| / 127.5, for 4 bits its range (0 taken
    in) / 15, each rounded up to bf16.
    """
    torchao = _torchao()
    low, high = -(1 << (low_bit.bits - 1)), (1 << (low_bit.bits - 1)) - 1
    weight = layer.weight.detach().float()
    size = (1, low_bit.group or layer.in_features)
    mapping = torchao.MappingType.SYMMETRIC if low_bit.bits == 8 else torchao.MappingType.ASYMMETRIC
    step, _ = torchao.choose_qparams_affine(
        weight, mapping, size, torch.int8, quant_min=low, quant_max=high, keepdim=True
    )
    # Rounded up: a smaller step would leave the largest weight more than half a step behind.
    scale = (step * (1 + 2**-8)).bfloat16()
    new = LowBitLinear(layer.in_features, layer.out_features, low_bit, layer.bias, weight.device)
    zero = torch.zeros_like(scale, dtype=torch.int8)
    if low_bit.bits == 4:
        least = weight.unflatten(1, (scale.shape[1], -1)).amin(-1).clamp(max=0)
        zero = (low - (least / scale.float()).round()).clamp(low, high).to(torch.int8)
        new.zero.copy_(zero)
    integers = torchao.quantize_affine(weight, size, scale.float(), zero, torch.int8, low, high)
    if low_bit.bits == 4:
        even, odd = (integers + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(-1)
        integers = even | (odd << 4)
    new.weight.copy_(integers)
    new.scale.copy_(scale)
    return new


def _torchao() -> Any:
    quiet = logging.root.manager.disable
    logging.disable(
        logging.WARNING
    )  # it complains of accelerator libraries that a CPU does not have
    try:
        from torchao import quantization
    except ImportError:
        raise UserError(
            "Weights are quantised by torchao, which is not installed: pip install 'chiasm[quant]'."
        ) from None
    finally:
        logging.disable(quiet)
    return quantization


def lay_low_bits(model: nn.Module, table: LowBitTable) -> None:
    """Put empty layers of integers where the table says, in place, to be filled from a folder."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear)}
    for name, low_bit in chosen(list(layers), table, "quantised").items():
        old = layers[name]
        _cut(name, old.in_features, low_bit)
        new = LowBitLinear(old.in_features, old.out_features, low_bit, old.bias, old.weight.device)
        model.set_submodule(name, new, strict=True)


def low_bits_of(model: nn.Module) -> LowBitTable:
    """Return the table that gives a plain model of the same shape this model's integers."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Linear | LowBitLinear)}
    done = {n: m.low_bit for n, m in layers.items() if isinstance(m, LowBitLinear)}
    return folded(list(layers), done)
