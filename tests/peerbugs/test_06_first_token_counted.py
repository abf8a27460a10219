"""Peer bug 6, its newest form: the count of targets held tokens that nobody predicts.

The first token of a sequence has no place before it, yet it was counted as soon as its label was
set, so every loss was too small by one target a sequence: transformers #46204.
"""

from __future__ import annotations

from tests.training.oracle import MODELS, worst

from chiasm.inputs.batch import IGNORED, pack
from chiasm.inputs.chat import Rendered
from chiasm.testing import toy_pixels, toy_rendered
from chiasm.training import NextToken


def test_a_first_token_is_no_target_even_where_it_is_marked() -> None:
    samples = [toy_rendered(i, tokens=5 + i) for i in range(3)]
    marked = [Rendered(s.ids, [True] * len(s.ids), s.pictures, s.seen) for s in samples]
    batch = pack(marked, toy_pixels)
    assert NextToken().weight(batch) == sum(len(s.ids) - 1 for s in samples)
    assert int((batch.targets != IGNORED).sum()) == NextToken().weight(batch)
    assert worst(MODELS["crossed"], [marked[:1], marked[1:]]) <= 1e-10
    assert int(batch.targets[0, 4]) == IGNORED  # the last of sample 0
