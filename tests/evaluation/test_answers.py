"""The engine as an answerer: same answers as one by one, equal prompts and pictures used once."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from tests.evaluation.toys import Listed
from torch import Tensor

from chiasm.evaluation.answers import answers, read_once
from chiasm.evaluation.runner import run
from chiasm.evaluation.task import Prompt, Task, question_of
from chiasm.inference.engine import Engine
from chiasm.inference.sampling import Sampling
from chiasm.inputs.batch import Batch, pad
from chiasm.inputs.chat import Attend, Rendered
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Picture, Text, Video
from chiasm.nn import Cache
from chiasm.testing import (
    toy_crossed,
    toy_decoder_config,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_renderer,
    toy_sample,
    toy_tokenizer,
    toy_video,
    toy_video_config,
)

KINDS = {
    "crossed": toy_crossed,
    "video": partial(toy_crossed, video=toy_video_config()),
    "prefix": toy_prefix,
}


class Toy:
    """A processor for toy models that counts the pictures it was asked for."""

    def __init__(
        self, model: torch.nn.Module, broken: Sequence[Picture] = (), attend: Attend = "last"
    ) -> None:
        self.renderer = toy_renderer(model.config, attend)
        self.asked: list[str] = []
        self.broken = {picture.key for picture in broken}

    def prompt(self, messages: Prompt) -> Rendered:
        return self.renderer.prompt(messages)

    def pixels_of(self, picture: Picture | Video) -> Tensor:
        self.asked.append(picture.key)
        if picture.key in self.broken:
            raise MediaError("broken", "the picture")
        return toy_pixels(picture)


class Counted(Engine):
    """An engine that remembers how many tokens each pass read, in how many rows."""

    def read(self, cache: Cache, batch: Batch) -> Tensor:
        self.passes = [*getattr(self, "passes", []), batch.lengths.tolist()]
        return super().read(cache, batch)


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
def test_what_questions_have_in_common_is_read_once(kind: str) -> None:
    """Two pictures with three questions: pass 1 reads up to the pictures, pass 2 what is behind."""
    engine, toy = speaker(kind)
    task = toy_task(pictures=2)
    run(task, answers(engine, toy, max_tokens=2), batch=6, quiet=True)
    lengths = [len(toy.prompt(question_of(sample)).ids) for sample in task.source[0]]
    before = (
        1 + len("user\n") + toy.renderer.places(toy_picture(0))
    )  # <|im_start|>, bytes, the picture
    assert engine.passes == [[before] * 2, [length - before for length in lengths] * 2]
    assert len(toy.asked) == len(set(toy.asked)) == 2


def mixed(watched: bool = False) -> list[list[Message]]:
    """Conversations with 0 to 3 pictures, in several turns, some of which begin alike.

    watched  one of the pictures is a video
    """
    one, two = toy_picture(1), toy_video(2) if watched else toy_picture(2)
    past = [
        Message("user", (Text("look "), one, Text(" here"))),
        Message("assistant", (Text("yes"),)),
    ]
    return [
        [Message("user", (one, Text("what?")))],
        [Message("user", (one, Text("what colour?")))],
        [Message("user", (two, Text("what?")))],
        [*past, Message("user", (Text("and now?"),))],
        [*past, Message("user", (Text("sure?"),))],
        [*past, Message("user", (two, one, Text("both?")))],
        [*past, Message("user", (two, one, Text("and both of these?")))],
        [Message("user", (Text("before "), two, two, Text("after")))],
    ]


@pytest.mark.parametrize(
    ("kind", "attend"),
    [
        ("crossed", "last"),
        ("crossed", "only_last"),
        ("crossed", "all_previous"),
        ("video", "last"),
        ("video", "all_previous"),
        ("prefix", "last"),
    ],
)
@pytest.mark.parametrize("text_only", [False, True])
def test_reading_once_is_reading_whole(kind: str, attend: Attend, text_only: bool) -> None:
    """In fp64 the logits of every row, and of the tokens that follow, agree to rounding."""
    engine, _ = speaker(kind)
    toy = Toy(engine.model, attend=attend)
    engine.model.double()
    prompts = [toy.prompt(messages) for messages in mixed(watched=kind == "video")]
    prompts += [toy.prompt([Message("user", (Text("no picture"),))])] * text_only

    def pixels(picture: Picture) -> Tensor:
        return toy.pixels_of(picture).double()

    cache, logits = read_once(engine, prompts, toy.renderer.marks, pixels, 4)
    assert len(engine.passes) == (1 if text_only else 2)
    next_ = torch.arange(len(prompts))[:, None] + 65
    with torch.inference_mode():
        after = engine.model.head(engine.model(next_, cache=cache))[:, 0]
        for row, prompt in enumerate(prompts):
            alone = engine.model.cache(1, 300)
            wanted = engine.read(alone, pad([prompt], pixels))[0]
            torch.testing.assert_close(logits[row], wanted, rtol=0, atol=1e-10)
            wanted = engine.model.head(engine.model(next_[row : row + 1], cache=alone))[0, 0]
            torch.testing.assert_close(after[row], wanted, rtol=0, atol=1e-10)


def test_equal_prompts_are_answered_once_and_counted_each() -> None:
    engine, toy = speaker("crossed")
    answer = answers(engine, toy, max_tokens=2)
    result = run(toy_task(), answer, images="blank", batch=4, quiet=True)
    assert len(result.rows) == 15
    assert sum(len(rows) for rows in engine.passes[1::2]) == 3
    assert len({(row.question, row.answer) for row in result.rows}) == 3


def test_a_prompt_that_fills_the_context_is_refused_alone() -> None:
    engine, toy = speaker("crossed")
    long = toy_sample("long " * 50, "x", [toy_picture(0)], "long")
    task = Task("toy", Listed([(long,), *toy_task(pictures=2).source.records]))
    result = run(task, answers(engine, toy, max_tokens=2), quiet=True)
    assert [key for key, _ in result.refused] == ["long"]
    assert "tokens long" in result.refused[0][1]
    assert len(result.rows) == 6


def test_a_broken_picture_costs_its_own_questions() -> None:
    task = toy_task()
    engine, toy = speaker("crossed", broken=[toy_picture(2)])
    result = run(task, answers(engine, toy, max_tokens=2), quiet=True)
    assert sorted(key for key, _ in result.refused) == ["2/0", "2/1", "2/2"]
    assert len(result.rows) == 12
