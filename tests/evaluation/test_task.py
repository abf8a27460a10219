"""A task takes a sample apart into what is asked and what is true."""

import pytest
from tests.evaluation.toys import shade, shades

from chiasm.base.errors import UserError
from chiasm.evaluation.task import Task, question_of, truth_of
from chiasm.inputs.message import Message, Picture, Sample, Text

USER = Message("user", (Picture(data=shade(1)), Text("what is "), Text("it?")))
REPLY = Message("assistant", (Text("a "), Text("fox.")))
MORE = Message("user", (Text("sure?"),))


def test_only_the_last_answer_is_taken_away() -> None:
    sample = Sample((USER, REPLY, MORE, Message("assistant", (Text("yes"),))))
    assert question_of(sample) == (USER, REPLY, MORE)
    assert truth_of(sample) == "yes"
    assert truth_of(Sample((USER, REPLY))) == "a fox."


@pytest.mark.parametrize("messages", [(USER,), (REPLY,), (USER, REPLY, MORE), ()])
def test_what_has_no_answer_cannot_be_scored(messages: tuple[Message, ...]) -> None:
    with pytest.raises(UserError, match="'k' does not end with a question and its answer"):
        question_of(Sample(messages, "k"))


def test_a_task_scores_by_its_own_sample() -> None:
    task = Task("t", shades([1]))
    assert task.score("A Fox", Sample((USER, REPLY))) == 1.0
    assert task.score("a cat", Sample((USER, REPLY))) == 0.0
