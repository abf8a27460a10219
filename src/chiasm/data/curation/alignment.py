"""Whether a caption belongs to its picture: the cosine of a two-tower model, and a floor for it.

    picture ──► embed_pictures ─┐
                                ├─► cosine ─► fact "alignment" ─► below the floor: dropped
    caption ──► embed_texts ────┘                              └► AlignmentShare: the lowest share dropped

    video: the best single frame first, then the mean of all frames, each with its own floor.

Neither CLIP's nor Llama 3's thresholds are published, and cosines of two models cannot be compared: look at
the receipts before you choose a floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.step import Item, Pixels, Share, Tools, Verdict
from chiasm.inputs.message import Video

REASONS = {
    "unaligned": "the caption does not belong to the picture",
    "unaligned_frame": "no single frame of the video goes with the caption",
    "unaligned_clip": "the frames of the video together do not go with the caption",
}
SHARE_REASONS = {
    "lowest_alignment": "the caption is among those that go least with their pictures",
}
Cosine = Annotated[float, Field(ge=-1, le=1)]


class AlignmentSettings(Settings):
    """Keep pictures whose caption belongs to them, as a two-tower model sees it."""

    kind: Literal["alignment"] = "alignment"
    """Image-text alignment."""
    least: Cosine = 0.2
    """Smallest cosine of a picture and its caption; depends on the model."""
    least_frame: Cosine = 0.2
    """Smallest cosine of a video's best frame and the caption."""
    least_clip: Cosine = 0.18
    """Smallest cosine of the mean of a video's frames and the caption."""
    batch: PositiveInt = 1
    """Pictures, and texts, given to the model at once. More is faster on an accelerator, but a score's last
    digit may then depend on the neighbours."""

    def step(self, tools: Tools) -> Alignment:
        """Return the step; UserError without a model that has both towers."""
        if tools.embed_pictures is None or tools.embed_texts is None:
            tower = "pictures" if tools.embed_pictures is None else "texts"
            raise UserError(
                f"Alignment compares pictures with captions, but the model has no tower for {tower}: pass a "
                'two-tower model (CLIP or SigLIP with both towers), or leave out the step "alignment".'
            )
        return Alignment(self, tools)


@dataclass(frozen=True)
class Alignment:
    """Drops wrong captions; writes `alignment` (a clip's, of a video) and `alignment_frame` (its best)."""

    settings: AlignmentSettings
    tools: Tools
    name: str = "alignment"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        assert self.tools.embed_pictures is not None and self.tools.embed_texts is not None
        frames: list[Pixels] = [frame for item in items for frame in item.frames]
        seen = _by_batches(self.tools.embed_pictures, frames, self.settings.batch)
        said = _by_batches(self.tools.embed_texts, [i.caption for i in items], self.settings.batch)
        verdicts, place = [], 0
        for item, text in zip(items, said, strict=True):
            verdicts.append(self._judge(item, seen[place : place + len(item.frames)], text))
            place += len(item.frames)
        return verdicts

    def _judge(self, item: Item, frames: list[NDArray[Any]], text: NDArray[Any]) -> Verdict:
        s = self.settings
        best = max(_cosine(frame, text) for frame in frames)
        if not isinstance(item.pair.shown, Video):
            reason = "unaligned" if best < s.least else ""
            return Verdict(reason, f"cosine {best:.3f}", facts={"alignment": best})
        clip = _cosine(np.mean([_unit(frame) for frame in frames], axis=0), text)
        facts = {"alignment": clip, "alignment_frame": best}
        reason = "unaligned_frame" if best < s.least_frame else ""
        if not reason and clip < s.least_clip:
            reason = "unaligned_clip"
        return Verdict(reason, f"best frame {best:.3f}, clip {clip:.3f}", facts=facts)


def _by_batches(embed: Any, things: Sequence[Any], batch: int) -> list[NDArray[Any]]:
    found: list[NDArray[Any]] = []
    for start in range(0, len(things), batch):
        found += list(np.asarray(embed(things[start : start + batch]), dtype=np.float64))
    return found


def _unit(vector: NDArray[Any]) -> NDArray[Any]:
    return vector / max(1e-12, math.sqrt(float(vector @ vector)))


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    return round(float(_unit(one) @ _unit(other)), 5)


class AlignmentShareSettings(Settings):
    """Drop the captions that go least with their pictures, however high their score."""

    kind: Literal["alignment_share"] = "alignment_share"
    """The lowest share by alignment."""
    share: Share = 0.1
    """How much of all to drop."""

    def step(self, tools: Tools) -> AlignmentShare:
        """Return the step."""
        return AlignmentShare(self)


@dataclass(frozen=True)
class AlignmentShare:
    """Drops floor(share * N) of the N rows that have a score, the lowest; of equals, the later keys."""

    settings: AlignmentShareSettings
    name: str = "alignment_share"
    needs: tuple[str, ...] = ("alignment",)

    @property
    def reasons(self) -> Mapping[str, str]:
        return SHARE_REASONS

    def __call__(self, table: Any) -> dict[int, Verdict]:
        scores = table.column("alignment").to_pylist()
        scored = [(score, -row) for row, score in enumerate(scores) if score is not None]
        # Not floor(share * N) in floating point, where 0.29 of 100 would be 28.
        lowest = sorted(scored)[: int(round(self.settings.share * len(scored), 6))]
        return {
            -row: Verdict("lowest_alignment", f"cosine {score:.3f}")
            for score, row in sorted(lowest, key=lambda each: -each[1])
        }
