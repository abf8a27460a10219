"""Every number format against the gguf package, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from chiasm.checkpoint.quants import KINDS

# Where the blocks keep their float16 scales: there, random bytes would be infinities.
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}


@pytest.mark.parametrize("number", KINDS, ids=lambda number: KINDS[number].name)
def test_values_are_those_of_the_gguf_package(number: int) -> None:
    kind = KINDS[number]
    draw = np.random.default_rng(number)
    raw = draw.integers(0, 256, (96, kind.bytes), dtype=np.uint8)
    if kind.block == 1:
        raw = draw.standard_normal(96).astype({"F32": "<f4"}.get(kind.name, "<f2")).view(np.uint8)
    for at in HALVES.get(kind.name, ()):
        raw[:, at : at + 2] = draw.standard_normal((96, 1)).astype("<f2").view(np.uint8)
    type_ = gguf.GGMLQuantizationType(number)
    assert (kind.block, kind.bytes) == gguf.GGML_QUANT_SIZES[type_]
    assert kind.name == type_.name
    expected = gguf.quants.dequantize(raw.reshape(-1, kind.bytes), type_).reshape(-1)
    found = kind.floats(raw.reshape(-1))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.isfinite(found).all() and np.unique(found).size > 48  # the comparison had content


def test_a_scale_and_its_integers_by_hand() -> None:
    block = np.zeros(20, np.uint8)
    block[:2] = np.array([0.5], "<f2").view(np.uint8)
    block[2:4] = np.array([-1.0], "<f2").view(np.uint8)
    block[4] = 0xF1  # value 0 has q = 1, value 16 has q = 15
    values = KINDS[3].floats(block)
    assert values[0] == -0.5 and values[16] == 6.5 and (values[1:16] == -1).all()
