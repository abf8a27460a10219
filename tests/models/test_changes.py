"""What was done to a model can be done to another one of its shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chiasm.base.config import as_record, from_record
from chiasm.base.errors import UserError
from chiasm.base.layers import INT8, LowBit, LowRank
from chiasm.models.changes import Changes, change, changes_of
from chiasm.nn import add_lora, quantise
from chiasm.testing import toy_crossed, toy_decoder, toy_prefix

SMALL = LowRank(rank=2, alpha=3.0, dropout=0.1, divide_by="root")


@pytest.mark.parametrize("kind", [toy_crossed, toy_prefix, toy_decoder])
def test_a_plain_model_has_no_changes(kind: Any) -> None:
    assert changes_of(kind()) == Changes()


@pytest.mark.parametrize("kind", [toy_crossed, toy_prefix])
def test_a_record_gives_another_model_the_same_shape(kind: Any) -> None:
    pytest.importorskip("torchao")
    model = kind()
    quantise(model, (("decoder.blocks.2.*", None), ("decoder.*", INT8), ("encoder.*.up", INT8)))
    add_lora(model, (("decoder.*.attn.[qv]", SMALL), ("encoder.*.mlp.*", LowRank())))
    changes = changes_of(model)
    assert changes == from_record(Changes, as_record(changes))
    with torch.device("meta"):
        again = type(model)(model.config)
        change(again, changes)
    assert changes_of(again) == changes
    assert {n: (v.shape, v.dtype) for n, v in again.state_dict().items()} == {
        n: (v.shape, v.dtype) for n, v in model.state_dict().items()
    }
    assert all(value.is_meta for value in again.state_dict().values())


def test_groups_that_do_not_fit_are_told() -> None:
    with pytest.raises(UserError, match="cannot be cut into groups of 7"):
        change(toy_decoder(), Changes(quantised=(("*.attn.q", LowBit(group=7)),)))
