"""Rotary positions: an independent formula, relativity, and Llama 3.1's stretching."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from chiasm.nn import Rope, RopeScaling, rotate
from chiasm.nn.rope import inverse_frequencies


def turned(x: list[float], position: int, theta: float) -> list[float]:
    """Su et al. (2021), equation 13, as complex numbers: pair i is (x[i], x[i + half])."""
    half = len(x) // 2
    pairs = [
        complex(x[i], x[i + half]) * cmath.exp(1j * position * theta ** (-2 * i / len(x)))
        for i in range(half)
    ]
    return [z.real for z in pairs] + [z.imag for z in pairs]


@given(
    st.integers(1, 6),
    st.sampled_from([100.0, 10000.0, 500000.0]),
    st.lists(st.integers(0, 4000), min_size=1, max_size=5),
)
def test_each_pair_of_dimensions_turns_by_its_own_angle(
    half: int, theta: float, places: list[int]
) -> None:
    x = torch.randn(1, len(places), 2, 2 * half, dtype=torch.float64)
    rope = Rope(torch.tensor([places]), inverse_frequencies(2 * half, theta), x.dtype)
    got = rotate(x, rope)
    for t, place in enumerate(places):
        for head in range(2):
            expected = torch.tensor(turned(x[0, t, head].tolist(), place, theta), dtype=x.dtype)
            # angles are kept in fp32: 4000 rad * 2^-24 = 2.4e-4, times two roundings
            torch.testing.assert_close(got[0, t, head], expected, atol=2e-3, rtol=0)
            if place < 16:
                torch.testing.assert_close(got[0, t, head], expected, atol=1e-5, rtol=0)


def test_scores_depend_on_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    speeds = inverse_frequencies(8, 10000.0)

    def score(i: int, j: int) -> float:
        at_i, at_j = (Rope(torch.tensor([[p]]), speeds, q.dtype) for p in (i, j))
        return float((rotate(q, at_i) * rotate(k, at_j)).sum())

    for distance in (0, 1, 17):
        assert score(distance, 0) == pytest.approx(score(100 + distance, 100), abs=1e-4)


@pytest.mark.parametrize("width", [6, 64, 128])
@pytest.mark.parametrize(
    ("theta", "factor", "low", "high", "original"),
    [(500000.0, 8.0, 1.0, 4.0, 8192), (500000.0, 32.0, 1.0, 4.0, 8192), (1e4, 3.0, 1.5, 7.0, 500)],
)
def test_scaled_frequencies_are_those_of_transformers(
    width: int, theta: float, factor: float, low: float, high: float, original: int
) -> None:
    config = LlamaConfig(
        hidden_size=width,
        num_attention_heads=1,
        head_dim=width,
        max_position_embeddings=16 * original,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": theta,
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        },
    )
    expected, attention_factor = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    assert attention_factor == 1.0
    scaling = RopeScaling(factor=factor, low=low, high=high, original=original)
    got = inverse_frequencies(width, theta, scaling)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)  # measured: 3.9e-7


def test_scaling_keeps_short_wavelengths_and_stretches_long_ones_fully() -> None:
    plain = inverse_frequencies(128, 500000.0)
    scaled = inverse_frequencies(
        128, 500000.0, RopeScaling(factor=8.0, low=1.0, high=4.0, original=8192)
    )
    wavelengths = 2 * math.pi / plain
    assert torch.equal(scaled[wavelengths < 8192 / 4], plain[wavelengths < 8192 / 4])
    far = wavelengths > 8192
    torch.testing.assert_close(scaled[far], plain[far] / 8)
    between = ~far & (wavelengths > 8192 / 4)
    assert between.any() and (scaled[between] < plain[between]).all()
    assert (scaled[between] > plain[between] / 8).all()
