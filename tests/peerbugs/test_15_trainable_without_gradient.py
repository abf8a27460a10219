"""Peer bug 15: the table says that a part learns, and no gradient ever reaches it.

A `no_grad` stood around the vision tower: LLaVA #1537, unsloth #5039, 2U1/Qwen-VL #193, Qwen-VL
#124 (`.data`), trl #1936. The run reports millions of trainable parameters all the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.toys import lay, places, samples_of, trainer_of

from chiasm.testing import toy_crossed, toy_prefix
from chiasm.training import Rate, Schedule


@pytest.mark.parametrize("new", [toy_crossed, toy_prefix])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parameter_of_a_learning_encoder_moves(
    new: object, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = new(projector=new().config.projector.model_copy(update={"taps": ("final",)})).to(dtype)
    table = (("encoder.*", Rate(peak=1e-2)), ("*", None))
    trainer = trainer_of(model, tmp_path, table=table, schedule=Schedule())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.train_step([lay(model, samples_of([1, 2], places(model)))])
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if name.startswith("encoder.")}
