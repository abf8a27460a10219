"""Numbers in GGUF's formats: the bytes of ggml's own reference code, block for block.

Goldens: formats/make_ggml_blocks.py (the C sources, compiled without fused multiply-add).
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from chiasm.checkpoint.pack import PACKERS, pack
from chiasm.checkpoint.quants import KINDS

GOLDENS = load_file(Path(__file__).parent / "formats" / "ggml_blocks.safetensors")
X = GOLDENS.pop("x")
BY_NAME = {kind.name: kind for kind in KINDS.values()}


WORST = {
    # Largest error over a block's largest value; measured 0, 0.00043, 0.0033, 0.0040, 0.125, 0.0659,
    # 0.0675 and 0.0161.
    **{"F32": 0.0, "F16": 0.0005, "BF16": 0.004, "Q8_0": 0.0045},
    **{"Q4_0": 0.1251, "Q4_1": 0.07, "Q4_K": 0.07, "Q6_K": 0.018},
}


@pytest.mark.parametrize("kind", sorted(GOLDENS))
def test_every_byte_is_the_reference_s(kind: str) -> None:
    assert np.array_equal(pack(kind, X.reshape(-1, BY_NAME[kind].block)), GOLDENS[kind])


@pytest.mark.parametrize("kind", sorted(PACKERS))
def test_values_come_back_within_the_format_s_step(kind: str) -> None:
    form = BY_NAME[kind]
    back = form.floats(pack(kind, X.reshape(-1, form.block)).reshape(-1)).reshape(X.shape)
    widest = np.abs(X).max(axis=1, keepdims=True)
    fair = widest[:, 0] > 0.05  # in smaller blocks the float16 scales lose digits
    error = (np.abs(back - X)[fair] / widest[fair]).max()
    assert error <= WORST[kind]
    theirs = gguf.quants.dequantize(
        pack(kind, X.reshape(-1, form.block)).reshape(len(X), -1), gguf.GGMLQuantizationType[kind]
    )
    assert np.array_equal(theirs, back)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_packing_what_was_packed_changes_nothing(kind: str) -> None:
    """Where the format can hold a block at all: scales below 6e-8 become 0."""
    form, x = BY_NAME[kind], X[np.abs(X).max(axis=1) > 1e-4]
    once = pack(kind, x.reshape(-1, form.block))
    again = pack(kind, form.floats(once.reshape(-1)).reshape(-1, form.block))
    if kind in ("Q4_0", "Q4_1", "Q8_0"):  # a block of zeros may have a scale of -0
        once, again = (form.floats(part.reshape(-1)) for part in (once, again))
    assert np.array_equal(once, again)


def test_bf16_rounds_as_torch_does() -> None:
    import torch

    x = np.random.default_rng(1).integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    ours = pack("BF16", x[:, None]).reshape(-1).view("<i2")
    assert np.array_equal(ours, torch.from_numpy(x).bfloat16().view(torch.int16).numpy())
