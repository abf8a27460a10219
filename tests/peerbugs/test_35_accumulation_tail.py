"""Peer bug 35: the last micro-batches of a step are dropped, or divided by a count they do not have.

lightning #19987, transformers #38837, torchtune #2745 (15 instead of 8), Automodel #2257, Anima
#305 (three pictures, no step at all).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.oracle import MODELS, worst
from tests.training.toys import lay, places, samples_of, trainer_of

from chiasm.testing import toy_crossed


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("lots", [1, 3, 5])
def test_every_micro_batch_counts_whatever_their_number(kind: str, lots: int) -> None:
    model = MODELS[kind]
    samples = samples_of([1, 0, 0, 2, 1, 0, 0], places(model), seed=1)
    cut = [samples[i::lots] for i in range(lots)]
    assert worst(model, cut) <= 1e-10


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_run_has_as_many_steps_as_it_was_given(parts: int, tmp_path: Path) -> None:
    model = toy_crossed()
    steps: list[int] = []
    trainer = trainer_of(
        model,
        tmp_path,
        steps=5,
        save_every=3,
        parts_of=lambda step: [lay(model, samples_of([1], seed=step))] * parts,
    )
    trainer.observers = [lambda _, facts: steps.append(facts.step)]
    assert trainer.fit() and steps == [1, 2, 3, 4, 5] and trainer.loader.given == 5
