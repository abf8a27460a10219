"""Peer bug 29: the learning rate follows something else than the step.

Stepped once a rank (transformers #24088, accelerate #2926), once a micro-batch (starVLA #210), or
begun anew on resume (OneTrainer #1604, nanotron #233, kohya #141).
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.training.toys import lay, samples_of, trainer_of

from chiasm.testing import toy_crossed
from chiasm.training import Facts, Schedule, Trainer

STEPS, WARMUP = 8, 3


def by_hand(step: int) -> float:
    """Linear to one, then half a cosine to a tenth."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("resumed", [False, True])
def test_the_rate_is_a_function_of_the_step(parts: int, resumed: bool, tmp_path: Path) -> None:
    rates: list[float] = []
    applied: list[float] = []

    def note(trainer: Trainer, facts: Facts) -> None:
        rates.append(facts.rate)
        applied.append(trainer.learner.groups[0]["lr"])

    def new() -> Trainer:
        model = toy_crossed()
        trainer = trainer_of(
            model,
            tmp_path,
            steps=STEPS,
            save_every=1,
            schedule=Schedule(warmup=WARMUP, floor=0.1),
            parts_of=lambda step: [lay(model, samples_of([1, 0], seed=step))] * parts,
        )
        trainer.observers = [note]
        return trainer

    trainer = new()
    if resumed:
        for lots in trainer.loader.stream(0, 5):
            note(trainer, trainer.train_step(lots))
        trainer.save()
        trainer = new()
        assert trainer.resume() == 5
    assert trainer.fit()
    assert rates == pytest.approx([by_hand(step) for step in range(STEPS)])
    assert applied == pytest.approx([1e-2 * by_hand(step) for step in range(STEPS)])


def test_a_skipped_step_is_a_step(tmp_path: Path) -> None:
    model = toy_crossed()
    trainer = trainer_of(model, tmp_path, steps=STEPS, schedule=Schedule(warmup=WARMUP, floor=0.1))
    part = lay(model, samples_of([1, 0]))
    rates = [trainer.train_step([] if step == 1 else [part]).rate for step in range(4)]
    assert rates == pytest.approx([by_hand(0), 0.0, by_hand(2), by_hand(3)])
