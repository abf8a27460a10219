"""Two places for models that are not ours: what must not be shown, and whose faces are seen.

Tools.unsafe ─► 0 to 1 per picture ─► above the limit: dropped
Tools.faces  ─► boxes ─► counted, blurred, or dropped
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.step import Fact, Item, Pixels, Share, Tools, Verdict
from chiasm.inputs.message import Video

UNSAFE_REASONS = {"unsafe": "the picture, or a frame of the video, must not be shown"}
FACE_REASONS = {
    "faces": "a face is seen in the picture or video",
    "faces_in_video": "a face is seen in the video, and only pictures can be blurred",
}
Box = tuple[int, int, int, int]


class UnsafeSettings(Settings):
    """Drop what a model says must not be shown."""

    kind: Literal["unsafe"] = "unsafe"
    """The hook for a model that finds unsafe pictures."""
    most: Share = 0.5
    """How likely unsafe a picture may be."""

    def step(self, tools: Tools) -> Unsafe:
        """Return the step; UserError without a model."""
        if tools.unsafe is None:
            raise UserError(
                "No model tells which pictures are unsafe: pass a function as Tools.unsafe, or leave out the "
                'step "unsafe".'
            )
        return Unsafe(self, tools)


@dataclass(frozen=True)
class Unsafe:
    """Drops by the most unsafe frame; writes the fact `unsafe`."""

    settings: UnsafeSettings
    tools: Tools
    name: str = "unsafe"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return UNSAFE_REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        assert self.tools.unsafe is not None
        verdicts = []
        for item in items:
            # One item at a time: what a model says may depend on how much it is asked at once.
            worst = round(max(map(float, self.tools.unsafe(item.frames))), 4)
            reason = "unsafe" if worst > self.settings.most else ""
            verdicts.append(Verdict(reason, f"{worst:.2f}", facts={"unsafe": worst}))
        return verdicts


class FacesSettings(Settings):
    """Blur faces, drop pictures with faces, or only note them."""

    kind: Literal["faces"] = "faces"
    """The hook for a model that finds faces."""
    mode: Literal["blur", "drop", "note"] = "blur"
    """What happens where a face is seen. Blurred pictures are encoded again; a video is dropped instead."""
    least: PositiveInt = 12
    """Fewest pixels of the shorter side of a face that counts."""

    def step(self, tools: Tools) -> Faces:
        """Return the step; UserError without a model."""
        if tools.faces is None:
            raise UserError(
                'No model finds faces: pass a function as Tools.faces, or leave out the step "faces".'
            )
        return Faces(self, tools)


@dataclass(frozen=True)
class Faces:
    """Writes the facts `faces` (how many, in the frame with the most) and `face_boxes` (JSON, per frame)."""

    settings: FacesSettings
    tools: Tools
    name: str = "faces"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return FACE_REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Verdict:
        mode, boxes = self.settings.mode, [self._boxes(frame) for frame in item.frames]
        most = max(map(len, boxes))
        facts: dict[str, Fact] = {"faces": most, "face_boxes": json.dumps(boxes)}
        if most == 0 or mode == "note":
            return Verdict(facts=facts)
        note = f"{most} face{'s' * (most > 1)}"
        if mode == "drop":
            return Verdict("faces", note, facts=facts)
        if isinstance(item.pair.shown, Video):
            return Verdict("faces_in_video", note, facts=facts)
        frames = tuple(blur(frame, found) for frame, found in zip(item.frames, boxes, strict=True))
        return Verdict(note=note, frames=frames, facts=facts)

    def _boxes(self, frame: Pixels) -> list[Box]:
        """The boxes inside the frame that are large enough, from left to right."""
        assert self.tools.faces is not None
        height, width = frame.shape[:2]
        found = []
        for left, top, right, bottom in self.tools.faces(frame):
            box = (max(0, left), max(0, top), min(width, right), min(height, bottom))
            if min(box[2] - box[0], box[3] - box[1]) >= self.settings.least:
                found.append((int(box[0]), int(box[1]), int(box[2]), int(box[3])))
        return sorted(found)


def blur(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    """Return a copy of a picture [H, W, 3] with what lies in the boxes (left, top, right, bottom) unreadable.

    Each box, a tenth larger on every side, is reduced to six spots a side or fewer and enlarged again: what
    was between them is gone, while a Gaussian blur can be undone.
    """
    from PIL import Image

    out = pixels.copy()
    height, width = pixels.shape[:2]
    for left, top, right, bottom in boxes:
        wide, high = (right - left) // 10 + 1, (bottom - top) // 10 + 1
        across = slice(max(0, left - wide), min(width, right + wide))
        down = slice(max(0, top - high), min(height, bottom + high))
        part = Image.fromarray(out[down, across])
        spots = (min(6, -(-part.width // 3)), min(6, -(-part.height // 3)))
        coarse = part.resize(spots, Image.Resampling.BOX)
        out[down, across] = np.asarray(coarse.resize(part.size, Image.Resampling.BILINEAR))
    return out
