"""Small runs for the tests of this room: samples, a loader, and a trainer over a toy model."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiasm.inputs.batch import Batch, pack
from chiasm.inputs.chat import Rendered
from chiasm.models import Crossed, Prefix
from chiasm.testing import toy_picture, toy_pixels, toy_rendered
from chiasm.training import Learner, NextToken, Rate, Schedule, Trainer, TrainSettings
from chiasm.training.settings import Table

EVERYTHING: Table = (("*", Rate(peak=1e-2, decay=0.1)),)
ADAPTER: Table = (("decoder.*", None), ("encoder.*", None), ("*", Rate(peak=1e-2, decay=0.1)))


def samples_of(counts: Sequence[int], places: int = 1, seed: int = 0) -> list[Rendered]:
    """One sample for each count of pictures; all pictures are different."""
    numbers = iter(range(seed, seed + sum(counts)))
    return [
        toy_rendered(
            100 * seed + i,
            [toy_picture(next(numbers)) for _ in range(n)],
            tokens=4 + i,
            places=places,
        )
        for i, n in enumerate(counts)
    ]


def lay(model: nn.Module, samples: Sequence[Rendered]) -> Batch:
    """Pack samples as the model wants them, pixels in its type."""
    batch = pack(samples, toy_pixels)
    return in_type(batch, next(model.parameters()).dtype)


def in_type(batch: Batch, dtype: torch.dtype) -> Batch:
    """The same batch with pixels of another type."""
    if batch.vision is None:
        return batch
    vision = replace(batch.vision, pixels=batch.vision.pixels.to(dtype))
    return replace(batch, vision=vision)


def places(model: nn.Module) -> int:
    """Tokens that a picture takes in this model's text."""
    return model.config.places() if isinstance(model, Crossed | Prefix) else 1


class Steps:
    """A loader whose micro-batches are a function of the step; it counts what it gave."""

    def __init__(self, parts_of: Callable[[int], Sequence[Batch]]) -> None:
        self.parts_of, self.given = parts_of, 0

    def stream(self, start: int, stop: int) -> Iterator[Sequence[Batch]]:
        for step in range(start, stop):
            self.given += 1
            yield self.parts_of(step)

    def record(self) -> dict[str, Any]:
        return {"given": self.given}

    def restore(self, record: dict[str, Any]) -> None:
        self.given = record["given"]


def mixed(model: nn.Module) -> Callable[[int], list[Batch]]:
    """Two micro-batches a step, of samples with 0 to 2 pictures, as a function of the step."""

    def parts(step: int) -> list[Batch]:
        draw = random.Random(step)
        counts = [draw.choice((0, 1, 2)) for _ in range(4)]
        samples = samples_of(counts, places(model), seed=step)
        return [lay(model, samples[:2]), lay(model, samples[2:])]

    return parts


def trainer_of(
    model: nn.Module,
    folder: Path,
    *,
    table: Table = EVERYTHING,
    parts_of: Callable[[int], Sequence[Batch]] | None = None,
    schedule: Schedule | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer over a toy model; `settings` are fields of TrainSettings."""
    chosen = TrainSettings(**({"steps": 6, "save_every": 2, "clip": 1.0} | settings))
    learner = Learner(model, table, schedule or Schedule(warmup=2), chosen.steps)
    loader = Steps(parts_of or mixed(model))
    return Trainer(model, NextToken(), learner, loader, chosen, folder)


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Copies of all that a step may change: parameters, buffers and the optimizer's memory."""
    held = {**trainer.model.state_dict(), **trainer.learner.state()}
    return {name: value.clone() for name, value in held.items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Bit for bit: NaN equals NaN, and 0.0 differs from -0.0."""
    return a.keys() == b.keys() and all(bits(a[name]) == bits(b[name]) for name in a)


def bits(tensor: torch.Tensor) -> bytes:
    """The tensor's bytes."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
