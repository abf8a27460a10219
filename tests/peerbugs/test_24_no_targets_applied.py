"""Peer bug 24, the quiet half: a step without a single target is applied all the same.

No gradient came, but momentum and decay move the weights, and the count of steps lies: trl #6668,
Automodel #3796, nanochat #590, LlamaFactory #10741.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.toys import equal, everything, lay, samples_of, trainer_of

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
    assert trainer.train_step([lay(model, samples_of([1, 0]))]).loss > 0
    assert all(value.isfinite().all() for value in everything(trainer).values())
