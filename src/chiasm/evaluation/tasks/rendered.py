"""Rendered questions as a task: each answer is judged by the check that its picture was drawn with."""

from __future__ import annotations

from typing import Protocol

from chiasm.evaluation.metrics import majority
from chiasm.evaluation.task import Records, Task, question_of, text_of, truth_of
from chiasm.evaluation.verify import right
from chiasm.inputs.message import Sample
from chiasm.inputs.question import Question

PRIOR = "question-only prior"
"""Name of the baseline that reads the question and never sees the picture."""


class Judged(Records, Protocol):
    """Records that know the question, with its check, behind the key of a sample."""

    def of(self, key: str) -> Question:
        """Return the question of a sample's key."""
        ...


def rendered(train: Records, test: Judged) -> Task:
    """Return the task on `test`; the prior guesses the answer most frequent in `train`."""

    def score(answer: str, sample: Sample) -> float:
        return float(right(test.of(sample.key).check, answer))

    def kind(sample: Sample) -> str:
        return test.of(sample.key).kind

    records = (train[number] for number in range(len(train)))
    guess = majority((_asked(each), truth_of(each)) for record in records for each in record)
    return Task(
        "rendered",
        test,
        score=score,
        kind=kind,
        baselines={PRIOR: lambda sample: guess(_asked(sample))},
        rule="the check that each question was drawn with",
    )


def _asked(sample: Sample) -> str:
    return text_of(question_of(sample)[-1])
