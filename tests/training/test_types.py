"""bf16 models of which any part learns in fp32: they train, and they answer along a cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.toys import lay, places, samples_of, trainer_of

from chiasm.inputs.batch import pad
from chiasm.testing import toy_crossed, toy_pixels, toy_prefix
from chiasm.training import Rate, Schedule

PARTS = (
    "decoder.embed.*",
    "decoder.blocks.0.*",
    "decoder.blocks.3.attn.*",
    "decoder.norm.*",
    "encoder.patches.*",
    "encoder.blocks.1.*",
    "encoder.*norm.*",
    "projector.*",
    "extra.*",
)


@pytest.mark.parametrize("new", [toy_crossed, toy_prefix])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.sampled_from(PARTS), min_size=1))
def test_any_part_of_a_bf16_model_can_learn(new: object, chosen: set[str], tmp_path: Path) -> None:
    model = new().bfloat16()
    table = (*((pattern, Rate(peak=1e-2)) for pattern in sorted(chosen)), ("*", None))
    trainer = trainer_of(model, tmp_path, table=table, schedule=Schedule())
    facts = trainer.train_step([lay(model, samples_of([1, 0, 2], places(model)))])
    assert facts.norm > 0 or chosen == {"extra.*"}
    batch = pad(samples_of([1, 0, 2], places(model)), toy_pixels)
    with torch.no_grad():
        cache = model.cache(3, 60)
        features = model(**batch.inputs() | {"positions": None}, cache=cache)
        cache.advance(batch.lengths)
        features = model(torch.tensor([[5]] * 3), cache=cache)
        assert model.head(features).isfinite().all()
