"""GGUF's number formats: blocks of small integers with shared scales, turned back into float32.

In a block of 32, value = scale * q (+ minimum); in a block of 256 (the "K" kinds) scales and minima
of its parts are themselves small integers times a scale. Source: ggml-common.h and ggml-quants.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """One number format."""

    name: str
    block: int
    """Values of a block."""
    bytes: int
    """Bytes of a block."""
    expand: Callable[[Bytes], Floats]
    """[blocks, bytes] -> [blocks, values]."""

    def floats(self, raw: Bytes) -> Floats:
        """Return the float32 values of whole blocks, as a fresh flat array."""
        return self.expand(raw.reshape(-1, self.bytes)).reshape(-1)


def _plain(kind: str) -> Callable[[Bytes], Floats]:
    return lambda blocks: np.ascontiguousarray(blocks).view(kind).astype(np.float32)


def _bf16(blocks: Bytes) -> Floats:
    return (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at byte `at` of every block, as [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """[blocks, n] bytes -> [blocks, 2n]: all low halves, then all high halves."""
    return np.concatenate((packed & 15, packed >> 4), axis=1)


def _fifth_bits(packed: Bytes) -> Bytes:
    """[blocks, 4] bytes -> [blocks, 32] bits, each worth 16."""
    return np.unpackbits(packed, axis=1, bitorder="little") * np.uint8(16)


def _q8_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8)


def _q4_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).view(np.int8) - np.int8(8))


def _q4_1(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]) + _half(blocks, 2)


def _q5_0(blocks: Bytes) -> Floats:
    q = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return _half(blocks, 0) * (q.view(np.int8) - np.int8(16))


def _q5_1(blocks: Bytes) -> Floats:
    q = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _half(blocks, 0) * q + _half(blocks, 2)


def _scales_and_minima(blocks: Bytes) -> tuple[Floats, Floats]:
    """The eight scales and minima [blocks, 8, 1] of a K block, six bits each in 12 bytes."""
    d, m, high = np.split(blocks[:, 4:16], 3, axis=1)
    scale = np.concatenate((d & 63, (high & 15) | (d >> 6) << 4), axis=1)
    minimum = np.concatenate((m & 63, (high >> 4) | (m >> 6) << 4), axis=1)
    return (_half(blocks, 0) * scale)[:, :, None], (_half(blocks, 2) * minimum)[:, :, None]


def _quarters(packed: Bytes) -> Bytes:
    """[blocks, 128] bytes -> [blocks, 8, 32]: of each 32 bytes the low halves, then the high."""
    four = packed.reshape(-1, 4, 1, 32)
    return np.concatenate((four & 15, four >> 4), axis=2).reshape(-1, 8, 32)


def _q4_k(blocks: Bytes) -> Floats:
    scale, minimum = _scales_and_minima(blocks)
    return scale * _quarters(blocks[:, 16:]) - minimum


def _q5_k(blocks: Bytes) -> Floats:
    scale, minimum = _scales_and_minima(blocks)
    place = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    fifth = (blocks[:, 16:48].reshape(-1, 1, 32) >> place & 1) << 4
    return scale * (_quarters(blocks[:, 48:]) | fifth) - minimum


def _q6_k(blocks: Bytes) -> Floats:
    packed = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate((packed & 15, packed >> 4), axis=2).reshape(-1, 8, 32)
    place = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> place & 3).reshape(-1, 8, 32)
    q = (low | high << 4).view(np.int8) - np.int8(32)
    scale = _half(blocks, 208) * blocks[:, 192:208].view(np.int8)
    return scale[:, :, None] * q.reshape(-1, 16, 16)


KINDS = {
    0: Kind("F32", 1, 4, _plain("<f4")),
    1: Kind("F16", 1, 2, _plain("<f2")),
    2: Kind("Q4_0", 32, 18, _q4_0),
    3: Kind("Q4_1", 32, 20, _q4_1),
    6: Kind("Q5_0", 32, 22, _q5_0),
    7: Kind("Q5_1", 32, 24, _q5_1),
    8: Kind("Q8_0", 32, 34, _q8_0),
    12: Kind("Q4_K", 256, 144, _q4_k),
    13: Kind("Q5_K", 256, 176, _q5_k),
    14: Kind("Q6_K", 256, 210, _q6_k),
    30: Kind("BF16", 1, 2, _bf16),
}
"""The formats that this reader knows, by GGUF's number."""
