"""Peer bug 10: text before a picture is changed by the picture.

A row that may see nothing was given a uniform mask, so it saw everything: transformers #39379 (by
0.41 in the hidden states of 5.23) and #34280. Here the change must be 0.0, not small.
"""

from __future__ import annotations

import pytest
import torch
from tests.training.toys import samples_of

from chiasm.base.vision import Vision
from chiasm.inputs.batch import pack, pad
from chiasm.testing import VOCAB, toy_crossed, toy_pixels


@pytest.mark.parametrize("lay", [pack, pad])
@torch.no_grad()
def test_what_stands_before_a_picture_does_not_change_with_it(lay: object) -> None:
    model = toy_crossed()
    samples = samples_of([2, 0, 1], seed=6)
    batch = lay(samples, toy_pixels)
    before = model(**batch.inputs())
    noise = torch.randn_like(batch.vision.pixels)
    changed = Vision(batch.vision.spans, batch.vision.pixels + noise)
    after = model(**batch.inputs() | {"vision": changed})
    difference = (after - before).abs().amax(-1)
    parts = difference.split([len(s.ids) for s in samples], dim=1) if lay is pack else difference
    for sample, part in zip(samples, parts, strict=True):
        place = sample.ids.index(VOCAB) if sample.pictures else len(sample.ids)
        own = part.flatten()[: len(sample.ids)]
        assert not own[:place].any() and own[place:].all()
    assert any(sample.ids.index(VOCAB) > 0 for sample in samples if sample.pictures)
