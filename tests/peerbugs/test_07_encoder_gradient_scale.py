"""Peer bug 7: the encoder learns at another scale than the language model.

Its gradient was divided by a number of ranks that were not its own: Megatron-Bridge #4066. In one
process the same fault is any factor between the parts, so each part is compared by itself.
"""

from __future__ import annotations

import pytest
from tests.training.oracle import MODELS, PARTS, by_the_trainer, one_by_one
from tests.training.toys import places, samples_of


@pytest.mark.parametrize("kind", MODELS)
def test_each_part_has_the_gradient_of_the_definition_and_its_scale(kind: str) -> None:
    model = MODELS[kind]
    samples = samples_of([1, 3, 0, 2], places(model), seed=8)
    _, expected = one_by_one(model, samples)
    _, got = by_the_trainer(model, [samples[:3], samples[3:]])
    for part in PARTS:
        for name in (name for name in expected if name.startswith(part)):
            if expected[name].norm() > 1e-9:
                assert abs(float(got[name].norm() / expected[name].norm()) - 1) <= 1e-10, name


def test_a_finite_difference_agrees_about_the_encoder() -> None:
    """The definition above goes through the same autograd; this does not."""
    model = MODELS["crossed"]
    samples = samples_of([2], seed=8)
    _, got = by_the_trainer(model, [samples])
    weight = model.encoder.blocks[0].mlp.down.weight.data
    row, column = divmod(
        int(got["encoder.blocks.0.mlp.down.weight"].abs().argmax()), weight.shape[1]
    )
    step, losses = 1e-5, []
    for sign in (1, -1):
        weight[row, column] += sign * step
        losses.append(by_the_trainer(model, [samples])[0])
        weight[row, column] -= sign * step
    slope = (losses[0] - losses[1]) / (2 * step)
    assert float(got["encoder.blocks.0.mlp.down.weight"][row, column]) == pytest.approx(
        slope, rel=1e-5
    )
