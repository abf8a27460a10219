"""Low-rank adapters: a frozen layer learns a small addition to its matrix (LoRA, Hu et al. 2021).

    x ─┬─► W (frozen, fp or integers) ──────────► + ─► y
       └─► A [rank, in] ─► · factor ─► B [out, rank] ─┘      B is zero at birth

The layer keeps its name and its tensors' names; the two matrices stand beside them as lora_a, lora_b.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.base.layers import LowRank, LowRankTable, chosen, folded, is_adapter
from chiasm.nn.linear import Linear
from chiasm.nn.lowbit import LowBitLinear


class Adapted(nn.Module):
    """What an adapter adds to a linear layer; stands before the layer's class in the list of bases.

    Its two matrices are fp32 whatever the layer is kept in (fp64 in fp64), and it computes in the type
    of x: equation 3 of the paper, h = W₀x + factor · BAx, A normal and B zero at birth.
    """

    def begin(self, low_rank: LowRank) -> None:
        """Give the layer its two matrices, and freeze what it had."""
        like = torch.zeros((), device=self.weight.device)
        like = like.double() if self.weight.dtype == torch.float64 else like
        self.low_rank = low_rank
        self.lora_a = nn.Parameter(like.new_empty(low_rank.rank, self.in_features))
        self.lora_b = nn.Parameter(like.new_zeros(self.out_features, low_rank.rank))
        nn.init.normal_(self.lora_a, std=self.in_features**-0.5)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_adapter(name))

    def forward(self, x: Tensor) -> Tensor:
        seen = F.dropout(x, self.low_rank.dropout, self.training)
        thin = F.linear(seen, self.lora_a.to(x.dtype)) * self.low_rank.factor
        return super().forward(x) + F.linear(thin, self.lora_b.to(x.dtype))

    def with_addition(self, matrix: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a matrix [out, in] in the adapter's type plus factor · BA."""
        return (matrix + self.low_rank.factor * (self.lora_b @ self.lora_a)).to(dtype)


class LoRALinear(Adapted, Linear):
    """A plain layer with an adapter; takes over the layer's own tensors."""

    def __init__(self, layer: Linear, low_rank: LowRank) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.register_parameter("weight", layer.weight)
        self.register_parameter("bias", layer.bias)
        self.begin(low_rank)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return W with the addition, [out, in]."""
        return self.with_addition(super().matrix(self.lora_a.dtype), dtype)


class LoRALowBit(Adapted, LowBitLinear):
    """A layer of integers with an adapter (QLoRA, Dettmers et al. 2023, with our integers)."""

    def __init__(self, layer: LowBitLinear, low_rank: LowRank) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.low_bit, layer.bias, "meta")
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self.begin(low_rank)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return W with the addition, [out, in]."""
        return self.with_addition(super().matrix(self.lora_a.dtype), dtype)


def add_lora(model: nn.Module, table: LowRankTable) -> dict[str, LowRank]:
    """Give linear layers of a built model adapters, in place; return which, and how large.

    The first row whose pattern matches a layer's name decides. A model that has just got its adapters
    computes what it computed before. Raises UserError when a row matches nothing.
    """
    layers = _linear(model)
    free = {name: layer for name, layer in layers.items() if not isinstance(layer, Adapted)}
    done = chosen(list(free), table, "lora")
    for name, low_rank in done.items():
        layer = free[name]
        kind = LoRALowBit if isinstance(layer, LowBitLinear) else LoRALinear
        model.set_submodule(name, kind(layer, low_rank), strict=True)
    return done


@torch.no_grad()
def merge_lora(model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Add every adapter to its layer's matrix, in place: plain layers remain.

    The sum is formed in fp32 (fp64 in fp64) and rounded once to the type of the layer's weight; a layer
    of integers becomes a plain one of `dtype`.
    """
    for name, layer in _linear(model).items():
        if isinstance(layer, Adapted):
            kept = dtype if isinstance(layer, LowBitLinear) else layer.weight.dtype
            plain = Linear(layer.in_features, layer.out_features, bias=False, device="meta")
            plain.weight = nn.Parameter(layer.matrix(kept), requires_grad=False)
            plain.register_parameter("bias", layer.bias)
            model.set_submodule(name, plain, strict=True)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of all adapters by name, and no others."""
    return {name: value for name, value in model.state_dict().items() if is_adapter(name)}


def lora_of(model: nn.Module) -> LowRankTable:
    """Return the table that gives a model of the same shape this model's adapters."""
    layers = _linear(model)
    done = {n: layer.low_rank for n, layer in layers.items() if isinstance(layer, Adapted)}
    return folded(list(layers), done)


def _linear(model: nn.Module) -> dict[str, Linear | LowBitLinear]:
    return {n: m for n, m in model.named_modules() if isinstance(m, Linear | LowBitLinear)}
