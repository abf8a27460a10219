"""Predict the next token, where the next token is the model's own to say."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.inputs.batch import IGNORED, Batch


class NextToken:
    """Summed cross-entropy at the positions that have a target.

    The head runs on those positions alone and `chunk` of them at a time, so full logits of a large
    vocabulary never exist for the whole batch.
    """

    def __init__(self, chunk: int = 1024) -> None:
        self.chunk = chunk

    def weight(self, batch: Batch) -> int:
        """How many targets the batch holds."""
        return int((batch.targets != IGNORED).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss over the targets, in fp32 (fp64 for a model in fp64)."""
        features = model(**batch.inputs())
        learned = (batch.targets != IGNORED).flatten().nonzero().squeeze(-1)
        features = features.flatten(0, 1).index_select(0, learned)
        targets = batch.targets.flatten()[learned]
        total = features.new_zeros((), dtype=_wide(features.dtype))
        for part, goal in zip(features.split(self.chunk), targets.split(self.chunk), strict=True):
            logits = model.head(part).to(total.dtype)
            total = total + F.cross_entropy(logits, goal, reduction="sum")
        return total


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
