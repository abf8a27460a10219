"""One question, a conversation, sample pictures; and pictures that nobody can answer about."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.toys import call

from chiasm.cli import chat, terminal
from chiasm.cli.choose import finished, seeing_model
from chiasm.cli.talk import Talk, begin
from chiasm.inference.sampling import Sampling
from chiasm.recipes import loading

FEW = ("--max-tokens", "6")


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


# ---- one question ------------------------------------------------------------------------------


def test_a_question_gets_one_answer_and_nothing_else_on_stdout(capsys: Any) -> None:
    done = call(capsys, "chat", "Hello?", *FEW)
    assert done.code == 0 and not done.err
    model, processor = loading.load("smollm2-135m-instruct")
    from chiasm import chat as say

    asked = [{"role": "user", "content": "Hello?"}]
    assert done.out == say(model, processor, asked, max_tokens=6) + "\n"


def test_pictures_and_question_in_any_order(capsys: Any) -> None:
    first = call(capsys, "chat", "pictures/00.png", "What colour?", *FEW)
    last = call(capsys, "chat", *FEW, "What colour?", "./pictures/00.png")
    assert (first.code, first.err) == (0, "")
    assert first.out == last.out
    model, processor = loading.load("runs/first_light")
    try:
        from chiasm import chat as say

        parts = [
            {"type": "image", "path": "pictures/00.png"},
            {"type": "text", "text": "What colour?"},
        ]
        told = say(model, processor, [{"role": "user", "content": parts}], max_tokens=6)
    finally:
        processor.close()
    assert first.out == told + "\n"


def test_json_holds_the_answer_for_programs(capsys: Any) -> None:
    done = call(capsys, "chat", "pictures/00.png", "What colour?", *FEW, "--json")
    told = json.loads(done.out)
    assert told["answer"] == call(capsys, "chat", "pictures/00.png", "What colour?", *FEW).out[:-1]
    assert told["pictures"] == ["pictures/00.png"] and told["model"] == "runs/first_light/model"


def test_a_seed_repeats_an_answer_and_chance_changes_it(capsys: Any) -> None:
    def draw(seed: int) -> str:
        words = ("--temperature", "2", "--seed", str(seed), "--max-tokens", "20")
        return call(capsys, "chat", "Hello?", *words).out

    assert draw(1) == draw(1) != draw(2)


def test_system_is_told_before_the_first_question_only() -> None:
    talk = begin("smollm2-135m-instruct", Sampling(max_tokens=2), "Be brief.")
    assert [m.role for m in talk.messages("Hi")] == ["system", "user"]
    terminal.answer(talk, "Hi")
    assert [m.role for m in talk.messages("And?")] == ["user"]
    assert [m.role for m in talk.session.history] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("words", "pictures", "question"),
    [
        (["a.png", "b.JPG", "What is it?"], ["a.png", "b.JPG"], "What is it?"),
        (["What is in a.png and is it nice.png"], [], "What is in a.png and is it nice.png"),
        (["./anything", "Why?"], ["./anything"], "Why?"),
        (["my holiday photo.jpeg"], ["my holiday photo.jpeg"], ""),
        (["scan.tiff", "?"], ["scan.tiff"], "?"),
        (["mine.yaml", "?"], ["mine.yaml"], "?"),
        ([" spaces around "], [], "spaces around"),
    ],
)
def test_pictures_are_told_from_the_question(
    words: list[str], pictures: list[str], question: str
) -> None:
    assert chat.sort(words) == (pictures, question)


# ---- bad pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.png", "does not exist"),
        ("text.png", "is not a picture that Chiasm reads"),
        ("empty.png", "is empty"),
        ("bomb.png", "would decode to 12649 x 12649 pixels"),
        ("cut.jpg", "damaged or cut short"),
        ("../bad", "not a file"),
    ],
)
def test_a_bad_picture_is_one_sentence(capsys: Any, shop: Path, name: str, sentence: str) -> None:
    assert (shop / "bad/bomb.png").stat().st_size < 25_000
    done = call(capsys, "chat", f"bad/{name}", "What colour?")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.said and len(done.err.splitlines()) == 1


def test_a_picture_of_one_pixel_is_answered_about(capsys: Any) -> None:
    done = call(capsys, "chat", "bad/one.png", "What colour?", *FEW)
    assert (done.code, done.err) == (0, "")


# ---- which model -------------------------------------------------------------------------------


def test_without_a_finished_run_pictures_say_how_to_get_one(
    capsys: Any, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(capsys, "chat", shop / "pictures/00.png", "What?")
    assert done.code == 2 and "chiasm train first_light" in done.said


def test_the_first_light_goes_before_the_newest_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(["old", "new"]):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        config = tmp_path / "runs" / name / "model" / "config.json"
        config.touch()
        os.utime(config, (1000 + age, 1000 + age))
    (tmp_path / "runs" / "unfinished").mkdir()
    assert seeing_model() == "runs/new/model"
    (tmp_path / "runs/first_light/model").mkdir(parents=True)
    (tmp_path / "runs/first_light/model/config.json").touch()
    os.utime(tmp_path / "runs/first_light/model/config.json", (1, 1))
    assert [str(m) for m in finished()] == [
        f"runs/{n}/model" for n in ("first_light", "new", "old")
    ]
    assert seeing_model("named") == "named"


def test_a_model_without_eyes_refuses_pictures(capsys: Any) -> None:
    done = call(capsys, "chat", "--model", "decoder", "pictures/00.png", "What?")
    assert done.code == 2 and "no eyes" in done.said


# ---- a conversation ----------------------------------------------------------------------------


def test_a_conversation_through_a_pipe(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(
        monkeypatch,
        "Hello?",
        "/iamge pictures/00.png",
        "/image",
        "/image bad/cut.jpg",
        "/image pictures/00.png",
        "What colour?",
        "",
        "/reset",
        "Hello?",
        "/help",
        "/quit",
        "never said",
    )
    done = call(capsys, "chat", *FEW)
    assert done.code == 0
    told = done.out.splitlines()
    assert len(told) == 3 and told[0] == told[2]  # forgotten: the same question, the same answer
    for sentence in (
        'There is no command /iamge. Did you mean "/image"?',
        "Which picture?",
        "cut.jpg is damaged",
        "smollm2-135m-instruct has no eyes, so you are now talking to runs/first_light/model.",
        "00.png is shown with your next message.",
        "Forgotten.",
        "/image PATH",
    ):
        assert sentence in done.err
    assert "> " not in done.out  # no prompt for a program


def test_a_conversation_remembers_pictures_and_words(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks: list[Talk] = []
    monkeypatch.setattr("chiasm.cli.talk.begin", lambda *a: talks.append(begin(*a)) or talks[-1])
    type_in(monkeypatch, "What colour?", "Sure?")
    assert call(capsys, "chat", "pictures/00.png", *FEW).code == 0
    history = talks[0].session.history
    assert [m.role for m in history] == ["user", "assistant"] * 2
    assert [len(m.parts) for m in history] == [2, 1, 1, 1]
    assert not talks[0].pictures


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """A program that was started in the background ignores Ctrl-C, and so would the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_stops_an_answer_and_not_the_conversation(capsys: Any) -> None:
    talk = begin("smollm2-135m-instruct", Sampling(max_tokens=50), "")
    ask = talk.session.ask

    def interrupted(*arguments: Any) -> Any:
        for number, piece in enumerate(ask(*arguments)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield piece

    talk.session.ask = interrupted  # type: ignore[method-assign]
    capsys.readouterr()
    terminal.answer(talk, "Hello?")
    out = capsys.readouterr().out
    assert out.endswith(" …\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    talk.session.ask = ask  # type: ignore[method-assign]
    terminal.answer(talk, "And?")
    assert [m.role for m in talk.session.history][-2:] == ["user", "assistant"]


def test_ctrl_c_at_the_prompt_clears_the_line(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([KeyboardInterrupt, "  hello  ", EOFError])

    def ask(prompt: str = "") -> str:
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", ask)
    assert list(terminal._lines(person=True)) == ["hello"]


def test_a_conversation_that_fills_the_context_says_so(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "x" * 1000, "/reset", "Hello?")
    done = call(capsys, "chat", *FEW)
    assert done.code == 0 and len(done.out.splitlines()) == 1
    assert "this model can hold" in done.err


# ---- samples -----------------------------------------------------------------------------------


def test_samples_show_questions_answers_and_truth(capsys: Any) -> None:
    done = call(capsys, "chat", "--samples")
    assert done.code == 0 and not done.err
    told = json.loads(call(capsys, "chat", "--samples", "--json").out)["samples"]
    assert len(told) == 8 and len({row["question"] for row in told}) >= 4
    for row in told:
        assert row["question"] in done.out and Path(row["picture"]).is_file()
        assert row["right"] == (row["answer"].strip().lower() == row["truth"])
    assert f"{sum(row['right'] for row in told)} of 8 are right." in done.out
