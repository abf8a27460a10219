"""A linear layer that computes in its input's type, whatever type its weights are kept in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """y = x Wᵀ + b computed in the type of x.

    A learning layer keeps its weights in fp32 while the activations run in bf16: the cast is part
    of the graph, so the gradient arrives and is summed in fp32 (master weights without a second copy).
    """

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Return W as one matrix [out, in], whatever it is kept as."""
        return self.weight.to(dtype)
