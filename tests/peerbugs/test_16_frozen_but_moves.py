"""Peer bug 16: what is frozen moves, by weight decay, a wrong group or an undone freeze.

gt-pyg #112, openpi #744. A language model that decays by 1e-4 a step answers worse after a day, and
nothing in the log says why.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.toys import ADAPTER, bits, lay, places, samples_of, trainer_of

from chiasm.testing import toy_crossed, toy_prefix
from chiasm.training import Schedule


@pytest.mark.parametrize("new", [toy_crossed, toy_prefix])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("counts", [[0, 0], [1, 2], [0, 2]])
def test_frozen_parts_are_bit_equal_after_steps_with_decay(
    new: object, dtype: torch.dtype, counts: list[int], tmp_path: Path
) -> None:
    model = new().to(dtype)
    trainer = trainer_of(model, tmp_path, table=ADAPTER, schedule=Schedule())
    before = {name: bits(value) for name, value in model.state_dict().items()}
    for seed in range(3):
        model.train(seed % 2 == 0)  # a mode that is switched freezes and thaws nothing
        trainer.train_step([lay(model, samples_of(counts, places(model), seed))])
    frozen = [name for name in before if name.startswith(("decoder.", "encoder."))]
    after = model.state_dict()
    assert frozen and all(bits(after[name]) == before[name] for name in frozen)
    held = {p for group in trainer.learner.groups for p in group["params"]}
    assert not any(model.get_parameter(name) in held for name in frozen)
    assert all(model.get_parameter(name).grad is None for name in frozen)
