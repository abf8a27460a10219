"""Llama 3.1's stretched rotary speeds as llama.cpp keeps them: by what each speed is divided.

This room may not look into `nn`, so the rule stands here a second time; a test holds the two together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chiasm.base.config import as_record, from_record
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.decoder import DecoderConfig

NAME = "rope_freqs.weight"
"""The tensor in the file, [head_width / 2] float32."""
_UNSAID = {"low": 1.0, "high": 4.0, "original": 8192}
"""What a file does not say: all of Meta's models have these, and what is computed is compared."""


def rope_factors(config: DecoderConfig) -> Tensor:
    """Return by what each of the [head_width / 2] rotary speeds is divided, as float32 (Llama 3.1)."""
    steps = torch.arange(0, config.head_width, 2, dtype=torch.float64) / config.head_width
    scaling = config.rope_scaling
    if scaling is None:
        return torch.ones(len(steps))
    turns = scaling.original * config.rope_theta**-steps / (2 * math.pi)
    kept = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return (1 / ((1 - kept) / scaling.factor + kept)).float()


def scaled_as_stored(config: DecoderConfig, factors: Tensor, source: str) -> DecoderConfig:
    """Return the settings with the scaling that the file's factors mean.

    They must equal Llama 3.1's rule for its largest factor to 1e-5, or a CheckpointError says so.
    """
    largest = float(f"{float(factors.max()):.6g}")
    if largest > 1:
        record = {**as_record(config), "rope_scaling": {"factor": largest, **_UNSAID}}
        scaled = from_record(DecoderConfig, record, source)
        expected = rope_factors(scaled)
        # Both are float32 of the same formula: they differ by some 1e-7 of themselves.
        if factors.shape == expected.shape and torch.allclose(factors, expected, rtol=1e-5, atol=0):
            return scaled
    raise CheckpointError(
        f'{source}: "{NAME}" is not the stretching of rotary speeds that Llama 3.1 to 3.3 have, '
        "the only one that Chiasm can compute."
    )
