"""The objective and the trainer's one division against one sample at a time in fp64."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.toys import Steps, lay, places, samples_of
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.inputs.batch import IGNORED
from chiasm.inputs.chat import Rendered
from chiasm.testing import (
    toy_crossed,
    toy_decoder,
    toy_decoder_config,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_vit_config,
)
from chiasm.training import Learner, NextToken, Rate, Schedule, Trainer, TrainSettings

SMALL = {
    "decoder": toy_decoder_config(depth=2, vocab=259),
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
            pixels = torch.stack([toy_pixels(picture) for picture in sample.pictures]).double()
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


def by_the_trainer(model: nn.Module, lots: list[list[Rendered]]) -> tuple[float, dict[str, Tensor]]:
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


def drawn(seed: int, places: int) -> list[list[Rendered]]:
    """Samples with 0 to 4 pictures, some text-only, some without a target, some that share pictures."""
    draw = random.Random(seed)
    samples = samples_of(
        [draw.choice((0, 0, 1, 1, 2, 3, 4)) for _ in range(draw.randint(1, 4))], places, seed
    )
    if draw.random() < 0.5:  # another question about the same pictures
        first = samples[0]
        samples.append(
            toy_rendered(seed + 7, first.pictures, tokens=draw.randint(2, 7), places=places)
        )
    if draw.random() < 0.3:
        silent = samples[-1]
        samples.append(
            Rendered(silent.ids, [False] * len(silent.ids), silent.pictures, silent.seen)
        )
    draw.shuffle(samples)
    lots: list[list[Rendered]] = [[] for _ in range(draw.randint(1, len(samples)))]
    for sample in samples:
        draw.choice(lots).append(sample)
    return [lot for lot in lots if lot]


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=120)
@given(seed=st.integers(0, 10**6))
def test_any_split_has_the_gradient_of_the_samples_one_by_one(kind: str, seed: int) -> None:
    """Gradient oracle O2, part by part: measured worst relative error 6e-15 against 1e-10."""
    model = MODELS[kind]
    lots = drawn(seed, places(model))
    samples = [sample for lot in lots for sample in lot]
    if not any(any(sample.trained[1:]) for sample in samples):
        return
    expected_loss, expected = one_by_one(model, samples)
    model.zero_grad(set_to_none=True)
    loss, got = by_the_trainer(model, lots)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for part in ("decoder.", "encoder.", "projector.", "crosses.", "extra."):
        if any(name.startswith(part) for name in expected):
            assert relative(got, expected, part) <= 1e-10


def test_the_head_runs_on_targets_alone_and_a_chunk_at_a_time() -> None:
    model = toy_crossed().double()
    batch = lay(model, samples_of([1, 0, 2]))
    targets, seen = int((batch.targets != IGNORED).sum()), []
    head = model.head

    def watched(features: Tensor) -> Tensor:
        seen.append(features.shape)
        return head(features)

    model.head = watched  # type: ignore[method-assign]
    NextToken(chunk=4).loss(model, batch)
    assert sum(rows for rows, _ in seen) == targets == NextToken().weight(batch)
    assert targets < batch.tokens.numel() and all(rows <= 4 for rows, _ in seen)


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 1000])
def test_chunks_change_nothing(chunk: int) -> None:
    model = toy_crossed().double()
    batch = lay(model, samples_of([1, 0, 2]))
    results = []
    for size in (1000, chunk):
        model.zero_grad()
        loss = NextToken(size).loss(model, batch)
        loss.backward()
        results.append((float(loss.detach()), gradients(model)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-13)
    assert relative(results[1][1], results[0][1], "") <= 1e-13


def test_the_sum_is_the_definition() -> None:
    model = toy_decoder().double()
    sample = toy_rendered(2, tokens=9)
    logits = model.head(model(torch.tensor([sample.ids])))[0]
    log_p = torch.log_softmax(logits, -1)
    expected = -sum(
        float(log_p[t, sample.ids[t + 1]].detach()) for t in range(8) if sample.trained[t + 1]
    )
    assert float(NextToken().loss(model, lay(model, [sample])).detach()) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_sum_is_kept_in_fp32(dtype: torch.dtype) -> None:
    model = toy_crossed().to(dtype)
    assert NextToken().loss(model, lay(model, samples_of([1, 0]))).dtype == torch.float32


def test_a_batch_without_targets_weighs_nothing_and_is_no_nan() -> None:
    model = toy_crossed()
    sample = toy_rendered(1)
    batch = lay(model, [Rendered(sample.ids, [False] * len(sample.ids), (), sample.seen)])
    loss = NextToken().loss(model, batch)
    loss.backward()
    assert NextToken().weight(batch) == 0 and float(loss.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
