"""Weights laid out for decoding: one token reads every weight, so reading is what decoding costs.

    block  q k v  ─► one matrix            one product instead of three
           o, down ─► product + residual   the addition happens while the product is stored
           gate, up ─► one matrix

Layers of integers (nn/lowbit.py) stay integers in bf16, where torch has a kernel that reads them.

`prepack` walks a built model and returns another one that shares its other tensors; the model it
was given stays as it is. It serves processors, in fp32 and bf16; elsewhere the model comes back
unchanged. The layout belongs to oneDNN and is reached through operators that torch keeps private:
they are tried and compared once per process, and when they are gone or wrong, nothing is packed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.base.layers import LowBit
from chiasm.nn import Block, Linear, LowBitLinear, RMSNorm, SwiGLU, rotate
from chiasm.nn.attention import Route, look_back

M = TypeVar("M", bound=nn.Module)

_ROWS = 8
"""The layout is chosen for products with this many rows; it serves one row and thousands as well."""
_FEW = 16
"""With more rows than this, unfolding 8-bit integers costs less than the kernel that reads them."""


class PackedLinear(nn.Module):
    """y = x Wᵀ + b with W in oneDNN's own layout; for inference only."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _ROWS)
        self.bias = None if bias is None else bias.detach().to(weight.dtype)
        self._plain = torch.ops.mkldnn._linear_pointwise.default
        self._with = torch.ops.mkldnn._linear_pointwise.binary

    def forward(self, x: Tensor) -> Tensor:
        return self._plain(x, self.packed, self.bias, "none", [], "")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """Return y + other."""
        return self._with(x, other, self.packed, self.bias, "add")


class PackedIntegers(nn.Module):
    """y = x Wᵀ + b in bf16 with W as integers, read by torch's own kernels for them."""

    def __init__(self, layers: Sequence[LowBitLinear]) -> None:
        super().__init__()
        scale = torch.cat([layer.scale for layer in layers])
        self.bias = _biases(layers, torch.bfloat16)
        self.bits, self.group = layers[0].low_bit.bits, layers[0].low_bit.group
        self._kernel8 = torch.ops.aten._weight_int8pack_mm.default
        self._kernel4 = torch.ops.aten._weight_int4pack_mm_for_cpu.default
        integers = torch.cat([layer.integers() for layer in layers])
        if self.bits == 8:
            self.integers, self.scale = integers, scale.flatten().bfloat16()
        else:  # the kernel counts from 0 and adds what the integer 8 stands for
            shift = -torch.cat([layer.zero for layer in layers]).to(scale.dtype) * scale
            self.scale = torch.stack((scale, shift), dim=-1).bfloat16().transpose(0, 1).contiguous()
            self.integers = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
                integers.int() + 8, 1
            )

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).contiguous()  # what the kernels read
        if self.bits == 4:
            y = self._kernel4(flat, self.integers, self.group, self.scale)
        elif len(flat) <= _FEW:
            y = self._kernel8(flat, self.integers, self.scale)
        else:
            y = F.linear(flat, self.integers.to(flat.dtype)) * self.scale
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], -1)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """Return y + other."""
        return self.forward(x) + other


def product(
    layers: Sequence[Linear | LowBitLinear], dtype: torch.dtype
) -> PackedLinear | PackedIntegers:
    """Return layers of one input as one product: integers where they all are, else packed numbers.

    An adapter is added to its layer's matrix.
    """
    plain = [layer for layer in layers if type(layer) is LowBitLinear]
    if len(plain) == len(layers) and dtype == torch.bfloat16:
        kinds = {layer.low_bit for layer in plain}
        if len(kinds) == 1 and counts(
            kinds.pop(), layers[0].in_features, sum(layer.out_features for layer in layers)
        ):
            return PackedIntegers(plain)
    matrices: list[Tensor] = [layer.matrix(dtype) for layer in layers]
    matrix = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
    return PackedLinear(matrix, _biases(layers, dtype))


def _biases(layers: Sequence[Linear | LowBitLinear], dtype: torch.dtype) -> Tensor | None:
    given = [layer.bias for layer in layers]
    biases = [bias.detach().to(dtype) for bias in given if bias is not None]
    return torch.cat(biases) if biases else None


class PackedNorm(nn.Module):
    """`RMSNorm` by the one fused kernel that torch has for normalising.

    The root mean square of x is the standard deviation of (x, -x), whose mean is zero.
    """

    def __init__(self, norm: RMSNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.gain = norm.weight.detach().to(dtype).repeat(2)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((x, -x), dim=-1)
        normal = torch.layer_norm(both, self.gain.shape, self.gain, None, self.eps)
        return normal.narrow(-1, 0, x.shape[-1])


class PackedSwiGLU(nn.Module):
    """`SwiGLU` with gate and up in one product."""

    def __init__(self, mlp: SwiGLU, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up = product((mlp.gate, mlp.up), dtype)
        self.down = product((mlp.down,), dtype)

    def hidden(self, x: Tensor) -> Tensor:
        """Return what enters `down`."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.hidden(x))


class PackedBlock(nn.Module):
    """A decoder's `Block` in four products; stands where the block stood."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        attn = block.attn
        parts = (attn.q, attn.k, attn.v)
        self.head_width = attn.head_width
        self.heads, self.kv_heads = (part.out_features // attn.head_width for part in parts[:2])
        self.qkv = product(parts, dtype)
        self.o = product((attn.o,), dtype)
        self.mlp = PackedSwiGLU(block.mlp, dtype)
        self.attn_norm = PackedNorm(block.attn_norm, dtype)
        self.mlp_norm = PackedNorm(block.mlp_norm, dtype)

    def forward(self, x: Tensor, route: Route, layer: int) -> Tensor:
        heads = self.qkv(self.attn_norm(x)).view(*x.shape[:2], -1, self.head_width)
        if route.cache is not None and route.extent:  # what looks at the cache works in its type
            heads = heads.to(route.cache.dtype)
        turned, kept = self.heads + self.kv_heads, self.kv_heads
        heads = rotate(heads, route.rope.beside(turned, kept, heads.dtype))
        route.write(layer, heads.narrow(2, self.heads, 2 * kept))
        query, key, value = heads.split((self.heads, kept, kept), dim=2)
        seen = look_back(query, key, value, route, layer)
        x = self.o.plus(seen.to(x.dtype), x)
        return self.mlp.down.plus(self.mlp.hidden(self.mlp_norm(x)), x)


def prepack(model: M) -> M:
    """Return a model that answers as `model` does, up to rounding, and decodes faster.

    Weights are packed in the type that the model computes in: its embedding's. The result is for
    inference and cannot be saved; where packing is not possible it is `model` itself.
    """
    table = next(module.weight for module in model.modules() if isinstance(module, nn.Embedding))
    if table.device.type != "cpu" or not packs(table.dtype):
        return model
    with torch.no_grad():
        packed = _pack(model, table.dtype)
    return packed.eval()


def _pack(module: Any, dtype: torch.dtype) -> Any:
    if isinstance(module, Block):
        return PackedBlock(module, dtype)
    if isinstance(module, RMSNorm):
        return PackedNorm(module, dtype)
    if isinstance(module, SwiGLU):
        return PackedSwiGLU(module, dtype)
    if isinstance(module, Linear | LowBitLinear):
        return product((module,), dtype)
    twin = copy.copy(module)
    twin._modules = {
        name: None if child is None else _pack(child, dtype)
        for name, child in module._modules.items()
    }
    if "unembed" in twin._modules and twin.unembed is None:  # a decoder whose head is its embedding
        twin.unembed = PackedLinear(twin.embed.weight)
    return twin


@cache
def packs(dtype: torch.dtype) -> bool:
    """Whether weights of this type can be packed here: tried once, and compared with plain products."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    source = torch.Generator().manual_seed(0)
    weight, x, other = (
        torch.randn(shape, generator=source).to(dtype) for shape in ((48, 32), (3, 32), (3, 48))
    )
    try:
        packed = PackedLinear(weight)
        plain = F.linear(x, weight)
        pairs = (
            (packed(x), plain),
            (packed.plus(x, other), plain + other),
        )
    except (AttributeError, RuntimeError, TypeError):
        return False  # a torch without these operators, or built without oneDNN
    near = 1e-4 if dtype == torch.float32 else 0.05
    return all(torch.allclose(a, b, rtol=near, atol=near) for a, b in pairs)


@cache
def counts(low_bit: LowBit, width: int, out: int) -> bool:
    """Whether torch multiplies such integers [out, width] here: tried once, and compared.

    The kernel for 8 bits reads beyond its rows where their length is not a multiple of 16 (torch 2.13),
    so lengths that are odd to the kernels are not even tried.
    """
    groups = (0,) if low_bit.bits == 8 else (32, 64, 128, 256)
    if low_bit.group not in groups or width % 32:
        return False
    source = torch.Generator().manual_seed(0)
    layer = LowBitLinear(width, out, low_bit)
    layer.weight.copy_(torch.randint(-128, 256, layer.weight.shape, generator=source))
    layer.scale.copy_(torch.rand(layer.scale.shape, generator=source))
    if low_bit.bits == 4:
        layer.zero.copy_(torch.randint(-8, 8, layer.zero.shape, generator=source))
    x = torch.randn((2, width), generator=source).bfloat16()
    try:
        got = PackedIntegers([layer])(x)
    except (AttributeError, RuntimeError, TypeError):
        return False  # a torch without these operators, or a size that they do not take
    near = layer(x.float())
    return bool((got - near).abs().max() < 0.02 * near.abs().max())
