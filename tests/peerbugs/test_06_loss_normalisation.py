"""Peer bug 6: a token weighs more when it stands in a small micro-batch.

Each micro-batch was divided by its own count of targets, and the quotients averaged: transformers
#34191, #35203, #37766, #46204, torchtune #1875 and #1917, torchtitan #2206, accelerate #4303.
"""

from __future__ import annotations

import pytest
from tests.training.oracle import MODELS, worst
from tests.training.toys import places, samples_of


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_token_weighs_the_same_in_any_company(kind: str, cut: int) -> None:
    model = MODELS[kind]
    samples = samples_of([2, 0, 1, 0], places(model), seed=3)
    assert len({sum(sample.trained[1:]) for sample in samples}) > 1
    assert worst(model, [samples[:cut], samples[cut:]]) <= 1e-10
