"""A judge and a liar: what perturb makes of a true answer, no verifier takes for right."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from chiasm.data.dialogue.perturb import changes, perturb
from chiasm.data.render.kinds import kind_of
from chiasm.evaluation.verify import right

PICTURES = {"scenes": 30, "grounding": 30, "bars": 12}


@pytest.mark.parametrize("name", PICTURES)
def test_a_true_answer_is_right_and_every_change_of_it_wrong(name: str) -> None:
    kind, asked, changed = kind_of(name), 0, Counter[str]()
    for number in range(PICTURES[name]):
        for question in kind.draw(Random(f"0/{name}/{number}"), {}).questions:
            asked += 1
            assert right(question.check, question.answer)
            for change in changes(question.answer):
                changed[change.kind] += 1
                assert not right(question.check, change.text), (question, change)
            drawn = perturb(question.answer, Random(number))
            assert (drawn is None) == (not changes(question.answer))
    assert changed.total() > asked > PICTURES[name]
    assert len(changed) > 1
