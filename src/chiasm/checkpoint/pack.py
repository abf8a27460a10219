"""Float32 values into GGUF's number formats, bit for bit as ggml's reference code does it.

The reference adds up in float32, one value after another, and so do we, over many blocks at once:
another order of additions would now and then choose another scale. Source: ggml-quants.c
(quantize_row_*_ref, make_qkx2_quants, make_qx_quants).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.checkpoint.quants import Bytes, Floats

_EPS = np.float32(1e-15)
Ints = NDArray[np.int32]
Numbers = NDArray[Any]  # float32 throughout; numpy's types lose that in np.where


def _rounded(x: Numbers) -> Ints:
    """Nearest whole numbers, halves to even, by the reference's own trick with the mantissa."""
    bits = (x + np.float32(12582912)).view(np.int32)
    return (bits & 0x007FFFFF) - 0x00400000


def _half(x: Floats) -> Bytes:
    return np.ascontiguousarray(x.reshape(-1, 1).astype("<f2")).view(np.uint8)


def _inverse(d: Floats) -> Floats:
    return np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)


def _two_nibbles(q: NDArray[Any]) -> Bytes:
    """[blocks, 2n] small numbers -> [blocks, n] bytes: the first half low, the second high."""
    low, high = np.split(q.astype(np.uint8), 2, axis=1)
    packed: Bytes = low | high << np.uint8(4)
    return packed


def _bf16(x: Floats) -> Bytes:
    bits = np.ascontiguousarray(x).view(np.uint32)
    even = bits + np.uint32(0x7FFF) + (bits >> 16 & 1)
    return (even >> 16).astype("<u2").view(np.uint8)


def _q8_0(x: Floats) -> Bytes:
    d = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    scaled = x * _inverse(d)
    away = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))  # halves away from zero
    return np.concatenate((_half(d), away.astype(np.int8).view(np.uint8)), axis=1)


def _q4_0(x: Floats) -> Bytes:
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)
    d = largest / np.float32(-8)
    q = np.minimum((x * _inverse(d) + np.float32(8.5)).astype(np.int8), 15)
    return np.concatenate((_half(d), _two_nibbles(q)), axis=1)


def _q4_1(x: Floats) -> Bytes:
    low = x.min(axis=1, keepdims=True)
    d = (x.max(axis=1, keepdims=True) - low) / np.float32(15)
    q = np.minimum(((x - low) * _inverse(d) + np.float32(0.5)).astype(np.int8), 15)
    return np.concatenate((_half(d), _half(low), _two_nibbles(q)), axis=1)


def _sum(rows: Floats) -> Floats:
    """Add the rows of [n, parts], the first one first."""
    total = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def _fit_line(x: Floats) -> tuple[Floats, Floats, Ints]:
    """Find scale, minimum and numbers 0..15 for the columns of [32, parts] (make_qkx2_quants).

    Tries 21 scales; each time scale and minimum are then those of weighted least squares.
    """
    weight = np.sqrt(_sum(x * x) / np.float32(32)) + np.abs(x)
    low, high = np.minimum(x.min(axis=0), np.float32(0)), x.max(axis=0)
    flat = high == low
    sum_w, sum_x = _sum(weight), _sum(weight * x)

    def numbers(inverse: Floats, least: Floats) -> Ints:
        return np.clip(_rounded(inverse * (x - least)), 0, 15)

    def error(scale: Numbers, least: Numbers, q: Ints) -> Floats:
        off = scale * q.astype(np.float32) + least - x
        return _sum(weight * (off * off))

    inverse = np.float32(15) / (high - low)
    scale, least, q = np.float32(1) / inverse, low, numbers(inverse, low)
    best = error(scale, least, q)
    for step in range(21):
        stretch = np.float32(-1) + np.float32(0.1) * np.float32(step) + np.float32(15)
        tried = numbers(stretch / (high - least), least)  # from the best minimum so far
        f = tried.astype(np.float32)
        sum_l, sum_l2, sum_xl = _sum(weight * f), _sum(weight * f * f), _sum(weight * f * x)
        det = sum_w * sum_l2 - sum_l * sum_l
        new_scale = (sum_w * sum_xl - sum_x * sum_l) / det
        new_least = (sum_l2 * sum_x - sum_l * sum_xl) / det
        above = new_least > 0
        new_least = np.where(above, np.float32(0), new_least)
        new_scale = np.where(above, sum_xl / sum_l2, new_scale)
        now = error(new_scale, new_least, tried)
        better = (det > 0) & (now < best)
        best, scale = np.where(better, now, best), np.where(better, new_scale, scale)
        least, q = np.where(better, new_least, least), np.where(better, tried, q)
    scale, q = np.where(flat, np.float32(0), scale), np.where(flat, 0, q)
    return scale, -np.where(flat, low, least), q


def _shared(values: Floats) -> tuple[Floats, Ints]:
    """Write eight scales [blocks, 8] as numbers 0..63 times a common float16; returns it and them."""
    top = np.maximum(values.max(axis=1, keepdims=True), np.float32(0))
    inverse = np.divide(np.float32(63), top, out=np.zeros_like(top), where=top > 0)
    small = np.minimum(_rounded(inverse * values) & 255, 63)
    return (top / np.float32(63)).astype(np.float16).astype(np.float32), small


def _q4_k(x: Floats) -> Bytes:
    columns = np.ascontiguousarray(x.reshape(-1, 32).T)
    scales, minima, q = _fit_line(columns)
    (d, ls), (dm, lm) = _shared(scales.reshape(-1, 8)), _shared(minima.reshape(-1, 8))
    step, low = (d * ls.astype(np.float32)).reshape(-1), (dm * lm.astype(np.float32)).reshape(-1)
    again = np.clip(_rounded((columns + low) / np.where(step == 0, np.float32(1), step)), 0, 15)
    q = np.where(step == 0, q, again)
    first = ls[:, :4] | ls[:, 4:] >> 4 << 6
    second = lm[:, :4] | lm[:, 4:] >> 4 << 6
    third = (ls[:, 4:] & 15) | (lm[:, 4:] & 15) << 4
    packed = _two_nibbles(q.T.reshape(-1, 64)).reshape(len(x), 128)
    twelve = np.concatenate((first, second, third), axis=1).astype(np.uint8)
    return np.concatenate((_half(d), _half(dm), twelve, packed), axis=1)


def _fit_scale(x: Floats) -> tuple[Floats, Ints]:
    """Find a scale and numbers 0..63 (32 stands for 0) for the columns of [16, parts].

    Tries 19 scales, errors weighted by the squares of the values (make_qx_quants with rmse_type 1).
    """
    size = np.abs(x)
    largest = np.take_along_axis(x, size.argmax(axis=0)[None], axis=0)[0]
    empty = size.max(axis=0) < _EPS
    largest = np.where(empty, np.float32(1), largest)
    weight = x * x

    def tried(step: int) -> tuple[Ints, Floats, Floats]:
        inverse = -(np.float32(32) + np.float32(0.1) * np.float32(step)) / largest
        q = np.clip(_rounded(inverse * x), -32, 31)
        f = q.astype(np.float32)
        return q, _sum(weight * x * f), _sum(weight * f * f)

    q, along, square = tried(0)
    scale = np.divide(along, square, out=np.zeros_like(along), where=square != 0)
    best = scale * along
    for step in (*range(-9, 0), *range(1, 10)):
        other, along, square = tried(step)
        better = (square > 0) & (along * along > best * square)
        fitted = np.divide(along, square, out=np.zeros_like(along), where=square != 0)
        scale = np.where(better, fitted, scale)
        best, q = np.where(better, fitted * along, best), np.where(better, other, q)
    return np.where(empty, np.float32(0), scale), np.where(empty, 0, q + 32)


def _q6_k(x: Floats) -> Bytes:
    columns = np.ascontiguousarray(x.reshape(-1, 16).T)
    scale, q = _fit_scale(columns)
    scales = scale.reshape(-1, 16)
    top = np.take_along_axis(scales, np.abs(scales).argmax(axis=1)[:, None], axis=1)
    empty = np.abs(top) < _EPS
    inverse = np.float32(-128) / np.where(empty, np.float32(1), top)
    d = (np.float32(1) / inverse).astype(np.float16).astype(np.float32)
    small = np.minimum(_rounded(inverse * scales), 127).astype(np.int8)
    step = (d * small.astype(np.float32)).reshape(-1)
    again = np.clip(_rounded(columns / np.where(step == 0, np.float32(1), step)), -32, 31) + 32
    q = np.where(step == 0, q, again).T.reshape(-1, 2, 4, 32)
    low = (q[:, :, :2] & 15) | (q[:, :, 2:] & 15) << 4
    high = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    parts = (low.reshape(-1, 128), high.reshape(-1, 64), small.view(np.uint8), _half(d))
    packed = np.concatenate([part.astype(np.uint8) for part in parts], axis=1)
    return np.where(empty, np.uint8(0), packed)


PACKERS: Mapping[str, Callable[[Floats], Bytes]] = MappingProxyType(
    {
        "F32": lambda x: np.ascontiguousarray(x, "<f4").view(np.uint8),
        "F16": lambda x: np.ascontiguousarray(x.astype("<f2")).view(np.uint8),
        "BF16": _bf16,
        "Q8_0": _q8_0,
        "Q4_0": _q4_0,
        "Q4_1": _q4_1,
        "Q4_K": _q4_k,
        "Q6_K": _q6_k,
    }
)
"""GGUF's name of a format -> [blocks, values] float32 to [blocks, bytes]."""


def pack(kind: str, blocks: Floats) -> Bytes:
    """Return the bytes of whole blocks [blocks, values] in one of the formats of PACKERS."""
    # Where there is nothing to divide by, the quotient is computed and not taken.
    with np.errstate(all="ignore"):
        return PACKERS[kind](blocks)
