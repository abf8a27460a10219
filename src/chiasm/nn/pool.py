"""One vector for a whole picture, asked for by a learned probe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.nn.attention import attend
from chiasm.nn.linear import Linear
from chiasm.nn.mlp import MLP
from chiasm.nn.norms import LayerNorm


class AttentionPool(nn.Module):
    """A learned probe attends to all vectors, then a pre-norm MLP: [N, V, width] -> [N, width].

    SigLIP's multihead attention pooling (Zhai et al. 2022, "Scaling vision transformers", section 3.2).
    The probe itself is not added to what it finds.
    """

    def __init__(self, width: int, heads: int, hidden: int, activation: str, eps: float) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(width) * width**-0.5)
        self.q = Linear(width, width)
        self.k = Linear(width, width)
        self.v = Linear(width, width)
        self.o = Linear(width, width)
        self.mlp_norm = LayerNorm(width, eps)
        self.mlp = MLP(width, hidden, activation)
        self.head_width = width // heads

    def forward(self, x: Tensor) -> Tensor:
        split = (-1, self.head_width)
        query = self.q(self.probe.to(x.dtype)).unflatten(-1, split)[None, :, None]
        key, value = (part(x).unflatten(-1, split).transpose(1, 2) for part in (self.k, self.v))
        found = attend(query.expand(len(x), -1, -1, -1), key, value)
        found = self.o(found.transpose(1, 2).flatten(2))[:, 0]
        return found + self.mlp(self.mlp_norm(found))
