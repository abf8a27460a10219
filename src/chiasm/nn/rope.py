"""Rotary position embedding in the half-split convention, with Llama 3.1's long-context scaling."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from chiasm.base.config import Settings


class RopeScaling(Settings):
    """Llama 3.1's rule: long wavelengths are divided, short ones kept, those between blended."""

    factor: float
    """By how much the longest wavelengths are stretched."""
    low: float
    """Wavelengths above `original / low` tokens are stretched fully."""
    high: float
    """Wavelengths below `original / high` tokens are kept."""
    original: int
    """Context length of the first training, in tokens."""


def inverse_frequencies(width: int, theta: float, scaling: RopeScaling | None = None) -> Tensor:
    """Return the [width / 2] rotation speeds in radians per token (Su et al. 2021; Llama 3.1)."""
    speeds = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    if scaling is not None:
        turns = scaling.original * speeds / (2 * math.pi)
        blend = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
        speeds = speeds / scaling.factor * (1 - blend) + speeds * blend
    return speeds.float()


class Rope:
    """Cosines and sines of one forward pass, shared by all its blocks; each [B, T, 1, width].

    The sines of the left half are negative, as `rotate` needs them.
    """

    def __init__(self, positions: Tensor, speeds: Tensor, dtype: torch.dtype) -> None:
        angles = positions[..., None].float() * speeds.to(positions.device)
        cos, sin = angles.cos(), angles.sin()
        self.cos = torch.cat((cos, cos), dim=-1)[:, :, None].to(dtype)
        self.sin = torch.cat((-sin, sin), dim=-1)[:, :, None].to(dtype)
        self._beside: Rope | None = None

    def beside(self, turned: int, still: int, dtype: torch.dtype) -> Rope:
        """The same for [B, T, turned + still, width], the last `still` heads of which do not turn.

        Made once: all blocks of a pass ask for the same.
        """
        if self._beside is None or self._beside.cos.dtype != dtype:
            self._beside = copy.copy(self)
            sizes = (*self.cos.shape[:2], still, self.cos.shape[-1])
            stay = (self.cos.new_ones(sizes), self.sin.new_zeros(sizes))
            self._beside.cos, self._beside.sin = (
                torch.cat((part.expand(-1, -1, turned, -1), rest), dim=2).to(dtype)
                for part, rest in zip((self.cos, self.sin), stay, strict=True)
            )
        return self._beside


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Turn [B, T, heads, width] by its positions: dimension i pairs with dimension i + width / 2."""
    # (left, right) -> (left cos - right sin, right cos + left sin): a roll by half the width brings
    # each dimension its partner.
    return torch.addcmul(x * rope.cos, x.roll(x.shape[-1] // 2, -1), rope.sin)
