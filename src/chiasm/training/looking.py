"""The looking meter: does the model use its eyes, or guess from the words?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from chiasm.inputs.batch import Batch
from chiasm.training.objective import Objective


class Looking:
    """Loss per target on held-out batches with the right, a blank and a shuffled picture, or video.

    Right far below the other two: the model looks. All three alike: it ignores its eyes, the failure
    that native training is known for. Shuffled gives each question the picture of another one.
    """

    def __init__(self, objective: Objective, batches: Sequence[Batch]) -> None:
        self.objective, self.batches = objective, batches

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return {"right": …, "blank": …, "shuffled": …} in nats per target."""
        device = next(model.parameters()).device
        batches = [batch.to(device) for batch in self.batches]
        weight = sum(self.objective.weight(batch) for batch in batches)
        return {
            name: sum(float(self.objective.loss(model, change(b))) for b in batches) / weight
            for name, change in (("right", _right), ("blank", blank), ("shuffled", shuffled))
        }


def _right(batch: Batch) -> Batch:
    return batch


def blank(batch: Batch) -> Batch:
    """The same batch with all that it shows replaced by the mean colour (zero after normalisation)."""
    return _changed(batch, lambda pixels, counts: torch.zeros_like(pixels))


def shuffled(batch: Batch) -> Batch:
    """The same batch with each picture replaced by the next one that differs, in one fixed order.

    Its neighbour in the list might be a copy of the same picture. A picture of several tiles keeps
    their number: it gets those of the other one from its first on, and around again. A video is replaced
    by another video in the same way.
    """
    return _changed(batch, _another)


def _another(pixels: Tensor, counts: list[int]) -> Tensor:
    kinds, kind = pixels.flatten(1).unique(dim=0, return_inverse=True)
    held = [tuple(tiles.tolist()) for tiles in kind.split(counts)]
    order = sorted(set(held))
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    chosen = [
        following[tiles][i % len(following[tiles])] for tiles in held for i in range(len(tiles))
    ]
    return kinds[chosen].view_as(pixels)


def _changed(batch: Batch, change: Callable[[Tensor, list[int]], Tensor]) -> Batch:
    vision = batch.vision
    if vision is None:
        return batch
    clips = vision.clips
    if vision.features is not None or (clips is not None and clips.features is not None):
        raise ValueError(
            "the looking meter changes pixels, and ready-made features would hide that"
        )
    if clips is not None and clips.pixels is not None:
        tiles = _tiles(clips.grids, len(clips.pixels)).split(clips.frames.tolist())
        counts = [int(frames.sum()) for frames in tiles]
        clips = replace(clips, pixels=change(clips.pixels, counts))
    pixels = vision.pixels
    if pixels is not None:
        pixels = change(pixels, _tiles(vision.grids, len(pixels)).tolist())
    return replace(batch, vision=replace(vision, pixels=pixels, clips=clips))


def _tiles(grids: Tensor | None, held: int) -> Tensor:
    """How many tiles each picture or frame has, of those that hold `held` in all."""
    return torch.ones(held, dtype=torch.long) if grids is None else grids.prod(1)
