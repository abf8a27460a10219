"""A task: samples, how to ask them and how to score an answer, in one object.

    Sample ── prompt ──► messages ──► somebody answers ──► text ── score(text, Sample) ──► 0 … 1
       └───── kind ────► the group that it is counted in

The same object serves as a reward: `task.score` asks nothing about where an answer came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from chiasm.base.errors import UserError
from chiasm.evaluation.metrics import exact_match
from chiasm.inputs.message import Message, Record, Sample, Text

Prompt: TypeAlias = tuple[Message, ...]
"""A conversation that ends where the assistant is to speak."""


class Records(Protocol):
    """A sequence of records, as the sources of the data room are; a bad one raises UserError."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


def question_of(sample: Sample) -> Prompt:
    """Return the conversation up to its last answer; raises UserError when it ends otherwise."""
    if len(sample.messages) < 2 or sample.messages[-1].role != "assistant":
        raise UserError(
            f"Sample {sample.key!r} does not end with a question and its answer, so it cannot be "
            "scored; add the answer or leave it out."
        )
    return sample.messages[:-1]


def truth_of(sample: Sample) -> str:
    """Return the text of a sample's last message: the answer that is held to be right."""
    return text_of(sample.messages[-1])


def text_of(message: Message) -> str:
    """Return a message's texts, joined."""
    return "".join(part.text for part in message.parts if isinstance(part, Text))


def score_exactly(answer: str, sample: Sample) -> float:
    """Return 1.0 when the answer is the sample's own (see `metrics.normal`), else 0.0."""
    return exact_match(answer, truth_of(sample))


def one_kind(sample: Sample) -> str:
    """Put every sample into one group."""
    return "question"


@dataclass(frozen=True)
class Task:
    """A data set, the prompt made from a sample, and the score of an answer."""

    name: str
    source: Records
    prompt: Callable[[Sample], Prompt] = question_of
    score: Callable[[str, Sample], float] = score_exactly
    """From 0.0 (wrong) to 1.0 (right)."""
    kind: Callable[[Sample], str] = one_kind
    """The group of questions in which a sample is counted."""
    baselines: Mapping[str, Callable[[Sample], str]] = field(default_factory=dict)
    """Answers that need no model, by name: what a score has to be compared with."""
    rule: str = "exact match (white space around it, case and a final full stop ignored)"
    """What `score` does, in words for reports."""
