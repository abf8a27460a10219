"""Peer bug 24: a batch without a single target turns the weights into NaN, or counts as loss 0.0.

trl #6668, Automodel #3796 (three of four losses), nanochat #590, LlamaFactory #10741: zero divided
by zero targets.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.training.oracle import MODELS, worst
from tests.training.toys import lay, places, samples_of, trainer_of

from chiasm.inputs.chat import Rendered
from chiasm.testing import toy_crossed


def silent(sample: Rendered) -> Rendered:
    return Rendered(sample.ids, [False] * len(sample.ids), sample.pictures, sample.seen)


def test_a_batch_without_targets_has_the_loss_zero(tmp_path: Path) -> None:
    model = toy_crossed()
    part = lay(model, [silent(sample) for sample in samples_of([1, 0])])
    facts = trainer_of(model, tmp_path).train_step([part])
    assert facts.loss == 0.0 and facts.targets == 0 and math.isfinite(facts.norm)


@pytest.mark.parametrize("kind", MODELS)
def test_a_silent_sample_or_micro_batch_adds_nothing_to_a_step(kind: str) -> None:
    model = MODELS[kind]
    good = samples_of([1, 0, 2], places(model), seed=5)
    mute = [silent(sample) for sample in samples_of([0, 1], places(model), seed=6)]
    assert worst(model, [good, mute]) <= 1e-10
    assert worst(model, [[mute[0], *good, mute[1]]]) <= 1e-10
