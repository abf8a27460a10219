"""The one renderer: ids as the reference makes them, masks from structure, pictures in their places."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inputs.toys import (
    CHATML_CONTROLS,
    CHATML_TEMPLATE,
    CHATML_WITH_SYSTEM,
    LLAMA3_CONTROLS,
    LLAMA3_DATED,
    LLAMA3_TEMPLATE,
    reference_tokenizer,
    toy_tokenizer,
)

from chiasm.base.errors import UserError
from chiasm.checkpoint.bpe import build, byte_letters
from chiasm.inputs import Message, Picture, Rendered, Renderer, Sample, Text, Video
from chiasm.inputs.chat import Attend
from chiasm.inputs.chat_format import LLAMA3, DefaultSystem, recognise
from chiasm.inputs.tokenizer import Tokenizer

IMAGE, VIDEO = 900, 901
TEMPLATES = {
    "chatml": (CHATML_CONTROLS, CHATML_TEMPLATE),
    "chatml with system": (CHATML_CONTROLS, CHATML_WITH_SYSTEM),
    "llama3": (LLAMA3_CONTROLS, LLAMA3_TEMPLATE),
    "llama3 dated": (LLAMA3_CONTROLS, LLAMA3_DATED),
}

# No control strings here: with those the ids differ by design (tests/peerbugs/test_21...).
WORDS = st.lists(
    st.one_of(
        st.sampled_from(["\n", "\n\n", " ", "  ", "\t", "\r\n", "\u00a0", "\u2028", "\x1c", "\0"]),
        st.sampled_from(["user", "picture", "What is", "It's", "1,234", "é", "漢字", "🙂", "<|"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    ),
    max_size=8,
).map("".join)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), WORDS), min_size=1, max_size=5)
SYSTEM = st.one_of(st.none(), WORDS)


@cache
def renderer(
    name: str,
    places: int = 1,
    default_system: DefaultSystem = "template",
    attend: Attend = "last",
) -> Renderer:
    controls, template = TEMPLATES[name]
    chat = recognise(template, {"bos_token": controls[0]})
    return Renderer(
        toy_tokenizer(controls),
        chat,
        IMAGE,
        lambda picture: places,
        default_system,
        attend,
        VIDEO,
    )


def say(role: str, *parts: str | Picture | Video) -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def picture(number: int) -> Picture:
    return Picture(data=bytes([number]))


def video(number: int) -> Video:
    return Video(Picture(data=bytes([100 + number])))


def conversation(system: str | None, turns: list[tuple[str, str]]) -> list[Message]:
    said = [say(role, text) for role, text in turns]
    return said if system is None else [say("system", system), *said]


def reference(name: str, messages: list[Message], answer: bool) -> list[int]:
    records = [{"role": m.role, "content": m.parts[0].text} for m in messages]  # type: ignore[union-attr]
    encoding = reference_tokenizer(*TEMPLATES[name]).apply_chat_template(
        records, add_generation_prompt=answer, tokenize=True
    )
    return list(encoding["input_ids"])


@pytest.mark.parametrize("name", TEMPLATES)
@given(system=SYSTEM, turns=TURNS)
def test_ids_equal_the_reference(
    name: str, system: str | None, turns: list[tuple[str, str]]
) -> None:
    messages = conversation(system, turns)
    assert renderer(name).prompt(messages).ids == reference(name, messages, True)
    whole = Sample((*messages, say("assistant", "Yes. ")))
    assert renderer(name).render(whole).ids == reference(name, list(whole.messages), False)


@pytest.mark.parametrize("name", TEMPLATES)
@given(system=SYSTEM, turns=TURNS)
def test_what_is_trained_is_what_the_assistant_says(
    name: str, system: str | None, turns: list[tuple[str, str]]
) -> None:
    """decode(trained) is each answer and its end token; only white space at its start may be absent."""
    chat = renderer(name)
    rendered = chat.render(Sample((*conversation(system, turns), say("assistant", "end"))))
    runs, run = [], []
    for id, trained in zip(rendered.ids, rendered.trained, strict=True):
        if trained and id != chat.end:
            run.append(id)
        elif trained:
            runs.append(chat.tokenizer.decode(run))
            run = []
    assert not run
    answers = [text for role, text in [*turns, ("assistant", "end")] if role == "assistant"]
    if strips := "assistant" in chat.format.stripped:
        answers = [text.strip() for text in answers]
    assert len(runs) == len(answers)
    for said, wanted in zip(runs, answers, strict=True):
        lost = wanted.removesuffix(said)
        assert said == wanted or (wanted == lost + said and lost.isspace())
        assert said == wanted or not strips


def trained_text(chat: Renderer, rendered: Rendered) -> str:
    pairs = zip(rendered.ids, rendered.trained, strict=True)
    return chat.tokenizer.decode([id for id, trained in pairs if trained])


def test_a_token_that_straddles_header_and_answer_belongs_to_the_header() -> None:
    """`assistant⏎` + `⏎ Yes`: the reference joins the newlines, and no model is asked for that token."""
    chat = renderer("chatml")
    sample = Sample((say("user", "?"), say("assistant", "\n\n\nYes")))
    rendered = chat.render(sample)
    assert rendered.ids == reference("chatml", list(sample.messages), False)
    joined = chat.tokenizer.encode("\n\n\n\nYes")
    assert chat.tokenizer.decode(joined[:1]) == "\n\n\n"  # what the toy's merges make of it
    assert trained_text(chat, rendered) == "\nYes"


def test_the_prompt_is_the_beginning_of_what_is_trained() -> None:
    """The model meets in training exactly what stands before its answer when it serves."""
    for name in TEMPLATES:
        asked = (say("system", "Be brief."), say("user", picture(0), "What?"))
        prompt = renderer(name).prompt(asked)
        whole = renderer(name).render(Sample((*asked, say("assistant", "A cat."))))
        n = len(prompt.ids)
        assert whole.ids[:n] == prompt.ids and whole.seen[:n] == prompt.seen
        assert not any(whole.trained[:n]) and not any(prompt.trained)
        after = len(renderer(name).tokenizer.encode("A cat.")) + 1
        assert whole.trained[n : n + after] == [True] * after
        assert not any(whole.trained[n + after :])


def test_default_system_message() -> None:
    ask = [say("user", "Hi")]

    def text(default: DefaultSystem, messages: list[Message] = ask, name: str = "") -> str:
        chat = renderer(name or "chatml with system", 1, default)
        return chat.tokenizer.decode(chat.prompt(messages).ids)

    assert text("template") == "system\nYou help.\nuser\nHi\nassistant\n"
    assert text(None) == "user\nHi\nassistant\n"
    assert text("Look well.") == "system\nLook well.\nuser\nHi\nassistant\n"
    given = [say("system", "Be brief."), *ask]
    for default in ("template", None, "Look well."):
        assert text(default, given) == "system\nBe brief.\nuser\nHi\nassistant\n"
    # Training and serving take the same road.
    chat = renderer("chatml with system", 1, None)
    assert chat.tokenizer.decode(chat.render(Sample((*ask, say("assistant", "Ho")))).ids) == (
        "user\nHi\nassistant\nHo\n"
    )
    # A preamble is the template's own, and stands before any system message; never beside pictures.
    dated = text("Look well.", name="llama3 dated")
    assert dated.startswith("system\n\nToday Date: 2") and "\n\nLook well.user\n\nHi" in dated
    assert text(None, name="llama3 dated") == "user\n\nHiassistant\n\n"
    seen = text("template", [say("user", picture(0), "Hi")], name="llama3 dated")
    assert seen == "user\n\nHiassistant\n\n"
    assert text("template", [say("user", video(0), "Hi")], name="llama3 dated") == seen


def test_pictures_stand_where_their_parts_are_and_nothing_around_them() -> None:
    chat = renderer("chatml", 3)
    encode, control = chat.tokenizer.encode, chat.tokenizer.control
    a, b = picture(0), picture(1)
    prompt = chat.prompt([say("user", "See ", a, " and", b, ".")])
    assert prompt.ids == [
        *(control("<|im_start|>"), *encode("user\nSee ")),
        *(IMAGE, IMAGE, IMAGE, *encode(" and"), IMAGE, IMAGE, IMAGE, *encode(".")),
        *(control("<|im_end|>"), *encode("\n"), control("<|im_start|>"), *encode("assistant\n")),
    ]
    assert prompt.pictures == (a, b)


def spans(*messages: Message, places: int = 1, attend: Attend = "last") -> list[tuple[int, int]]:
    """The span of each letter of text (one token each), and of pictures' places."""
    chat = renderer("chatml", places, attend=attend)
    rendered = chat.prompt(messages)
    start = rendered.ids.index(chat.tokenizer.encode("user\n")[-1]) + 1
    return rendered.seen[
        start : start + sum(_length(part, places) for m in messages for part in m.parts)
    ]


def _length(part: Text | Picture, places: int) -> int:
    return len(part.text) if isinstance(part, Text) else places


def test_text_sees_the_run_of_pictures_before_it() -> None:
    """Meta's `create_vision_mask`, worked out by hand (`x` and `#` are one token each)."""
    a, b, c = (picture(n) for n in range(3))
    assert spans(say("user", "x", a, "x")) == [(0, 0), (0, 1), (0, 1)]
    # Pictures in a row: text after them sees all; a picture's own place does not see later ones.
    assert spans(say("user", a, b, "x")) == [(0, 1), (0, 2), (0, 2)]
    assert spans(say("user", a, "x", b, "#")) == [(0, 1), (0, 1), (1, 2), (1, 2)]
    assert spans(say("user", a, b, "x", c, "#")) == [(0, 1), (0, 2), (0, 2), (2, 3), (2, 3)]
    assert spans(say("user", a, "", b, "x")) == [(0, 1), (0, 2), (0, 2)]  # no token between
    assert spans(say("user", a, b, "x"), places=2) == [(0, 1)] * 2 + [(0, 2)] * 3


def test_text_sees_the_newest_picture_alone_as_in_flamingo() -> None:
    """open_flamingo's `text_time == media_time`: the picture before it, even of a run."""
    a, b, c = (picture(n) for n in range(3))
    mixed = say("user", "x", a, b, "x", c, "#")
    seen = [(0, 0), (0, 1), (1, 2), (1, 2), (2, 3), (2, 3)]
    assert spans(mixed, attend="only_last") == seen
    twice = say("user", a, b, "x")
    assert spans(twice, places=2, attend="only_last") == [(0, 1)] * 2 + [(1, 2)] * 3


def test_text_sees_all_pictures_before_it_where_that_was_asked_for() -> None:
    a, b, c = (picture(n) for n in range(3))
    mixed = say("user", "x", a, b, "x", c, "#")
    seen = [(0, 0), (0, 1), (0, 2), (0, 2), (0, 3), (0, 3)]
    assert spans(mixed, attend="all_previous") == seen
    twice = say("user", a, "x", b, "x")
    assert spans(twice, places=2, attend="all_previous") == [(0, 1)] * 3 + [(0, 2)] * 3


@given(
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from("x#")), max_size=9),
    st.integers(1, 3),
    st.sampled_from(["last", "only_last", "all_previous"]),
)
def test_a_place_sees_its_own_picture_last_and_nobody_sees_a_later_one(
    parts: list[int | str], places: int, attend: Attend
) -> None:
    """What unified embedding reads off the spans: which picture stands where, under every rule."""
    said = say("user", *(picture(part) if isinstance(part, int) else part for part in parts))
    rendered = renderer("chatml", places, attend=attend).prompt([said])
    count = 0
    for id, (first, last) in zip(rendered.ids, rendered.seen, strict=True):
        count += id == IMAGE
        assert last == -(-count // places) and 0 <= first <= last
        assert (first < last) == (last > 0)
    assert count == places * len(rendered.pictures)


def test_each_picture_takes_the_places_that_it_asks_for() -> None:
    a, b = picture(0), picture(1)
    wide = {a.key: 1, b.key: 3}
    chat = Renderer(
        toy_tokenizer(CHATML_CONTROLS), renderer("chatml").format, IMAGE, lambda p: wide[p.key]
    )
    rendered = chat.prompt([say("user", b, "x", a, "#", b)])
    start = rendered.ids.index(IMAGE)
    x, hash_ = (chat.tokenizer.encode(letter) for letter in "x#")
    assert rendered.ids[start : start + 9] == [*[IMAGE] * 3, *x, IMAGE, *hash_, *[IMAGE] * 3]
    assert rendered.seen[start : start + 9] == [(0, 1)] * 4 + [(1, 2)] * 2 + [(2, 3)] * 3


def both(*parts: str | Picture | Video, attend: Attend = "last") -> list[tuple[int, ...]]:
    """The spans over pictures and over videos of each part's one token, end to end."""
    rendered = renderer("chatml", attend=attend).prompt([say("user", *parts)])
    start = next(t for t, id in enumerate(rendered.ids) if id in (IMAGE, VIDEO))
    pairs = zip(rendered.seen, rendered.watched, strict=True)
    return [(*seen, *watched) for seen, watched in pairs][start : start + len(parts)]


def test_pictures_and_videos_are_seen_apart() -> None:
    """A video takes one token, and does not end what is seen of pictures; nor the other way round."""
    a, b, v, w = picture(0), picture(1), video(0), video(1)
    assert both(a, "x", v, "x") == [(0, 1, 0, 0)] * 2 + [(0, 1, 0, 1)] * 2
    assert both(v, "x", a, "x") == [(0, 0, 0, 1)] * 2 + [(0, 1, 0, 1)] * 2
    assert both(v, w, "x") == [(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 0, 2)]
    assert both(v, "x", w) == [(0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 1, 2)]
    # A video is a token between two pictures: they do not follow each other.
    assert both(a, v, b, "x") == [(0, 1, 0, 0), (0, 1, 0, 1), (1, 2, 0, 1), (1, 2, 0, 1)]
    assert both(v, w, "x", attend="only_last") == [(0, 0, 0, 1), (0, 0, 1, 2), (0, 0, 1, 2)]
    seen = [(0, 0, 0, 1), (0, 1, 0, 1), (0, 1, 0, 2), (0, 1, 0, 2)]
    assert both(v, a, w, "x", attend="all_previous") == seen
    chat = renderer("chatml", 3)
    laid = chat.prompt([say("user", v, a, "x")])
    at = laid.ids.index(VIDEO)
    assert laid.ids[at : at + 4] == [VIDEO, IMAGE, IMAGE, IMAGE]
    assert (laid.pictures, laid.clips) == ((a,), (v,)) and laid.keys == (a.key, v.key)
    assert chat.marks == {IMAGE, VIDEO} and not any(laid.trained)


def test_a_conversation_without_videos_says_nothing_of_them() -> None:
    rendered = renderer("chatml").prompt([say("user", picture(0), "x")])
    assert rendered.clips == () and rendered.watched == []
    assert rendered.sees(99) == ((0, 1), (0, 0))


def test_a_model_without_eyes_for_videos_refuses_them_in_one_sentence() -> None:
    chat = Renderer(toy_tokenizer(CHATML_CONTROLS), renderer("chatml").format, IMAGE, lambda p: 1)
    with pytest.raises(
        UserError, match=r"^clip\.gif cannot be shown: this model has no eyes for vid"
    ):
        chat.prompt([say("user", Video(Picture(path="a/clip.gif")))])
    assert chat.marks == {IMAGE}


@pytest.mark.parametrize(
    ("attend", "later"), [("last", (1, 2)), ("only_last", (1, 2)), ("all_previous", (0, 2))]
)
def test_what_follows_in_later_turns_sees_what_the_rule_says(
    attend: Attend, later: tuple[int, int]
) -> None:
    chat = renderer("chatml", attend=attend)
    a, b = picture(0), picture(1)
    rendered = chat.render(
        Sample((say("user", a, "x"), say("assistant", "x"), say("user", b), say("assistant", "x")))
    )
    first, second = (i for i, id in enumerate(rendered.ids) if id == IMAGE)
    assert set(rendered.seen[:first]) == {(0, 0)}
    assert set(rendered.seen[first:second]) == {(0, 1)}
    assert set(rendered.seen[second:]) == {later}


def test_a_picture_that_the_assistant_shows_is_not_learned() -> None:
    rendered = renderer("chatml", 2).render(Sample((say("assistant", picture(0), "x"),)))
    assert [t for id, t in zip(rendered.ids, rendered.trained, strict=True) if id == IMAGE] == [
        False,
        False,
    ]
    assert sum(rendered.trained) == 2  # x and the end token


def test_neighbouring_texts_are_one_text() -> None:
    chat = renderer("llama3")
    assert chat.prompt([say("user", " pict", "ure ")]) == chat.prompt([say("user", "picture")])


def test_llama3_s_header_does_not_melt_into_a_message_that_begins_with_a_newline() -> None:
    """Meta's code makes tokens of both apart; a template that strips messages never shows it."""
    letters = [*byte_letters().values(), "ĊĊ", "ĊĊĊ"]
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    merges = [("Ċ", "Ċ"), ("ĊĊ", "Ċ")]
    tokenizer = Tokenizer(build(vocabulary, merges, "llama-bpe", LLAMA3_CONTROLS))
    chat = Renderer(tokenizer, LLAMA3, IMAGE, lambda picture: 1)
    begin, start, end, over = map(tokenizer.control, LLAMA3_CONTROLS)
    two, one = tokenizer.encode("\n\n"), tokenizer.encode("\nHi")
    assert tokenizer.encode("\n\n\nHi") != two + one  # there is something to melt
    asked = [begin, start, *tokenizer.encode("user"), end, *two, *one, over]
    answer = [start, *tokenizer.encode("assistant"), end, *two]
    assert chat.prompt([say("user", "\nHi")]).ids == asked + answer


def test_a_base_model_continues_text_and_pictures() -> None:
    chat = renderer("llama3", places=2)
    laid = chat.plain([picture(0), Text("<|eot_id|> The "), Text("picture")])
    words = chat.tokenizer.encode("<|eot_id|> The picture")
    assert laid.ids == [chat.tokenizer.control("<|begin_of_text|>"), IMAGE, IMAGE, *words]
    assert laid.pictures == (picture(0),) and not any(laid.trained)
    assert laid.seen == [(0, 0)] + [(0, 1)] * (2 + len(words))


def test_a_sample_without_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="Sample 'row 7' has no message of the assistant"):
        renderer("chatml").render(Sample((say("user", "Hi"),), key="row 7"))


def test_tokenizer_and_template_of_different_models_are_refused() -> None:
    with pytest.raises(UserError, match=r"no control token '<\|begin_of_text\|>'.*Llama 3"):
        Renderer(
            toy_tokenizer(CHATML_CONTROLS), renderer("llama3").format, IMAGE, lambda picture: 1
        )
