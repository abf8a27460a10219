"""The looking meter: does the model use its eyes, or guess from the words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from chiasm.inputs.batch import Batch
from chiasm.training.objective import Objective


class Looking:
    """Loss per target on held-out batches with the right, a blank and a shuffled picture.

    Right far below the other two: the model looks. All three alike: it ignores its eyes, the failure
    that native training is known for. Shuffled hands each picture the place of the next one.
    """

    def __init__(self, objective: Objective, batches: Sequence[Batch]) -> None:
        self.objective, self.batches = objective, batches

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return {"right": …, "blank": …, "shuffled": …} in nats per target."""
        weight = sum(self.objective.weight(batch) for batch in self.batches)
        return {
            name: sum(float(self.objective.loss(model, change(b))) for b in self.batches) / weight
            for name, change in (("right", _right), ("blank", blank), ("shuffled", shuffled))
        }


def _right(batch: Batch) -> Batch:
    return batch


def blank(batch: Batch) -> Batch:
    """The same batch with every picture replaced by the mean colour (zero after normalisation)."""
    if batch.vision is None or batch.vision.pixels is None:
        return batch
    pixels = torch.zeros_like(batch.vision.pixels)
    return replace(batch, vision=replace(batch.vision, pixels=pixels))


def shuffled(batch: Batch) -> Batch:
    """The same batch with each picture replaced by its neighbour in the list."""
    if batch.vision is None or batch.vision.pixels is None:
        return batch
    pixels = batch.vision.pixels.roll(1, dims=0)
    return replace(batch, vision=replace(batch.vision, pixels=pixels))
