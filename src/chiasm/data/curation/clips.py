"""Whether a video is one to learn from: its length, its motion, and what is written over it.

    times, seconds ─► too_short, too_long
    frames ─► small grey ─► differences of neighbours ─► mean of all cells: cuts, flicker
           │                                          └► the busiest cells: motion, still
           └► Tools.read_text on some ─► overlaid_text

The Llama 3 paper (section 7.1.2) filters by overlaid text and by a motion score that it does not publish;
ours is the absolute difference of neighbouring frames where it is largest. Captions: see `alignment`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.picture import plain_share
from chiasm.data.curation.step import KEPT, Item, Pixels, Share, Tools, Verdict
from chiasm.inputs.message import Video

REASONS = {
    "too_short": "the video is shorter than wanted",
    "too_long": "the video is longer than wanted",
    "blank_frames": "too large a share of the frames show one colour only",
    "still": "nothing moves: the video could be a picture",
    "flicker": "most frames have nothing to do with the one before",
    "overlaid_text": "too large a share of the frames has much text written over it",
}
_GRID = 32
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_BUSY = _GRID * _GRID // 100


class ClipSettings(Settings):
    """Keep videos in which something happens."""

    kind: Literal["clip"] = "clip"
    """Video quality."""
    least_seconds: NonNegativeFloat = 1.0
    """Shortest video."""
    most_seconds: PositiveFloat = 600.0
    """Longest video."""
    blank_frames: Share = 0.5
    """Largest share of frames of one colour, such as a black beginning."""
    motion: Share = 0.02
    """Smallest difference of neighbouring frames in their busiest hundredth, 0 (still) to 1."""
    cut: Share = 0.15
    """A mean difference of neighbouring frames, 0 to 1, that counts as a cut."""
    cuts: Share = 0.5
    """Largest share of neighbours with a cut between them."""
    text: Share | None = None
    """Largest share of frames with overlaid text; null to read none. Needs Tools.read_text."""
    text_characters: PositiveInt = 20
    """Letters and digits from which on a frame counts as one with text."""
    text_frames: PositiveInt = 4
    """How many frames are read, spread over the video."""

    def step(self, tools: Tools) -> Clips:
        """Return the step; UserError when text counts and nothing reads it."""
        if self.text is not None and tools.read_text is None:
            raise UserError(
                "Nothing reads the text over videos: pass a function as Tools.read_text (rapid_reader() is "
                "one: pip install 'chiasm[ocr]'), or set `text` of the step \"clip\" to null."
            )
        return Clips(self, tools.read_text)


@dataclass(frozen=True)
class Clips:
    """Drops videos, never pictures; writes `seconds`, `motion`, `cuts` and, where read, `text_share`."""

    settings: ClipSettings
    read: Callable[[Pixels], str] | None = None
    name: str = "clip"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) if isinstance(item.pair.shown, Video) else KEPT for item in items]

    def _judge(self, item: Item) -> Verdict:
        s = self.settings
        changes = differences(item.frames)
        motion = round(float(changes[:, -_BUSY:].mean()), 5) if len(changes) else 0.0
        cuts = int((changes.mean(axis=1) > s.cut).sum())
        facts = {"seconds": round(item.seconds, 3), "motion": motion, "cuts": cuts}
        if item.seconds < s.least_seconds:
            return Verdict("too_short", f"{item.seconds:.2f} s", facts=facts)
        if item.seconds > s.most_seconds:
            return Verdict("too_long", f"{item.seconds:.0f} s", facts=facts)
        blank = float(np.mean([plain_share(frame) > 0.995 for frame in item.frames]))
        if blank > s.blank_frames:
            return Verdict("blank_frames", f"{blank:.0%} of the frames", facts=facts)
        if motion < s.motion:
            return Verdict("still", f"motion {motion:.4f}", facts=facts)
        if len(changes) and cuts > s.cuts * len(changes):
            return Verdict("flicker", f"{cuts} cuts in {len(item.frames)} frames", facts=facts)
        if self.read is None or s.text is None:
            return Verdict(facts=facts)
        share = round(self._text_share(item.frames), 4)
        reason = "overlaid_text" if share > s.text else ""
        return Verdict(reason, f"text on {share:.0%}", facts={**facts, "text_share": share})

    def _text_share(self, frames: Sequence[Pixels]) -> float:
        """Which share of the frames that are read has much text."""
        assert self.read is not None
        count = min(self.settings.text_frames, len(frames))
        places = [(2 * i + 1) * len(frames) // (2 * count) for i in range(count)]
        texts = [self.read(frames[place]) for place in places]
        long = [sum(c.isalnum() for c in t) >= self.settings.text_characters for t in texts]
        return sum(long) / len(long)


def differences(frames: Sequence[Pixels]) -> NDArray[np.float64]:
    """Return how much the cells of each frame differ from those of the one before: [F - 1, 1024], 0 to 1.

    The cells of a grid of 32 x 32, each the mean of its grey pixels, so that grain and the noise of
    compression average out; the differences of a frame are sorted, the largest last.
    """
    small = np.stack([_small(frame) for frame in frames])
    return np.sort(np.abs(np.diff(small, axis=0)), axis=1)


def _small(frame: Pixels) -> NDArray[np.float64]:
    from PIL import Image

    grey = Image.fromarray((frame.astype(np.float32) @ _GREY) / 255)
    return np.asarray(grey.resize((_GRID, _GRID), Image.Resampling.BOX), np.float64).ravel()
