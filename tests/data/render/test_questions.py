"""Questions about drawn pictures: their own answers are right, others wrong, and words alone do not tell."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from tests.data.render.toys import toy_map
from tests.evaluation.verify.wrong import wrong_answers

from chiasm.base.errors import UserError
from chiasm.data.render.drawn import Drawn
from chiasm.data.render.kinds import kind_of, kinds
from chiasm.data.render.phrases import TEMPLATES
from chiasm.evaluation.verify import right
from chiasm.inputs.question import Question

WHOLE = ("table", "graph", "latex", "text", "element")
"""Checks of what stands for itself, no word before it."""
DRAWN = ("scenes", "grounding", "clips")
GIVEN: dict[str, dict[str, Any]] = {"maps": {"maps": [toy_map()]}}


@pytest.mark.parametrize("name", sorted(kinds()))
def test_own_answers_are_right_and_near_misses_wrong(
    drawn: dict[str, list[Drawn]], name: str
) -> None:
    try:
        kind = kind_of(name)
    except UserError as missing:
        pytest.skip(str(missing))
    few = drawn.get(name) or [kind.draw(Random(f"7/{name}/{i}"), {}) for i in range(12)]
    for picture in few[:200]:
        assert picture.questions
        for question in picture.questions:
            check, answer = question.check, question.answer
            assert right(check, answer), question
            if check["how"] not in WHOLE:
                assert right(check, f"Answer: {answer}"), question
            for wrong in wrong_answers(check, answer):
                assert not right(check, wrong), (question, wrong)


@pytest.mark.parametrize("name", DRAWN)
def test_free_words_are_understood(drawn: dict[str, list[Drawn]], name: str) -> None:
    for picture in drawn[name][:150]:
        for question in picture.questions:
            if question.check["how"] == "words":
                assert right(question.check, f"I think it is the {question.answer}.")
            if question.check["how"] == "number":
                assert right(question.check, f"There are exactly {question.answer} of them.")
            if question.check["how"] == "yes_no":
                assert right(question.check, f"{question.answer.title()}.")


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_seed_gives_the_same_bytes(drawn: dict[str, list[Drawn]], name: str) -> None:
    kind = kind_of(name)
    again = [kind.draw(Random(f"7/{name}/{i}"), {}) for i in range(20)]
    assert again == drawn[name][:20]
    assert len({picture.data for picture in drawn[name]}) == len(drawn[name])


def test_every_template_is_used(drawn: dict[str, list[Drawn]]) -> None:
    asked = {q.kind for several in drawn.values() for each in several for q in each.questions}
    assert asked == set(TEMPLATES) - {"times"}  # which asks about cut-outs


def pairs(drawn: Iterable[Drawn]) -> dict[str, list[Question]]:
    found = defaultdict(list)
    for picture in drawn:
        for question in picture.questions:
            found[question.kind].append(question)
    return found


CHANCE = {
    **dict.fromkeys(
        ("exists", "more", "relation", "inside", "in place", "size", "is in region"), 1 / 2
    ),
    **dict.fromkeys(("quarter", "pattern", "direction", "bounces", "odd quality"), 1 / 4),
    **{"count": 1 / 7, "count inside": 1 / 4, "total": 1 / 6, "blinks": 1 / 5, "label": 1 / 9},
    **{"colour": 1 / 9, "shape": 1 / 10, "odd colour": 1 / 9, "odd shape": 1 / 10},
}
"""What a guess gives, by the number of answers."""


@pytest.mark.parametrize("kind", sorted(CHANCE))
def test_the_most_frequent_answer_to_a_question_is_near_chance(
    drawn: dict[str, list[Drawn]], kind: str
) -> None:
    asked = [q for several in drawn.values() for q in pairs(several).get(kind, ())]
    prior = Counter(q.answer for q in asked[::2]).most_common(1)[0][0]
    held = asked[1::2]
    share = sum(q.answer == prior for q in held) / len(held)
    chance = CHANCE[kind]
    assert len(held) > 4
    assert share < chance + 3 * math.sqrt(chance * (1 - chance) / len(held)) + 0.03


def first_named(question: Question) -> str:
    """The one of two that is named first."""
    accept = question.check["among"]
    return min((name for name in accept if name in question.text), key=question.text.index)


@pytest.mark.parametrize("kind", ["further", "bigger", "front", "faster"])
def test_the_first_named_of_two_is_right_half_of_the_time(
    drawn: dict[str, list[Drawn]], kind: str
) -> None:
    asked = [q for several in drawn.values() for q in pairs(several).get(kind, ())]
    share = sum(first_named(q) == q.answer for q in asked) / len(asked)
    assert len(asked) > 30
    assert abs(share - 0.5) < 3 * 0.5 / math.sqrt(len(asked)) + 0.01


def bayes(train: list[Question]) -> Callable[[str], str]:
    """A reader of words alone: naive Bayes over the words of a question, yes against no."""
    counts = {answer: Counter[str]() for answer in ("yes", "no")}
    for question in train:
        counts[question.answer].update(question.text.lower().split())
    sums = {answer: sum(words.values()) + len(words) for answer, words in counts.items()}

    def guess(text: str) -> str:
        def score(answer: str) -> float:
            words = text.lower().split()
            return sum(math.log((counts[answer][word] + 1) / sums[answer]) for word in words)

        return max(("no", "yes"), key=score)

    return guess


def test_the_words_of_a_yes_no_question_do_not_tell(drawn: dict[str, list[Drawn]]) -> None:
    asked = [
        q
        for several in drawn.values()
        for each in several
        for q in each.questions
        if q.check["how"] == "yes_no"
    ]
    guess, held = bayes(asked[::2]), asked[1::2]
    share = sum(guess(q.text) == q.answer for q in held) / len(held)
    assert len(held) > 200
    assert abs(share - 0.5) < 3 * 0.5 / math.sqrt(len(held)) + 0.01


@pytest.mark.soak
@pytest.mark.parametrize("name", DRAWN)
def test_a_core_draws_150_a_second(name: str) -> None:
    kind, count = kind_of(name), 600
    best = math.inf
    for turn in range(3):
        start = time.process_time()
        for i in range(turn * count, (turn + 1) * count):
            kind.draw(Random(f"9/{name}/{i}"), {})
        best = min(best, (time.process_time() - start) / count)
    assert best < 1 / 150


@pytest.mark.soak
@pytest.mark.parametrize("name", DRAWN)
def test_five_thousand_more_are_sound_and_no_easier_to_guess(name: str) -> None:
    kind = kind_of(name)
    asked = pairs(kind.draw(Random(f"10/{name}/{i}"), {}) for i in range(5000))
    for questions in asked.values():
        assert all(right(question.check, question.answer) for question in questions)
    for each in set(asked) & set(CHANCE):
        counts, chance = Counter(q.answer for q in asked[each]), CHANCE[each]
        share = counts.most_common(1)[0][1] / counts.total()
        assert share < chance + 4 * math.sqrt(chance * (1 - chance) / counts.total()) + 0.03
