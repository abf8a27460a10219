"""Whether a picture can teach anything: its size, its shape, and whether anything is in it.

    frames ─► width, height ─► too_small, too_large, too_thin
           ─► 64 x 64 grey  ─► blank (one colour), noise (no two neighbours alike)
    bytes  ─► per pixel     ─► too_few_bytes

What cannot be decoded never comes here: it is a MediaError, and counted as such.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from chiasm.base.config import Settings
from chiasm.data.curation.step import Item, Pixels, Share, Tools, Verdict
from chiasm.inputs.message import Picture

REASONS = {
    "too_small": "the shorter side has fewer pixels than wanted",
    "too_large": "the longer side has more pixels than wanted",
    "too_thin": "one side is too many times as long as the other",
    "blank": "nearly all of the picture is one colour",
    "noise": "neighbouring pixels have nothing to do with each other",
    "too_few_bytes": "the file is so small for its pixels that hardly anything can be in it",
}
_SMALL = 96


class PictureSettings(Settings):
    """Keep pictures that are large enough and show something."""

    kind: Literal["picture"] = "picture"
    """Image quality."""
    least: PositiveInt = 64
    """Fewest pixels of the shorter side."""
    most: PositiveInt = 20_000
    """Most pixels of the longer side."""
    aspect: PositiveFloat = 5.0
    """How many times as long as the shorter side the longer one may be."""
    blank: Share = 0.995
    """A picture is blank when more than this share of it is within four steps of 256 of one colour."""
    noise: Share = 0.1
    """A picture is noise when neighbouring pixels correlate less than this."""
    bytes_per_pixel: NonNegativeFloat = 0.002
    """Fewest bytes of the file for each of its pixels."""

    def step(self, tools: Tools) -> Pictures:
        """Return the step."""
        return Pictures(self)


@dataclass(frozen=True)
class Pictures:
    """Drops pictures, and videos by their first frame's shape; writes the facts `width` and `height`."""

    settings: PictureSettings
    name: str = "picture"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Verdict:
        s = self.settings
        height, width = item.frames[0].shape[:2]
        short, long = sorted((height, width))
        facts = {"width": width, "height": height}
        note = f"{width} x {height}"
        if short < s.least:
            return Verdict("too_small", note, facts=facts)
        if long > s.most:
            return Verdict("too_large", note, facts=facts)
        if long > s.aspect * short:
            return Verdict("too_thin", note, facts=facts)
        if (share := min(map(plain_share, item.frames))) > s.blank:
            return Verdict("blank", f"{share:.1%} one colour", facts=facts)
        if (likeness := max(map(neighbours_alike, item.frames))) < s.noise:
            return Verdict("noise", f"correlation {likeness:.2f}", facts=facts)
        if isinstance(item.pair.shown, Picture):
            density = _size(item.pair.shown) / (width * height)
            if density < s.bytes_per_pixel:
                return Verdict("too_few_bytes", f"{density:.4f} bytes per pixel", facts=facts)
        return Verdict(facts=facts)


def plain_share(pixels: Pixels, within: int = 4) -> float:
    """Return which share of a picture [H, W, 3] differs by at most `within` from its middle colour."""
    middle = np.median(pixels[:: _every(pixels, 0), :: _every(pixels, 1)], axis=(0, 1))
    far = np.zeros(pixels.shape[:2], bool)
    for channel in range(3):
        low, high = middle[channel] - within, middle[channel] + within
        far |= (pixels[:, :, channel] < low) | (pixels[:, :, channel] > high)
    return 1.0 - float(far.mean())


def neighbours_alike(pixels: Pixels) -> float:
    """Return how pixels correlate with their right and lower neighbours, -1 to 1, the better of both.

    Measured at full size in the middle; 1 where everything is one colour.
    """
    height, width = pixels.shape[:2]
    top, left = max(0, height - 256) // 2, max(0, width - 256) // 2
    grey = pixels[top : top + 256, left : left + 256].mean(axis=2)
    return max(_correlation(grey[:, 1:], grey[:, :-1]), _correlation(grey[1:], grey[:-1]))


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if one.size < 2:
        return 1.0
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return 1.0 if size < 1e-6 else float((a * b).sum()) / size


def _every(pixels: Pixels, axis: int) -> int:
    """A stride that leaves about a hundred rows or columns."""
    return max(1, pixels.shape[axis] // _SMALL)


def _size(picture: Picture) -> int:
    """How many bytes the encoded picture has."""
    if picture.data is not None:
        return len(picture.data)
    return os.path.getsize(picture.path or "")
