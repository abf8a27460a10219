"""Peer bug 24: a batch without a single target turns the weights into NaN, or counts as loss 0.0.

trl #6668, Automodel #3796 (three of four losses), nanochat #590, LlamaFactory #10741: zero divided
by zero targets.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.training.oracle import MODELS, worst
from tests.training.toys import equal, everything, lay, places, samples_of, trainer_of

from chiasm.inputs.chat import Rendered
from chiasm.testing import toy_crossed


def silent(sample: Rendered) -> Rendered:
    return Rendered(sample.ids, [False] * len(sample.ids), sample.pictures, sample.seen)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_without_targets_leaves_everything_as_it_was(parts: int, tmp_path: Path) -> None:
    model = toy_crossed()
    trainer = trainer_of(model, tmp_path)
    trainer.train_step([lay(model, samples_of([1, 0]))])
    before = everything(trainer)
    facts = trainer.train_step([lay(model, [silent(s) for s in samples_of([1, 0])])] * parts)
    assert equal(everything(trainer), before) and facts.targets == 0
    assert facts.loss == 0.0 and math.isfinite(facts.norm)
    assert trainer.train_step([lay(model, samples_of([1, 0]))]).loss > 0
    assert all(value.isfinite().all() for value in everything(trainer).values())


@pytest.mark.parametrize("kind", MODELS)
def test_a_silent_sample_or_micro_batch_adds_nothing_to_a_step(kind: str) -> None:
    model = MODELS[kind]
    good = samples_of([1, 0, 2], places(model), seed=5)
    mute = [silent(sample) for sample in samples_of([0, 1], places(model), seed=6)]
    assert worst(model, [good, mute]) <= 1e-10
    assert worst(model, [[mute[0], *good, mute[1]]]) <= 1e-10
