"""The benchmark easy-vqa: kinds of its questions, and its prior, measured on the real data."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.evaluation.toys import Listed, shade

from chiasm.checkpoint.builtin import pull_wheel
from chiasm.data.rows import question_answer
from chiasm.data.sources import easy_vqa as open_source
from chiasm.evaluation.runner import run
from chiasm.evaluation.task import Prompt, question_of, text_of
from chiasm.evaluation.tasks.easy_vqa import PRIOR, easy_vqa, kind
from chiasm.inputs.message import Picture

PICTURE = Picture(data=shade(0))


@pytest.mark.parametrize(
    "question, expected",
    [
        ("what color is the shape?", "colour"),
        ("what is the color of the rectangle?", "colour"),
        ("what is the blue shape?", "shape"),
        ("what shape does the image contain?", "shape"),
        ("is there a blue shape?", "presence"),
        ("does the image contain a circle?", "presence"),
        ("is there not a blue shape in the image?", "negated presence"),
        ("is no circle present?", "negated presence"),
        ("does the image not contain a teal shape?", "negated presence"),
    ],
)
def test_kinds(question: str, expected: str) -> None:
    assert kind(question_answer(PICTURE, question, "?", "")) == expected


def source(name: str, pairs: Sequence[tuple[str, str]]) -> Listed:
    return Listed([(question_answer(PICTURE, q, a, f"{name}/{q}"),) for q, a in pairs], name)


def test_the_prior_is_learned_on_train_and_scored_on_test() -> None:
    train = source("train", [("q?", "a"), ("q?", "a"), ("q?", "b"), ("r?", "c")])
    test = source("test", [("q?", "a"), ("q?", "b"), ("q?", "b"), ("r?", "c")])
    result = run(easy_vqa(train, test), lambda prompts: ["a"] * len(prompts), quiet=True)
    assert result.shares(PRIOR).total.right == 2.0  # one q, one r: it has not seen that b wins
    assert result.total.right == 1.0


# ---- the real data -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Path:
    """The benchmark's files, fetched once into the cache."""
    return pull_wheel("easy-vqa")


def test_real_counts(real: Path) -> None:
    for split, pictures, questions in (("train", 4000, 38_575), ("test", 1000, 9_673)):
        opened = open_source(real, split)
        records = [opened[number] for number in range(len(opened))]
        assert (len(records), sum(map(len, records))) == (pictures, questions)
        keys = {sample.key for record in records for sample in record}
        assert len(keys) == questions


def test_real_prior_and_kinds(real: Path) -> None:
    """What somebody scores who knows the training set by heart and is blind: 0.6694."""

    def yes(prompts: Sequence[Prompt]) -> list[str]:
        return ["yes"] * len(prompts)

    train, test = open_source(real, "train"), open_source(real, "test")
    result = run(easy_vqa(train, test), yes, batch=64, quiet=True)
    assert (result.total.right, result.total.count) == (3611, 9673)
    prior = result.shares(PRIOR)
    assert (prior.total.right, prior.total.count) == (6475, 9673)
    assert {name: share.count for name, share in prior.kinds.items()} == {
        "negated presence": 3605,
        "presence": 3531,
        "colour": 1280,
        "shape": 1257,
    }
    # Counted another way, straight from the questions: same number.
    answers: dict[str, Counter[str]] = {}
    for number in range(len(train)):
        for sample in train[number]:
            question = text_of(question_of(sample)[-1])
            answers.setdefault(question, Counter())[text_of(sample.messages[-1])] += 1
    best = {q: max(sorted(counts), key=counts.__getitem__) for q, counts in answers.items()}
    assert sum(best[row.question] == row.truth for row in result.rows) == 6475
