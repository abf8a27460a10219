"""Videos to pixels: which frames are taken, and each of them as a picture.

durations  100  100  400            100  100      ms that each frame of an animation is shown
uniform    │    ·    ·    │    ·    ·    │        so many moments, in the middle of equal parts
fps        ·         ·         ·         ·        a moment every 1 / fps seconds, from the start
stride     0         2         4                  every stride-th frame, whatever it lasts

The same rule is for training and for serving: a model that learned from one frame a second does not
know what it sees when it is shown ten. It is readable without torch, for the command line's help.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.inputs.media import ImageDecoder, MediaError
from chiasm.inputs.message import Picture, Video

if TYPE_CHECKING:
    from torch import Tensor

    from chiasm.inputs.tiles import AnyTransform

_UNTOLD = 100
"""Milliseconds of a frame whose file tells none: what browsers take."""


class FrameRule(Settings):
    """Which frames of a video are looked at."""

    by: Literal["uniform", "fps", "stride"] = "uniform"
    """At moments spread evenly over the whole, at a rate of time, or every so many frames."""
    most: int = Field(16, ge=1, le=4096)
    """How many of them; by fps and by stride, what would be more is thinned evenly to this."""
    fps: float = Field(1.0, gt=0, le=1000)
    """Frames a second, by fps."""
    stride: int = Field(1, ge=1)
    """Every so many frames, by stride."""

    def chosen(self, durations: Sequence[int]) -> list[int]:
        """Return the numbers of the frames to take, rising and each once.

        durations  milliseconds that each frame is shown; 0 where it is untold

        Fewer than `most` come of a video that has fewer frames, or frames that last long: none is
        taken twice. Raises ValueError for a video without frames.
        """
        if not durations:
            raise ValueError("a video has at least one frame")
        ends = list(accumulate(duration or _UNTOLD for duration in durations))
        if self.by == "stride":
            found = list(range(0, len(ends), self.stride))
        elif self.by == "fps":
            # A frame is shown from the end of the one before: is there a moment k / fps in between?
            rate = self.fps / 1000
            starts = [0, *ends[:-1]]
            pairs = enumerate(zip(starts, ends, strict=True))
            found = [i for i, (start, end) in pairs if math.ceil(start * rate) < end * rate]
        else:
            moments = ((2 * k + 1) * ends[-1] / (2 * self.most) for k in range(self.most))
            found = list(dict.fromkeys(bisect_right(ends, moment) for moment in moments))
        if len(found) <= self.most:
            return found
        return [found[k * len(found) // self.most] for k in range(self.most)]


def read_clip(
    decoder: ImageDecoder, transform: AnyTransform, video: Video, rule: FrameRule
) -> Tensor:
    """Return a video's chosen frames as tiles [frames, rows, columns, 3, S, S] float32, normalised.

    Raises MediaError for what cannot be decoded, UserError for frames of different sizes.
    """
    import torch

    if isinstance(video.source, Picture):
        data = video.source.read()
        chosen = rule.chosen(_durations(decoder, data, video.name))
        frames = list(decoder.frames(data, chosen, video.name))
    else:
        pictures = [video.source[number] for number in rule.chosen([0] * len(video.source))]
        frames = [decoder.decode(picture.read(), picture.name) for picture in pictures]
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        shown = sorted(f"{width} x {height}" for height, width, _ in sizes)
        raise UserError(
            f"The frames of a video are of different sizes ({', '.join(shown)}); save them alike."
        )
    return torch.stack([transform.pixels(frame) for frame in frames])


def _durations(decoder: ImageDecoder, data: bytes, name: str) -> list[int]:
    try:
        return decoder.durations(data, name)
    except MediaError as error:
        if error.reason == "not_a_picture":
            raise MediaError("not_a_video", name) from None
        raise
