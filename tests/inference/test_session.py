"""A conversation that goes on is the conversation read anew at every turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.toys import SEEING, engine_of, model_of, shown_as
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.inference.sampling import Sampling
from chiasm.inference.session import Session, agreement, behind
from chiasm.inputs.batch import pad
from chiasm.inputs.chat import Attend, Rendered, Renderer
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.message import Message, Picture, Text, Video
from chiasm.testing import (
    VOCAB,
    toy_picture,
    toy_pixels,
    toy_renderer,
    toy_tiles,
    toy_tokenizer,
    toy_video,
)

GREEDY = Sampling(max_tokens=6)


RULES: tuple[Attend, ...] = ("last", "only_last", "all_previous")


def session_of(model: Any, context: int = 2000, attend: Attend = "last") -> Session:
    tokenizer = toy_tokenizer()
    if "decoder" in model._modules:
        renderer = toy_renderer(model.config, attend)
    else:
        renderer = Renderer(tokenizer, CHATML, VOCAB, lambda picture: 1, None)
    ends = frozenset({renderer.end, *range(0, 256, 9)})
    return Session(engine_of(model, context, ends), renderer, toy_pixels)


def user(text: str, *shown: int | Picture | Video) -> Message:
    parts = (toy_picture(one) if isinstance(one, int) else one for one in shown)
    return Message("user", (*parts, Text(text)))


class Reading:
    """Counts the tokens that a model reads, and keeps the features of the newest pass."""

    def __init__(self, model: Any) -> None:
        self.tokens: list[int] = []
        self.features = torch.empty(0)
        model.register_forward_hook(self._note)

    def _note(self, model: Any, args: tuple, features: Tensor) -> None:
        self.tokens.append(args[0].shape[1])
        self.features = features


turns = st.lists(
    st.tuples(st.text("ab ", min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=2)),
    min_size=2,
    max_size=4,
)


@pytest.mark.parametrize(
    ("kind", "attend"),
    [
        *(("crossed", rule) for rule in RULES),
        *(("video", rule) for rule in RULES),
        ("prefix", "all_previous"),
        ("decoder", "last"),
    ],
)
@given(turns=turns)
@settings(max_examples=12)
def test_every_turn_is_the_whole_conversation_read_anew(
    kind: str, attend: Attend, turns: list
) -> None:
    model = model_of(kind)
    session = session_of(model, attend=attend)
    reading = Reading(model)
    for text, numbers in turns:
        shown = (shown_as(model, number) for number in (numbers if kind in SEEING else ()))
        asked = user(text, *shown)
        prompt = session.renderer.prompt([*session.history, asked])
        anew = session.engine.generate([prompt], toy_pixels, GREEDY)[0].text
        batch = pad([prompt], toy_pixels)
        with torch.no_grad():
            expected = model(batch.tokens, vision=batch.vision)
        reading.tokens.clear()
        pieces = session.ask(asked, GREEDY)
        first = next(pieces, "")
        read = reading.tokens[0]
        assert first + "".join(pieces) == anew
        assert read <= len(prompt.ids)
        cache = model.cache(
            1, len(prompt.ids)
        )  # what the turns left behind is what one pass leaves
        with torch.no_grad():
            model(batch.tokens, vision=batch.vision, cache=cache)
        for held, whole in zip(session._cache.store, cache.store, strict=True):
            held = held[:, :, : len(prompt.ids)]
            torch.testing.assert_close(held, whole, atol=1e-12, rtol=0)  # measured: 2e-15
        assert expected.shape[1] == len(prompt.ids)


@pytest.mark.parametrize("kind", SEEING)
def test_only_what_is_new_is_read(kind: str) -> None:
    model = model_of(kind)
    session = session_of(model)
    reading = Reading(model)
    encoded: list[int] = []
    model.encoder.register_forward_hook(lambda _, args, out: encoded.append(len(args[0])))
    "".join(session.ask(user("what is this?", 0), GREEDY))
    first = session.renderer.prompt([user("what is this?", 0)])
    assert reading.tokens[0] == len(first.ids) and encoded == [1]
    assert all(count == 1 for count in reading.tokens[1:])
    reading.tokens.clear()
    "".join(session.ask(user("and this?", 1), GREEDY))
    prompt = session.renderer.prompt(session.history[:-1])
    # The answer was spoken as bytes that may be no text: then it is read again, but no more than it.
    assert reading.tokens[0] <= len(prompt.ids) - len(first.ids)
    assert encoded == [1, 1]
    reading.tokens.clear()
    "".join(session.ask(user("are you sure?"), GREEDY))
    assert encoded == [1, 1] and reading.tokens[0] < 60


@pytest.mark.parametrize("kind", SEEING)
def test_a_new_picture_is_seen_and_the_old_one_is_not_forgotten(kind: str) -> None:
    """Both turns of the comparison differ in one picture alone."""

    def logits_after(first: int, second: tuple[int, ...]) -> Tensor:
        model = model_of(kind)
        session = session_of(model)
        seen: list[Tensor] = []
        plain = session.engine.read
        session.engine.read = lambda cache, batch: (seen.append(plain(cache, batch)), seen[-1])[1]
        for message in (user("one", first), user("two", *second)):
            "".join(session.ask(message, Sampling(max_tokens=1)))
            session.history[-1] = Message("assistant", (Text("x"),))
        return seen[-1]

    assert not torch.equal(logits_after(0, ()), logits_after(1, ()))
    assert not torch.equal(logits_after(0, (1,)), logits_after(0, (2,)))


def test_history_holds_what_was_said() -> None:
    session = session_of(model_of("decoder"))
    said = "".join(session.ask(user("hello"), GREEDY))
    assert session.history == [user("hello"), Message("assistant", (Text(said),))]
    session.reset()
    assert session.history == []
    assert "".join(session.ask(user("hello"), GREEDY)) == said


def test_a_listener_who_leaves_keeps_what_was_heard() -> None:
    model = model_of("decoder")
    session = session_of(model)
    long = Sampling(max_tokens=40, temperature=1.0, seed=5)
    session.engine.stop_ids = frozenset()
    pieces = session.ask(user("talk"), long)
    heard = next(pieces) + next(pieces)
    pieces.close()
    assert session.history == [user("talk"), Message("assistant", (Text(heard),))]
    asked = [*session.history, user("go on")]
    anew = session.engine.generate([session.renderer.prompt(asked)], toy_pixels, GREEDY)[0].text
    assert "".join(session.ask(user("go on"), GREEDY)) == anew


@pytest.mark.parametrize("fails", [0, 1, 4])
def test_a_pass_that_fails_leaves_the_conversation_as_it_was(fails: int) -> None:
    model = model_of("crossed")
    session = session_of(model)
    session.engine.stop_ids = frozenset()
    "".join(session.ask(user("one", 0), GREEDY))
    before = list(session.history)
    count = 0

    def break_down(*_: object) -> None:
        nonlocal count
        count += 1
        if count == fails + 1:
            raise MemoryError

    hook = model.decoder.blocks[1].register_forward_hook(break_down)
    with pytest.raises(MemoryError):
        "".join(session.ask(user("two", 1), GREEDY))
    hook.remove()
    assert session.history == before
    prompt = session.renderer.prompt([*before, user("two", 1)])
    anew = session.engine.generate([prompt], toy_pixels, GREEDY)[0].text
    assert "".join(session.ask(user("two", 1), GREEDY)) == anew


def test_a_conversation_that_fills_the_context_is_refused_and_stays() -> None:
    session = session_of(model_of("decoder"), context=80)
    "".join(session.ask(user("hi"), Sampling(max_tokens=2)))
    before = list(session.history)
    with pytest.raises(
        UserError, match=r"tokens long, but this model can hold 80.*start a new one"
    ):
        session.ask(user("x" * 70))
    assert session.history == before
    assert isinstance("".join(session.ask(user("ok"), Sampling(max_tokens=2))), str)


def rendered(ids: list[int], seen: list[tuple[int, int]], *pictures: int) -> Rendered:
    return Rendered(ids, [False] * len(ids), tuple(map(toy_picture, pictures)), seen)


def test_agreement_ends_at_the_first_difference_of_word_or_picture() -> None:
    old = rendered([7, 1, 2, 7, 3], [(0, 1)] * 3 + [(1, 2)] * 2, 0, 1)
    same = rendered([7, 1, 2, 7, 3, 4], [(0, 1)] * 3 + [(1, 2)] * 3, 0, 1)
    assert agreement(old, same) == 5
    assert agreement(old, old) == 4  # one token is always read: its logits are needed
    word = rendered([7, 1, 9, 7, 3], [(0, 1)] * 3 + [(1, 2)] * 2, 0, 1)
    assert agreement(old, word) == 2
    assert agreement(old, rendered(same.ids, same.seen, 2, 1)) == 0
    assert agreement(old, rendered(same.ids, same.seen, 0, 2)) == 3


def test_who_sees_pictures_read_before_and_a_new_one_counts_backwards() -> None:
    # a run of two pictures, the first of which had stood alone: place 0 sees (0, 1), place 1 (0, 2)
    old = rendered([7, 5], [(0, 1), (0, 1)], 0)
    new = rendered([7, 7, 5, 6], [(0, 1), (0, 2), (0, 2), (0, 2)], 0, 1)
    assert agreement(old, new) == 1
    left = behind(new, 1)
    assert left.seen == [(-1, 1)] * 3 and left.pictures == new.pictures[1:]


@pytest.mark.parametrize("attend", RULES)
@torch.no_grad()
def test_a_conversation_cut_anywhere_is_the_whole(attend: Attend) -> None:
    """At every token, also within a run of pictures of several tiles, or of videos; generated tokens see
    what the newest token saw."""
    model = model_of("video")
    a, b, c = map(toy_picture, range(3))
    v, w, x = map(toy_video, range(3))
    said = Message("assistant", (Text("w"),))
    asked = Message("user", (Text("x"), a, b, Text("y"), v, w, Text("z")))
    turns = [asked, said, Message("user", (x, c, Text("?")))]
    prompt = toy_renderer(model.config, attend).prompt(turns)
    answer = [65, 66]
    longer = replace(
        prompt,
        ids=prompt.ids + answer,
        trained=prompt.trained + [False] * len(answer),
        seen=prompt.seen + prompt.seen[-1:] * len(answer),
        watched=prompt.watched + prompt.watched[-1:] * len(answer),
    )
    whole = pad([longer], toy_tiles)
    expected = model(whole.tokens, vision=whole.vision)
    for cut in range(1, len(prompt.ids)):
        cache = model.cache(1, len(longer.ids))
        (_, pictures), (_, clips) = prompt.sees(cut - 1)
        begun = replace(
            prompt.until(cut), pictures=prompt.pictures[:pictures], clips=prompt.clips[:clips]
        )
        got = []
        for part in (begun, behind(prompt, cut)):
            batch = pad([part], toy_tiles)
            got.append(model(batch.tokens, vision=batch.vision, cache=cache))
            cache.advance(len(part.ids))
        for token in answer:
            got.append(model(torch.tensor([[token]]), cache=cache))
            cache.advance(1)
        # Measured: 2.7e-15.
        torch.testing.assert_close(torch.cat(got, 1), expected, atol=1e-12, rtol=0)


def test_pictures_and_videos_of_earlier_turns_go_on_being_seen() -> None:
    """A picture, then a video, then words: what is said last depends on both, read once each."""

    def after(first: Picture, second: Video) -> Tensor:
        model = model_of("video")
        session, reading = session_of(model), Reading(model)
        encoded: list[int] = []
        model.encoder.register_forward_hook(lambda _, args, out: encoded.append(len(args[0])))
        for message in (user("one", first), user("two", second), user("three")):
            "".join(session.ask(message, Sampling(max_tokens=2)))
            session.history[-1] = Message("assistant", (Text("x"),))
        assert sum(encoded) == 1 + len(toy_pixels(second))
        return reading.features[0, -1]

    said = after(toy_picture(0), toy_video(0))
    for other in ((toy_picture(1), toy_video(0)), (toy_picture(0), toy_video(1))):
        assert float((after(*other) - said).abs().max()) > 1e-3


def test_a_video_that_is_exchanged_is_read_anew() -> None:
    model = model_of("video")
    renderer = toy_renderer(model.config)
    shown = (toy_video(0), toy_picture(0))
    old, other = (
        renderer.prompt([user("one", *parts), Message("assistant", (Text("x"),)), user("two")])
        for parts in (shown, (toy_video(1), shown[1]))
    )
    at = old.ids.index(VOCAB + 1)
    assert agreement(old, other) == at
    left = behind(old, at + 1)  # the video is known, the picture behind it is new
    assert left.clips == () and left.pictures == old.pictures
    assert set(left.watched) == {(0, 0)} and set(left.seen) == {(0, 1)}


def test_the_rules_reach_the_model() -> None:
    """Two pictures in a row: after them, three rules give three different answers."""
    model = model_of("crossed")
    asked = [user("one", 0), Message("assistant", (Text("x"),)), user("two", 1, 2)]
    found = []
    for rule in RULES:
        prompt = toy_renderer(model.config, rule).prompt(asked)
        batch = pad([prompt], toy_pixels)
        with torch.no_grad():
            found.append(model(batch.tokens, vision=batch.vision)[0, -1])
    apart = [float((found[i] - found[i - 1]).abs().max()) for i in range(3)]
    assert min(apart) > 1e-3


def test_what_is_left_counts_pictures_from_the_first_new_one() -> None:
    new = rendered([7, 1, 1, 7, 2], [(0, 1)] * 3 + [(1, 2)] * 2, 0, 1)
    left = behind(new, 2)
    assert left.ids == [1, 7, 2] and left.seen == [(0, 0), (0, 1), (0, 1)]
    assert left.pictures == new.pictures[1:]
    assert isinstance(left.pictures[0], Picture)
