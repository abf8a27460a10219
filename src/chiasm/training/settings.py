"""What can be chosen about a training run; readable without torch, for the command line's help."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from chiasm.base.config import Settings


class Rate(Settings):
    """How fast a part learns."""

    peak: PositiveFloat
    """Highest learning rate, reached after the warm-up."""
    decay: NonNegativeFloat = 0.0
    """Weight decay, on matrices only: gains, biases and gates are never decayed."""
    update: Literal["adamw", "muon"] = "adamw"
    """What moves the weights of linear layers: AdamW, or Muon, by which a step is as long in each of a
    gradient's directions (Jordan et al. 2024), scaled to AdamW's length (Liu et al. 2025, equation 4).
    Tables, gains, biases, gates and adapters always take AdamW."""


Table = tuple[tuple[str, Rate | None], ...]
"""Rows (pattern, rate): the first pattern that a parameter's name matches decides; None freezes it."""


class Schedule(Settings):
    """Linear warm-up, the peak for a while, then a cosine down to `floor` times the peak."""

    warmup: NonNegativeInt = 0
    """Steps until the peak."""
    hold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The cosine begins after this fraction of the run; 0 lets it begin behind the warm-up."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Where the cosine ends, as a fraction of the peak."""

    def factor(self, step: int, steps: int) -> float:
        """Fraction of the peak at a 0-based step of `steps`: a function of the step alone."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        begin = max(self.warmup, self.hold * steps)
        done = min(1.0, max(0.0, (step - begin) / max(1, steps - begin)))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class TrainSettings(Settings):
    """How long a run is, and what it does on its way."""

    steps: PositiveInt
    """Optimizer steps of the whole run."""
    clip: PositiveFloat = 1.0
    """The gradient's norm is cut to this."""
    save_every: PositiveInt = 100
    """Steps between checkpoints; the last step always saves."""
    keep: PositiveInt = 2
    """How many checkpoints stay on disk."""
    look_every: NonNegativeInt = 50
    """Steps between readings of the looking meter; 0 switches it off."""
    sample_every: NonNegativeInt = 100
    """Steps between answers about sample pictures; 0 switches them off."""
    patience: PositiveInt = 5
    """Steps in a row whose gradient is not finite before the run stops."""
