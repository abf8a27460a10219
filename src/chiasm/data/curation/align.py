"""How different two small pictures are once one lies on the other: cropped, framed or brighter is the same.

    A ──────────────────────────┐
    B ─► shift, stretch ─► B' ──┴─► A - B', averaged over 5 x 5 windows ─► the greatest, ÷ contrast
          ▲  Lucas, Kanade 1981 │
          └─── 5 times ─────────┘

Averages of signed differences forgive edges that lie half a pixel off, and noise; they do not forgive
another colour or another thing in one place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chiasm.data.curation.thumbs import LUMA, SIDE, Floats, resampling

ROUNDS = 5
MOST = 0.14
"""How far B may be shifted or stretched, in parts of the side."""
GAIN = (0.8, 1.25)
LIFT = 40.0
"""How far contrast (a factor) and brightness (in steps of 255) of B may be changed."""
WINDOW = 5
CALM = 16.0
"""Contrast below which differences are not made to look larger: noise of a nearly blank picture."""
MANY = 256
"""Pairs that are compared at a time."""


def _averages() -> Floats:
    """Averages [N, S] of WINDOW neighbours, without the outermost pixels, where a border may shine in."""
    count = SIDE - 2 - WINDOW + 1
    first = np.arange(count)[:, None] + 1
    place = np.arange(SIDE)
    return (((place >= first) & (place < first + WINDOW)) / WINDOW).astype(np.float32)


_WINDOWS = _averages()
_U = ((np.arange(SIDE) + 0.5) / SIDE - 0.5).astype(np.float32)


def differences(
    thumbs: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64]
) -> Floats:
    """Return how different thumbs[left] and thumbs[right] are, float32 [P]; 0 for equal ones.

    It is the length of the colour difference (in RGB, of 255) of the worst window, divided by the
    pictures' contrast. Shift and stretch up to 14 %, contrast and brightness count for little.
    """
    out = np.zeros(len(left), np.float32)
    for at in range(0, len(left), MANY):
        some = slice(at, at + MANY)
        out[some] = _differences(_planes(thumbs[left[some]]), _planes(thumbs[right[some]]))
    return out


def _planes(thumbs: NDArray[np.uint8]) -> Floats:
    """Red, green and blue apart: [3, P, S, S]."""
    return np.ascontiguousarray(thumbs.transpose(3, 0, 1, 2), np.float32)


def _differences(one: Floats, other: Floats) -> Floats:
    luma = np.array(LUMA, np.float32)
    place, light = _aligned(np.tensordot(luma, one, 1), np.tensordot(luma, other, 1))
    down, right, inside = _reading(place)
    laid = down @ other @ right.transpose(0, 2, 1)
    lit = np.clip((one - 128) * light[:, 0, None, None] + (128 + light[:, 1, None, None]), 0, 255)
    apart = _WINDOWS @ ((laid - lit) * inside) @ _WINDOWS.T
    worst = np.sqrt(np.square(apart).sum(axis=0).max(axis=(1, 2)))
    return worst / (np.minimum(_contrast(one), _contrast(other)) + CALM)


def _contrast(planes: Floats) -> Floats:
    """Standard deviation of the channel that has the greatest."""
    flat = planes.reshape(*planes.shape[:2], -1)
    return flat.std(axis=2).max(axis=0)


def _aligned(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Where to read B so that it shows A: stretches and shifts [P, 4] (right, down), and A's light [P, 2].

    Gauss-Newton on the sum of squares, with the gradients of A for those of B (Baker, Matthews 2004).
    """
    down, right = np.gradient(a, axis=(1, 2))
    columns = np.stack(
        (
            right * _U * SIDE,
            down * _U[:, None] * SIDE,
            right * SIDE,
            down * SIDE,
            a - 128,
            np.ones_like(a),
        ),
        axis=1,
    ).reshape(len(a), 6, -1)
    normal = columns @ columns.transpose(0, 2, 1)
    inverse = np.linalg.inv(normal + np.diag(np.array((1e3, 1e3, 1e3, 1e3, 1e3, 1e-1), np.float32)))
    place = np.zeros((len(a), 4), np.float32)
    light = np.zeros((len(a), 2), np.float32)
    for _ in range(ROUNDS):
        rows, cols, inside = _reading(place)
        rest = ((rows @ b @ cols.transpose(0, 2, 1) - a) * inside).reshape(len(a), -1, 1)
        step = (inverse @ (columns @ rest))[:, :, 0]
        place = np.clip(place - np.clip(step[:, :4], -0.04, 0.04), -MOST, MOST)
        light[:, 0] = np.clip(1 + step[:, 4], *GAIN)
        light[:, 1] = np.clip(step[:, 5], -LIFT, LIFT)
    return place, light


def _reading(place: Floats) -> tuple[Floats, Floats, Floats]:
    """Matrices that read rows and columns of B at a place [P, S, S], and where that is inside B."""
    at = (0.5 + place[:, 2:, None] + _U * (1 + place[:, :2, None])) * SIDE - 0.5
    within = ((at >= -0.5) & (at <= SIDE - 0.5)).astype(np.float32)
    read = resampling(at)
    return read[:, 1], read[:, 0], within[:, 1, :, None] * within[:, 0, None, :]
