"""Eyes for videos: frames are seen one by one, merged over time, and looked at by crosses of their own.

frames ▤▤▤▤▤▤▤▤ ─► encoder, projector (as for pictures, some frames at a time)
                   └─► aggregator: `merge` consecutive frames become one effective frame
                       └─► keys and values of the video crosses, which stand before every fourth
                           cross for pictures
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.base.vision import Clips
from chiasm.models.perceiver import AggregatorConfig
from chiasm.models.sight import starts_of, vectors_of

TILES = 16
"""So many tiles are seen at a time, whatever the length of a video."""


class VideoConfig(Settings):
    """What a model needs to see videos beside pictures (Llama 3 herd of models, section 7.2)."""

    aggregator: AggregatorConfig = AggregatorConfig()
    """What merges consecutive frames into one."""
    every: int = 4
    """A video cross stands before every so many-th cross for pictures."""

    def count(self, crosses: int) -> int:
        """How many video crosses a model of `crosses` picture crosses has; at least one."""
        return max(1, crosses // self.every)


def watch(model: nn.Module, clips: Clips) -> tuple[Tensor, Tensor]:
    """Merge the frames of C clips: -> effective frames [E, latents, width], and how many each clip has [C].

    One group of frames after the other goes through the eyes and is merged, so that memory does not grow
    with the length of a video while nothing below the aggregator learns. Raises ValueError when frames
    of one clip differ in their number of tiles.
    """
    merge = model.aggregator.config.merge
    tiles = torch.ones_like(clips.frames.new_empty(int(clips.frames.sum())))
    if clips.grids is not None:
        tiles = clips.grids.prod(dim=1)
    ends, merged = starts_of(tiles).tolist(), []
    for first, last in pairwise(starts_of(clips.frames).tolist()):
        each = tiles[first:last].unique().tolist()
        if len(each) != 1:
            raise ValueError(f"frames of one clip have {each} tiles; they must all have as many")
        for start in range(first, last, merge):
            stop = min(start + merge, last)
            seen = _vectors(model, clips, ends, range(start, stop))
            group = seen.unflatten(0, (stop - start, each[0])).flatten(1, 2)
            merged.append(model.aggregator.merge(group))
    effective = (clips.frames + merge - 1) // merge
    return model.aggregator.in_order(torch.cat(merged), effective), effective


def _vectors(model: nn.Module, clips: Clips, ends: list[int], frames: range) -> Tensor:
    """See some frames, a few at a time: [their tiles, V, width]; `ends` says where a frame's tiles begin."""
    each = ends[frames.start + 1] - ends[frames.start]
    step, found = max(1, TILES // each), []
    for start in frames[::step]:
        stop = min(start + step, frames.stop)
        part = slice(ends[start], ends[stop])
        found.append(vectors_of(model, _part(clips, part, slice(start, stop))))
    return torch.cat(found)


def _part(clips: Clips, tiles: slice, frames: slice) -> Clips:
    def cut(held: Tensor | None, part: slice) -> Tensor | None:
        return None if held is None else held[part]

    return Clips(
        clips.spans,
        clips.frames,
        cut(clips.pixels, tiles),
        cut(clips.grids, frames),
        cut(clips.features, tiles),
    )
