"""The engine as an answerer: same answers as one by one, equal prompts and pictures used once."""

from collections.abc import Sequence

import pytest
import torch
from tests.evaluation.toys import Listed
from torch import Tensor

from chiasm.evaluation.runner import answers, run
from chiasm.evaluation.task import Prompt, Task, question_of
from chiasm.inference.engine import Engine
from chiasm.inference.sampling import Sampling
from chiasm.inputs.chat import Rendered
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture
from chiasm.testing import (
    toy_crossed,
    toy_decoder_config,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_renderer,
    toy_sample,
    toy_tokenizer,
)

KINDS = {"crossed": toy_crossed, "prefix": toy_prefix}


class Toy:
    """A processor for toy models that counts the pictures it was asked for."""

    def __init__(self, model: torch.nn.Module, broken: Sequence[Picture] = ()) -> None:
        self.renderer = toy_renderer(model.config)
        self.asked: list[str] = []
        self.broken = {picture.key for picture in broken}

    def prompt(self, messages: Prompt) -> Rendered:
        return self.renderer.prompt(messages)

    def pixels_of(self, picture: Picture) -> Tensor:
        self.asked.append(picture.key)
        if picture.key in self.broken:
            raise MediaError("broken", "the picture")
        return toy_pixels(picture)


class Counted(Engine):
    """An engine that remembers what it was asked."""

    prompts: tuple[Rendered, ...] = ()

    def generate(self, prompts: Sequence[Rendered], *args: object, **more: object) -> list:
        self.prompts += tuple(prompts)
        return super().generate(prompts, *args, **more)


def toy_task(pictures: int = 5, questions: int = 3) -> Task:
    """Some questions, of different lengths, about each of some pictures."""
    shown = [toy_picture(number) for number in range(pictures)]
    texts = ["what?", "which colour is it?", "is it large, or not?"][:questions]
    records = [
        tuple(toy_sample(text, "x", [picture], f"{i}/{n}") for n, text in enumerate(texts))
        for i, picture in enumerate(shown)
    ]
    return Task("toy", Listed(records))


def speaker(kind: str, broken: Sequence[Picture] = ()) -> tuple[Counted, Toy]:
    # A head of its own: with the embedding as head, a toy repeats the last token for ever.
    model = KINDS[kind](decoder=toy_decoder_config(tied=False)).eval()
    return Counted(model, frozenset(), 200, toy_tokenizer()), Toy(model, broken)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_answers_do_not_depend_on_the_batch(kind: str, batch: int) -> None:
    engine, toy = speaker(kind)
    task = toy_task()
    result = run(task, answers(engine, toy, max_tokens=6, batch=batch), batch=batch, quiet=True)
    for row in result.rows:
        sample = task.source[row.place[0]][row.place[1]]
        prompt = toy.prompt(question_of(sample))
        [alone] = engine.generate([prompt], toy.pixels_of, Sampling(max_tokens=6))
        assert row.answer == alone.text
    assert len({row.answer for row in result.rows}) > 5  # one answer to all would show nothing


@pytest.mark.parametrize("kind", KINDS)
def test_questions_about_one_picture_read_it_once(kind: str) -> None:
    engine, toy = speaker(kind)
    run(toy_task(), answers(engine, toy, max_tokens=2), batch=6, quiet=True)
    assert len(engine.prompts) == 15
    assert len(toy.asked) == len(set(toy.asked)) == 5


def test_equal_prompts_are_answered_once_and_counted_each() -> None:
    engine, toy = speaker("crossed")
    answer = answers(engine, toy, max_tokens=2)
    result = run(toy_task(), answer, images="blank", batch=4, quiet=True)
    assert len(result.rows) == 15
    assert len(engine.prompts) == 3
    by_question = {(row.question, row.answer) for row in result.rows}
    assert len(by_question) == 3


def test_a_broken_picture_costs_its_own_questions() -> None:
    task = toy_task()
    engine, toy = speaker("crossed", broken=[toy_picture(2)])
    result = run(task, answers(engine, toy, max_tokens=2), quiet=True)
    assert sorted(key for key, _ in result.refused) == ["2/0", "2/1", "2/2"]
    assert len(result.rows) == 12
