"""An independent reader of drawn pictures: decodes them and counts coloured spots, knowing no drawer."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

NAMED = {
    "red": (214, 32, 36),
    "orange": (247, 134, 24),
    "yellow": (248, 222, 44),
    "green": (38, 158, 58),
    "blue": (38, 84, 214),
    "purple": (128, 44, 168),
    "pink": (250, 138, 190),
    "brown": (124, 72, 32),
    "black": (22, 22, 24),
    "white": (250, 250, 250),
    "grey": (134, 136, 140),
    "turquoise": (40, 196, 196),
}
NEAR = 55
"""How far a pixel may be from the middle of a colour: its shade and what JPEG does to it."""


_MIDDLES = np.array(list(NAMED.values()), np.int16)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int16)


@lru_cache(maxsize=64)
def frames(data: bytes) -> tuple[np.ndarray, ...]:
    """The frames of an animation; equal ones that follow each other may have become one."""
    opened = Image.open(io.BytesIO(data))
    every = (np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(opened))
    return tuple(frame.astype(np.int16) for frame in every)


def where(picture: np.ndarray, colour: str) -> np.ndarray:
    """The pixels [H, W] that are closer to this colour than to any other, and close."""
    number = list(NAMED).index(colour)
    close = np.abs(picture - _MIDDLES[number]).max(-1) < NEAR
    candidates = picture[close]
    apart = np.abs(candidates[:, None] - _MIDDLES).max(-1)
    close[close] = apart.argmin(-1) == number
    return close


def spots(marked: np.ndarray, least: int = 40) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of connected regions of at least so many pixels."""
    todo = set(map(tuple, np.argwhere(marked).tolist()))
    found = []
    while todo:
        edge = [todo.pop()]
        region = list(edge)
        while edge:
            y, x = edge.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & todo
            todo -= near
            edge += near
            region += near
        if len(region) >= least:
            ys, xs = zip(*region, strict=True)
            found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return found


def middle(marked: np.ndarray) -> Any:
    """The mean (x, y) of marked pixels; None where there are too few."""
    ys, xs = np.nonzero(marked)
    return (xs.mean(), ys.mean()) if len(xs) >= 40 else None
