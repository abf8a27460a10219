"""Peer bug 11: samples packed into one sequence see each other.

Positions that begin anew do not isolate: nanoVLM #204 (logits off by 0.46), transformers #46634,
axolotl #3796, LlamaFactory #4224 and #7318, WrinkleFree-Monorepo #53 (off by 11.34).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.oracle import MODELS, worst
from tests.training.toys import lay, places, samples_of


@pytest.mark.parametrize("kind", MODELS)
def test_a_pack_has_the_loss_and_gradient_of_its_samples(kind: str) -> None:
    model = MODELS[kind]
    assert worst(model, [samples_of([1, 0, 2, 1], places(model), seed=2)]) <= 1e-10


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_a_sample_does_not_change_with_the_words_before_it(kind: str) -> None:
    model = MODELS[kind]
    samples = samples_of([0, 1, 0], places(model), seed=2)
    batch = lay(model, samples)
    tokens = batch.tokens.clone()
    tokens[batch.segments == 0] += 1
    before, after = model(**batch.inputs()), model(**replace(batch, tokens=tokens).inputs())
    assert torch.equal(after[batch.segments > 0], before[batch.segments > 0])
    assert not torch.equal(after[batch.segments == 0], before[batch.segments == 0])
