"""The engine against the slow way, in batches of everything at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.toys import (
    SEEING,
    answer_without_cache,
    engine_of,
    model_of,
    never,
    prompt_of,
    shown_as,
)
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.inference.engine import lots
from chiasm.inference.sampling import Sampling
from chiasm.inputs.chat import Rendered
from chiasm.nn import Cache
from chiasm.testing import VOCAB, toy_pixels, toy_tokenizer

GREEDY = Sampling(max_tokens=12)


class Parrot(torch.nn.Linear):
    """Says a script, whatever it is told."""

    def __init__(self, script: list[int]) -> None:
        super().__init__(1, 1)
        self.script = script

    def forward(self, tokens: Tensor, *, vision: object = None, cache: Cache) -> Tensor:
        return cache.positions(tokens.shape[1])[..., None].double()

    def head(self, places: Tensor) -> Tensor:
        said = [self.script[int(place) - 1] for place in places.flatten()]  # two tokens were told
        return torch.nn.functional.one_hot(torch.tensor(said), VOCAB).double()

    def cache(self, rows: int, capacity: int) -> Cache:
        return Cache(rows, capacity, 1, 1, 1, self.weight)


prompts = st.lists(
    st.tuples(
        st.integers(0, 99),
        st.lists(st.integers(0, 3), max_size=2, unique=True),
        st.integers(1, 14),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("kind", [*SEEING, "decoder"])
@given(drawn=prompts, batch=st.integers(1, 4))
@settings(max_examples=12)
def test_a_batch_answers_as_each_prompt_alone(kind: str, drawn: list, batch: int) -> None:
    model = model_of(kind)
    asked = [
        prompt_of(model, seed, pictures if kind in SEEING else (), tokens)
        for seed, pictures, tokens in drawn
    ]
    answers = engine_of(model).generate(asked, toy_pixels, GREEDY, batch=batch)
    for prompt, answer in zip(asked, answers, strict=True):
        expected = answer_without_cache(model, prompt, GREEDY.max_tokens)
        assert answer.ids == expected
        assert answer.reason == ("length" if len(expected) == GREEDY.max_tokens else "stop")


def test_the_oracle_sees_pictures_and_its_answers_differ_in_length() -> None:
    """Else the test above would compare little."""
    model = model_of("crossed")
    prompts = {p: [prompt_of(model, seed, [p]) for seed in range(12)] for p in (0, 1, 2)}
    said = {p: [answer_without_cache(model, asked, 12) for asked in prompts[p]] for p in prompts}
    assert len({len(answer) for answers in said.values() for answer in answers}) >= 3
    assert said[0] != said[1] != said[2] != said[0]


@pytest.mark.parametrize("kind", SEEING)
def test_a_stream_is_the_answer(kind: str) -> None:
    model = model_of(kind)
    engine = engine_of(model)
    for seed in range(4):
        prompt = prompt_of(model, seed, [1])
        streamed = list(engine.stream(prompt, toy_pixels, GREEDY))
        assert streamed == engine.generate([prompt], toy_pixels, GREEDY)[0].ids


def test_tokens_are_told_as_they_come() -> None:
    model = model_of("decoder")
    asked = [prompt_of(model, seed, (), 3 + seed) for seed in range(5)]
    told: dict[int, list[int]] = {}
    answers = engine_of(model).generate(
        asked,
        never,
        GREEDY,
        on_token=lambda place, token: told.setdefault(place, []).append(token),
        batch=2,
    )
    assert [told.get(place, []) for place in range(5)] == [answer.ids for answer in answers]


@pytest.mark.parametrize("kind", SEEING)
def test_a_picture_is_encoded_once_and_no_prompt_meets_the_head(kind: str) -> None:
    model = model_of(kind)
    encoded, headed = [], []
    model.encoder.register_forward_hook(lambda _, args, out: encoded.append(len(args[0])))
    plain = model.head
    model.head = lambda features: (headed.append(features.shape), plain(features))[1]
    asked = [prompt_of(model, seed, [seed % 2]) for seed in range(6)]
    answers = engine_of(model, stop_ids=frozenset()).generate(asked, toy_pixels, GREEDY)
    # A video's frames are seen in groups; its last one may be shorter.
    shown = (toy_pixels(shown_as(model, number)) for number in range(2))
    tiles = sum(one.shape[:-3].numel() for one in shown)
    assert sum(encoded) == tiles and (kind == "video" or encoded == [2])
    width = model.config.decoder.width
    assert headed == [(6, width)] * GREEDY.max_tokens
    assert all(len(answer.ids) == GREEDY.max_tokens for answer in answers)


def test_lots_hold_each_prompt_once_and_keep_pictures_together() -> None:
    model = model_of("crossed")
    asked = [prompt_of(model, i, [i % 3], tokens=4 + 5 * i % 7) for i in range(12)]
    asked += [prompt_of(model, i, (), tokens=4 + 3 * i % 11) for i in range(10)]
    parts = list(lots(asked, 4))
    assert sorted(place for part in parts for place in part) == list(range(22))
    assert max(map(len, parts)) <= 4
    shown = [{asked[place].pictures for place in part} for part in parts]
    assert sum(len(pictures - {()}) for pictures in shown) <= 3 + len(parts) // 4 + 1
    padded = sum(len(p) * max(len(asked[i].ids) for i in p) for p in lots(asked[12:], 4))
    unsorted = sum(4 * max(len(p.ids) for p in asked[12:][i : i + 4]) for i in range(0, 8, 4))
    assert padded < unsorted + 2 * 14


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    model = model_of("decoder")
    engine = engine_of(model, context=10)
    with pytest.raises(UserError, match=r"10 tokens long.* can hold 10"):
        engine.generate([prompt_of(model, 0, (), 10)], never, GREEDY)
    with pytest.raises(UserError, match="12 tokens long"):
        next(engine.stream(prompt_of(model, 0, (), 12), never, GREEDY))


def test_an_answer_ends_where_the_context_ends() -> None:
    model = model_of("decoder")
    engine = engine_of(model, context=10, stop_ids=frozenset())
    asked = [prompt_of(model, n, (), n) for n in (9, 4, 7)]
    answers = engine.generate(asked, never, GREEDY)
    assert [len(answer.ids) for answer in answers] == [1, 6, 3]
    assert {answer.reason for answer in answers} == {"length"}


@pytest.mark.parametrize("stop", [(". ",), ("two",), ("thr", "tw")])
def test_a_stop_text_ends_the_answer_before_itself(stop: tuple[str, ...]) -> None:
    script = "one. two. three"
    engine = engine_of(Parrot(toy_tokenizer().encode(script)), stop_ids=frozenset())
    prompt = Rendered([1, 2], [False] * 2, (), [(0, 0)] * 2)
    whole = engine.generate([prompt], never, Sampling(max_tokens=len(script)))[0]
    assert (whole.text, whole.reason) == (script, "length")
    cut = engine.generate([prompt], never, Sampling(max_tokens=50, stop=stop))[0]
    assert cut.text == script[: min(script.index(s) for s in stop)] and cut.reason == "stop"
    assert cut.ids == whole.ids[: len(cut.ids)] and len(cut.ids) < len(script)


def test_the_end_token_is_no_part_of_the_answer() -> None:
    model = model_of("decoder")
    prompt = prompt_of(model, 0, (), 5)
    first = engine_of(model, stop_ids=frozenset()).generate([prompt], never, GREEDY)[0].ids
    assert len(first) == 12
    ended = engine_of(model, stop_ids=frozenset({first[4]})).generate([prompt], never, GREEDY)[0]
    assert ended.ids == first[: first.index(first[4])] and ended.reason == "stop"


@torch.no_grad()
def test_an_empty_answer_is_an_answer() -> None:
    model = model_of("decoder")
    every = frozenset(range(VOCAB))
    answer = engine_of(model, stop_ids=every).generate([prompt_of(model, 0)], never, GREEDY)[0]
    assert (answer.ids, answer.text, answer.reason) == ([], "", "stop")
