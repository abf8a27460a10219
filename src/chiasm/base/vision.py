"""The record that `inputs` makes and `models` read: the pictures of a batch and who sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vision:
    """Pictures of a batch as one flat list, and which of them each token sees."""

    spans: Tensor
    """[B, T, 2] int64: a token sees the pictures first <= j < last of its span; equal ends = none."""
    pixels: Tensor | None = None
    """[N, 3, H, W] normalised pixels; the encoder runs on them."""
    features: Tensor | None = None
    """[N, V, D] what the encoder would give; when set, the encoder does not run."""

    @property
    def pictures(self) -> int:
        """How many pictures the list holds."""
        held = self.pixels if self.features is None else self.features
        return 0 if held is None else len(held)

    def to(self, device: torch.device) -> Vision:
        """Return the same record on another device."""
        moved = {
            name: value.to(device)
            for name in ("spans", "pixels", "features")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)
