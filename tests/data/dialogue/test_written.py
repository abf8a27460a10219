"""What a model writes from captions: read strictly, checked against the caption, every refusal counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chiasm.data.dialogue.written import REASONS, WrittenSettings, fault, read, write
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture, Text


def pair(caption: str, number: int = 0) -> Pair:
    return Pair(f"toys/{number}", caption, Picture(data=b"x"), "toys")


REPLY = """Sure! Here are some questions:

Q: What animal is shown?
A: a dog

2. **Q:** What colour is the ball?
**A:** red

Question 3: Is this the description?
Answer: yes
"""


def test_questions_are_read_in_the_forms_that_models_use() -> None:
    assert list(read(REPLY)) == [
        ("What animal is shown?", "a dog"),
        ("What colour is the ball?", "red"),
        ("Is this the description?", "yes"),
    ]
    assert list(read("I cannot do that.")) == [] == list(read("Q: What?\nIt is a dog."))


CAPTION = "A brown dog plays with a red ball."
FAULTS = [
    ("What animal plays?", "a brown dog", ""),
    ("What do the dogs do?", "dogs play", ""),
    ("What animal plays", "a dog", "no_question"),
    ("Dog?", "a dog", "no_question"),
    ("What does the caption say?", "a dog", "leak"),
    ("What breed is it?", "a poodle", "not_in_caption"),
    ("What plays?  Is it?", "a dog and a red ball and a brown dog and a red ball with", "too_long"),
    ("Is the ball red?", "red ball", "given_away"),
    ("what is it?", "a dog", "repeated"),
]


@pytest.mark.parametrize("question, answer, reason", FAULTS)
def test_what_is_not_used_has_its_reason(question: str, answer: str, reason: str) -> None:
    assert fault(question, answer, CAPTION, WrittenSettings(), {"what is it?"}) == reason
    assert not reason or reason in REASONS


def test_an_invented_answer_is_taken_only_when_that_is_wanted() -> None:
    free = WrittenSettings(grounded=False)
    assert fault("What breed is it?", "a poodle", CAPTION, free, set()) == ""


def test_every_question_is_used_or_counted() -> None:
    captions = [f"A brown dog number {i} with a red ball." for i in range(7)]
    prompts: list[str] = []

    def ask(asked: Sequence[str]) -> list[str]:
        prompts.extend(asked)
        return [REPLY if i % 2 else "No." for i in range(len(prompts) - len(asked), len(prompts))]

    made = write([pair(c, i) for i, c in enumerate(captions)], ask, WrittenSettings(batch=3))
    assert len(prompts) == 7 and all(c in p for c, p in zip(captions, prompts, strict=True))
    assert (
        len(made.samples) == 3 * 2
    )  # of each reply two questions, the third one speaks of the description
    assert dict(made.refused) == {"no_pair": 4, "leak": 3}
    first = made.samples[0]
    assert first.key == "toys/1/written/0"
    assert first.messages[0].parts == (Picture(data=b"x"), Text("What animal is shown?"))


def test_a_caption_cannot_end_its_quotation() -> None:
    seen: list[str] = []
    write([pair('a "quoted"\nword')], lambda p: seen.extend(p) or [""] * len(p))
    assert "\"a 'quoted' word\"" in seen[0]
