"""Weights laid out for decoding: one token reads every weight, so reading is what decoding costs.

    block  q k v  ─► one matrix            one product instead of three
           o, down ─► product + residual   the addition happens while the product is stored
           gate, up ─► one matrix

`prepack` walks a built model and returns another one that shares its other tensors; the model it
was given stays as it is. It serves processors, in fp32 and bf16; elsewhere the model comes back
unchanged. The layout belongs to oneDNN and is reached through operators that torch keeps private:
they are tried and compared once per process, and when they are gone or wrong, nothing is packed.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.nn import Block, Linear, RMSNorm, SwiGLU, rotate
from chiasm.nn.attention import Route, look_back

M = TypeVar("M", bound=nn.Module)

_ROWS = 8
"""The layout is chosen for products with this many rows; it serves one row and thousands as well."""


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
        self.gate_up = PackedLinear(torch.cat((mlp.gate.weight, mlp.up.weight)).to(dtype))
        self.down = PackedLinear(mlp.down.weight.to(dtype))

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
        parts = [part.weight.to(dtype) for part in (attn.q, attn.k, attn.v)]
        self.head_width = attn.head_width
        self.heads, self.kv_heads = (len(part) // attn.head_width for part in parts[:2])
        self.qkv = PackedLinear(torch.cat(parts))
        self.o = PackedLinear(attn.o.weight.to(dtype))
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
    if isinstance(module, Linear):
        return PackedLinear(module.weight.to(dtype), module.bias)
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
