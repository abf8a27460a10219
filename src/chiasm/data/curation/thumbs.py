"""Small pictures that stand for large ones: 32 x 32 pixels in colour, and a 64-bit hash of their shapes.

picture ─► thumb [32, 32, 3] ─► grey ─► DCT-II ─► the 64 lowest waves: clearly positive? ─► hash
                     └─► ten parts of it, 95 % and 90 % ─► the hashes that crops would have
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from chiasm.data.curation.step import Pixels

SIDE = 32
"""Height and width of a thumb."""
VIEWS = (
    (1.0, 0.0, 0.0),
    (0.9, 0.0, 0.0),
    *((0.95, 0.025 * right, 0.025 * down) for right in (0, -1, 1) for down in (0, -1, 1)),
)
"""Parts of a picture that are hashed: their side, and how far right and down of its middle theirs is."""
CLEAR = 0.2
"""How strong a wave must be, in mean strengths: those that a symmetric picture lacks would be noise."""
WAVES = 12
"""Frequencies in each direction that are looked at."""
FRAME = 0.06
"""Part of each side that may be a frame, rows of one colour each, which is cut off."""
NOISE = 24
"""How far a pixel of a frame may be from its colour (JPEG rings)."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
Floats = NDArray[np.float32]


def thumb(pixels: Pixels) -> Pixels:
    """Return a picture without its frame, stretched to SIDE x SIDE, antialiased: uint8 [SIDE, SIDE, 3]."""
    from PIL import Image

    left, upper = _frame(pixels.transpose(1, 0, 2)), _frame(pixels)
    right, lower = _frame(pixels.transpose(1, 0, 2)[::-1]), _frame(pixels[::-1])
    height, width, _ = pixels.shape
    box = (left, upper, width - right, height - lower)
    shape = (SIDE, SIDE)
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR, box=box))


def _frame(rows: Pixels) -> int:
    """How many of the first rows are of one colour each, at most FRAME of all, frames beside them aside."""
    side = round(rows.shape[1] * FRAME)
    strip = rows[: max(1, round(len(rows) * FRAME)), side : rows.shape[1] - side].astype(np.int16)
    colours = np.median(strip, axis=1, keepdims=True)
    plain = (np.abs(strip - colours) <= NOISE).all(axis=(1, 2))
    return len(strip) if plain.all() else int(plain.argmin())


def greys(thumbs: NDArray[np.uint8]) -> Floats:
    """Return the luma of thumbs [N, S, S, 3], 0 to 255."""
    return thumbs.astype(np.float32) @ np.array(LUMA, np.float32)


def hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the hashes of the VIEWS of thumbs [N, S, S, 3], the whole first: uint64 [N, len(VIEWS)].

    Bit i tells whether wave i, from low to high frequency without the constant one, is positive and
    not weak. It is pHash (Zauner 2010) with another threshold: above the median, half of the bits of
    a symmetric picture are noise. Brightness and contrast make no difference.
    """
    grey = greys(thumbs)
    out = np.empty((len(grey), len(VIEWS)), np.uint64)
    bit = np.uint64(1) << np.arange(64, dtype=np.uint64)
    for number, (side, right, down) in enumerate(VIEWS):
        found = _waves(side, down) @ grey @ _waves(side, right).T
        lowest = found.reshape(len(grey), -1)[:, _lowest()]
        strong = lowest > CLEAR * np.abs(lowest).mean(axis=1, keepdims=True)
        out[:, number] = (strong * bit).sum(axis=1, dtype=np.uint64)
    return out


@cache
def _waves(side: float, shift: float) -> Floats:
    """Cosines [F, SIDE] that transform a part of a row, read at SIDE points."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    cosines = np.cos(math.pi * np.outer(np.arange(WAVES), place))
    at = (0.5 + shift + (place - 0.5) * side) * SIDE - 0.5
    return (cosines @ resampling(at[None])[0]).astype(np.float32)


@cache
def _lowest() -> NDArray[np.int64]:
    """The 64 lowest of WAVES x WAVES but the constant one, by the sum of their frequencies."""
    down, right = np.divmod(np.arange(WAVES**2), WAVES)
    order = np.lexsort((down, np.maximum(down, right), down + right))
    return order[1:65]


def resampling(at: NDArray[np.floating]) -> Floats:
    """Return matrices [N, len, SIDE] that read a row of SIDE points at `at` [N, len], linearly; what lies
    outside is the nearest point."""
    low = np.clip(np.floor(at), 0, SIDE - 2)
    share = np.clip(at - low, 0, 1)
    out = np.zeros((*at.shape, SIDE), np.float32)
    np.put_along_axis(out, low.astype(np.int64)[..., None], (1 - share)[..., None], -1)
    np.put_along_axis(out, low.astype(np.int64)[..., None] + 1, share[..., None], -1)
    return out
