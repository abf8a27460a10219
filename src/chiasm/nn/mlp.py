"""The two feed-forward networks of this field."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.nn.linear import Linear


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), no biases (Shazeer 2020; Llama)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, bias=False)
        self.up = Linear(width, hidden, bias=False)
        self.down = Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x): the approximation that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # JAX's default: big_vision, SigLIP
}


class MLP(nn.Module):
    """down(activation(up(x))), with biases (ViT, CLIP, LLaVA's projector) or without (Flamingo)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: str,
        out: int | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.up = Linear(width, hidden, bias=bias)
        self.down = Linear(hidden, out or width, bias=bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))
