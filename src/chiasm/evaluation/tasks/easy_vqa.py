"""easy-vqa: what shape, which colour, is there one, is there none? 9,673 held-out questions.

Questions about a picture with one shape (circle, rectangle, triangle) in one of eight colours; more
than half of them can be guessed without looking (https://github.com/vzhou842/easy-VQA).
"""

from __future__ import annotations

from chiasm.evaluation.metrics import majority
from chiasm.evaluation.task import Records, Task, question_of, text_of, truth_of
from chiasm.inputs.message import Sample

PRIOR = "question-only prior"
"""Name of the baseline that reads the question and never sees the picture."""


def easy_vqa(train: Records, test: Records) -> Task:
    """Return the task on `test`; the prior is learned on `train` (0.669 on the real test set)."""
    records = (train[number] for number in range(len(train)))
    pairs = ((question(sample), truth_of(sample)) for record in records for sample in record)
    guess = majority(pairs)
    return Task("easy-vqa", test, kind=kind, baselines={PRIOR: lambda s: guess(question(s))})


def question(sample: Sample) -> str:
    """Return a sample's question."""
    return text_of(question_of(sample)[-1])


def kind(sample: Sample) -> str:
    """Return what a question asks for: "colour", "shape", "presence" or "negated presence"."""
    words = question(sample).lower().rstrip("?").split()
    if "what" in words:
        return "colour" if "color" in words else "shape"
    return "negated presence" if "no" in words or "not" in words else "presence"
