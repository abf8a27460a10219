"""The gradient oracle (O2): what the trainer does to a step, and the same by the definition.

by_the_trainer   lots of samples, packed, in micro-batches, head on targets, chunks, one division
one_by_one       each sample alone, all its logits, the mean over all targets
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tests.training.toys import Steps, lay
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.inputs.chat import Rendered
from chiasm.testing import (
    toy_crossed,
    toy_decoder_config,
    toy_pixels,
    toy_prefix,
    toy_vit_config,
)
from chiasm.training import Learner, NextToken, Rate, Schedule, Trainer, TrainSettings

PARTS = ("decoder.", "encoder.", "projector.", "crosses.", "extra.")

SMALL = {
    "decoder": toy_decoder_config(depth=2),
    "encoder": toy_vit_config(depth=2),
}
MODELS = {
    "crossed": toy_crossed(**SMALL, crosses=1).double(),
    "prefix": toy_prefix(
        **SMALL, projector=toy_prefix().config.projector.model_copy(update={"taps": ("last",)})
    ).double(),
}


def one_by_one(model: nn.Module, samples: list[Rendered]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient by the definition: each sample alone, all its logits, all targets equal."""
    model.zero_grad(set_to_none=True)
    total, loss = sum(sum(sample.trained[1:]) for sample in samples), 0.0
    for sample in samples:
        vision = None
        if sample.pictures:
            pixels = torch.cat([toy_pixels(picture)[0] for picture in sample.pictures]).double()
            vision = Vision(torch.tensor([sample.seen]), pixels)
        logits = model.head(model(torch.tensor([sample.ids]), vision=vision))[0]
        learned = [t for t in range(len(sample.ids) - 1) if sample.trained[t + 1]]
        said = [torch.log_softmax(logits[t], -1)[sample.ids[t + 1]] for t in learned]
        if said:
            nll = -torch.stack(said).sum() / total
            nll.backward()
            loss += float(nll.detach())
    return loss, gradients(model)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all gradients, zeros where there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


class Watched(Learner):
    """Keeps the gradient of the step and changes nothing."""

    def step(self, step: int) -> float:
        self.seen = gradients(self.model)
        self.clear()
        return 0.0


def by_the_trainer(
    model: nn.Module, lots: Sequence[list[Rendered]]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of one step of the trainer, a micro-batch for each lot."""
    model.zero_grad(set_to_none=True)
    learner = Watched(model, (("*", Rate(peak=1.0)),), Schedule(), 1)
    learner.model = model
    parts = [lay(model, lot) for lot in lots]
    run = TrainSettings(steps=1, clip=1e30)
    trainer = Trainer(
        model, NextToken(chunk=3), learner, Steps(lambda _: parts), run, Path("unused")
    )
    return trainer.train_step(parts).loss, learner.seen


def relative(got: dict[str, Tensor], expected: dict[str, Tensor], part: str) -> float:
    """Length of the difference over the length, of all gradients of a part together."""
    names = [name for name in expected if name.startswith(part)]
    distance = torch.cat([(got[name] - expected[name]).flatten() for name in names]).norm()
    length = torch.cat([expected[name].flatten() for name in names]).norm()
    return float(distance / length) if length > 0 else float(distance)


def worst(model: nn.Module, lots: Sequence[list[Rendered]]) -> float:
    """The largest relative error of loss and of each part's gradient, trainer against definition."""
    expected_loss, expected = one_by_one(model, [sample for lot in lots for sample in lot])
    loss, got = by_the_trainer(model, lots)
    errors = [abs(loss - expected_loss) / max(1e-300, expected_loss)]
    present = [part for part in PARTS if any(name.startswith(part) for name in expected)]
    # torch's maximum, unlike Python's, never steps over a NaN
    return float(torch.tensor(errors + [relative(got, expected, part) for part in present]).max())
