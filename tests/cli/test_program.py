"""The first word, exit codes, and that nobody waits for torch in order to read help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.toys import call, chiasm, environment

import chiasm as package
from chiasm.cli import program

HELPS = [
    [],
    ["--help"],
    ["--version"],
    ["pull", "--help"],
    ["train", "--help"],
    ["train", "first_light", "--help"],
    ["chat", "-h"],
    ["eval", "--help"],
    ["render", "--help"],
    ["dialogue", "--help"],
    ["dialogue", "write", "--help"],
    ["inspect", "--help"],
    ["check", "--help"],
    ["check", "text-identity", "--help"],
    ["doctor", "--help"],
]


def test_help_wakes_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom chiasm.cli import main\n"
        f"codes = [main(words) for words in {HELPS!r}]\n"
        "print(codes, 'torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment()
    )
    assert done.stderr.strip() == f"{[0] * len(HELPS)} False"


@pytest.mark.parametrize("words", HELPS[3:], ids=" ".join)
def test_every_command_explains_itself_with_an_example(capsys: Any, words: list[str]) -> None:
    done = call(capsys, *words)
    assert done.code == 0 and not done.err
    assert f"  chiasm {words[0]}" in done.out


def test_overview_names_every_command_and_its_examples_are_understood(capsys: Any) -> None:
    out = call(capsys).out
    for name, entry in program.COMMANDS.items():
        assert entry.example in out
        assert entry.example.startswith(f"chiasm {name}")
    assert call(capsys, "--version").out == f"chiasm {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], 'no command "trian". Did you mean "train"?'),
        (["pull", "smollm2"], '"smollm2" is not built in. Did you mean "smollm2-135m-instruct"?'),
        (["pull", "--jsn"], 'no option "--jsn". Did you mean "--json"?'),
        (["train", "first_lite"], 'no recipe "first_lite". Did you mean "first_light"?'),
        (["train", "--train.steps", "3"], "Name the recipe first"),
        (["train", "none.yaml"], "Cannot read none.yaml"),
        (["train", "first_light", "--train.stpes", "5"], 'Did you mean "--train.steps"?'),
        (["train", "first_light", "--train.stpes=5"], '"--train.stpes". Did you mean'),
        (["train", "first_light", "--train.steps", "abc"], 'should be a whole number, not "abc"'),
        (["train", "first_light", "--train.steps", "1.5"], 'should be a whole number, not "1.5"'),
        (
            ["train", "first_light", "--train.steps", "-5"],
            "settings: train.steps: should be greater than 0, not -5.",
        ),
        (["train", "first_light", "--train.clip", "x"], '--train.clip should be a number, not "x"'),
        (["train", "first_light", "--dtype", "float31"], 'Did you mean "float32"?'),
        (["train", "first_light", "--name"], "--name needs a value"),
        (["train", "first_light", "more"], '"more" is one word too many'),
        (["train", "first_light", "--learn", "a=b"], 'such as "crosses.*=1e-3"'),
        (["chat", "a", "b"], "put the question in quotes"),
        (["chat", ""], "question is empty"),
        (["chat", "q", "--temperature", "-1"], "greater than or equal to 0"),
        (["chat", "q", "--max-tokens", "0"], "max_tokens"),
        (["chat", "q", "--model", "nothing"], '"nothing"'),
        (["chat", "--json"], "--json answers one question"),
        (["chat", "--samples", "q"], "--samples brings its own"),
        (["eval", "--images", "rigth"], 'Did you mean "right"?'),
        (["eval", "--task", "easy-vqq"], '--task is "easy-vqq", but must be easy-vqa'),
        (["eval", "--limit", "0"], "at least 1"),
        (["eval", "--batch", "0"], "at least 1"),
        (["eval", "--model", "a", "b", "--html", "x.html"], "--html shows one model"),
        (["eval", "--model", "decoder"], "no eyes"),
        (["inspect"], "Name one model"),
        (["inspect", "nothing"], '"nothing"'),
        (["check", "text-identiti"], 'Did you mean "text-identity"?'),
        (["check", "text-identity", "--model", "decoder"], "plain language model already"),
        (["doctor", "well?"], '"well?" is one word too many'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_sentence(capsys: Any, words: list[str], sentence: str) -> None:
    done = call(capsys, *words)
    assert done.code == 2
    assert sentence in done.said
    assert not done.out and "Traceback" not in done.err and "│" not in done.err
    # Besides notes such as "Asking decoder ...", the sentence is all.
    assert sum(line.startswith("chiasm: ") for line in done.err.splitlines()) == 1


def test_all_wrong_settings_of_a_file_are_told(capsys: Any, shop: Path, tmp_path: Path) -> None:
    text = (
        (shop / "mine.yaml").read_text().replace("steps: 6", "stpes: six").replace("seed:", "sed:")
    )
    (tmp_path / "bad.yaml").write_text(text)
    done = call(capsys, "train", tmp_path / "bad.yaml")
    assert done.code == 2
    for words in ("train.stpes", 'Did you mean "steps"?', 'Did you mean "seed"?', "train.steps"):
        assert words in done.err


def test_a_fault_of_ours_keeps_its_traceback(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(words: list[str]) -> int:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(program, "dispatch", fault)
    done = call(capsys, "doctor")
    assert done.code == 1
    assert "Traceback" in done.err and "ZeroDivisionError: ours" in done.err
    assert "fault of ours; please report" in done.said


def test_ctrl_c_anywhere_is_one_line(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "dispatch", stopped)
    done = call(capsys, "doctor")
    assert (done.code, done.err) == (130, "chiasm: stopped by Ctrl-C.\n")


def test_a_reader_that_has_gone_is_no_error() -> None:
    gone, ours = os.pipe()
    os.close(gone)
    done = subprocess.run(
        [sys.executable, "-m", "chiasm", "--help"],
        stdout=ours,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(ours)
    assert (done.returncode, done.stderr) == (141, b"")


def test_telemetry_is_off_unless_the_user_wants_it(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    call(capsys, "--version")
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["DO_NOT_TRACK"] == "0"


def test_the_module_runs_and_wrong_words_end_a_process_with_2(shop: Path) -> None:
    done = chiasm("trian", cwd=shop)
    assert done.code == 2 and not done.out
    assert re.fullmatch(r"chiasm: There is no command .*\n", done.err)


def test_load_and_chat_are_named_by_the_package() -> None:
    from chiasm.recipes.answering import chat
    from chiasm.recipes.loading import load

    assert package.load is load and package.chat is chat
    with pytest.raises(AttributeError, match="laod"):
        _ = package.laod
