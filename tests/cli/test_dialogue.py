"""`chiasm dialogue`: four ways to conversations and comparisons, and one sentence for what is wrong."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.cli.toys import call

from chiasm.base.errors import UserError
from chiasm.data.dialogue.preferences import read_preferences
from chiasm.data.dialogue.written import WrittenSettings
from chiasm.data.shards import manifest_hash
from chiasm.data.sources import parquet
from chiasm.inputs.message import Text
from chiasm.recipes.dialogue import write_with
from chiasm.testing import toy_picture


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def talks(folder: Path) -> Path:
    """Three conversations, two comparisons, and three rows that cannot be used."""
    folder.mkdir()
    (folder / "a.png").write_bytes(toy_picture(1).read())
    said = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A red dog."}]
    good: list[Any] = [{"image": "a.png", "conversations": said}] * 3
    judged = {"image": "a.png", "question": "What?", "answers": ["A dog.", "A cat."]}
    rows = [*good, {**judged, "better": "a"}, {**judged, "better": "b"}]
    rows += [{**judged, "better": "tie"}, {"image": "gone.png", "conversations": said}, {"x": 1}]
    path = folder / "talks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def captioned(folder: Path, captions: Sequence[str]) -> Path:
    folder.mkdir()
    for number, caption in enumerate(captions):
        (folder / f"{number}.png").write_bytes(toy_picture(number).read())
        if caption:
            (folder / f"{number}.txt").write_text(caption)
    return folder


def test_people_s_files_become_shards_and_preferences(capsys: Any, tmp_path: Path) -> None:
    path, out = talks(tmp_path / "in"), tmp_path / "out"
    words = ("dialogue", "import", path, "--out", out, "--licence", "CC0-1.0")
    told = json.loads(call(capsys, *words, "--json").out)
    assert (told["read"], told["used"], told["made"], told["preferences"]) == (8, 5, 3, 2)
    assert told["refused"] == {"tie": 1, "missing": 1, "bad_row": 1}
    assert told["manifest"] == manifest_hash(out) and len(parquet(out)) == 3
    chosen = [each.chosen for each in read_preferences(out / "preferences.parquet")]
    assert chosen == ["A dog.", "A cat."]
    before = files(out)
    plain = call(capsys, *words)
    assert plain.code == 0 and "8 rows gave 3 conversations" in plain.err
    assert "gone.png does not exist" in plain.err and files(out) == before
    (tmp_path / "in" / "talks.jsonl").write_text(path.read_text().replace("red", "green"))
    other = call(capsys, *words)
    assert other.code == 2 and "begun with another sha256" in other.said


def test_questions_are_phrased_and_a_broken_folder_is_completed(
    capsys: Any, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("dialogue", "template", "pictures", "--turns", "2", "--out", out, "--seed", "3")
    told = json.loads(call(capsys, *words, "--json").out)
    assert (told["read"], told["made"], told["refused"]) == (40, 40, {})
    source = parquet(out)
    assert all(len(source[i][0].messages) == 4 for i in range(40))
    before = files(out)
    (out / "_index.json").unlink()
    (out / "00000.parquet").write_bytes(b"PAR1 torn")
    assert call(capsys, *words).code == 0 and files(out) == before
    short = ("dialogue", "template", "pictures", "--forms", "short", "--limit", "7", "--out")
    assert call(capsys, *short, tmp_path / "short").code == 0
    assert len(parquet(tmp_path / "short")) == 14
    assert call(capsys, *short, out).code == 2
    easy = call(capsys, "dialogue", "template", "easy-vqa", "--limit", "2", "--out", tmp_path / "e")
    assert "2 records gave 8 conversations" in easy.err


def test_a_model_that_writes_nothing_useful_is_told(
    capsys: Any, here: Path, tmp_path: Path
) -> None:
    pictures = captioned(tmp_path / "in", ["A red dog.", ""])
    words = ("dialogue", "write", pictures, "--model", "decoder", "--out", tmp_path / "out")
    done = call(capsys, *words)
    assert done.code == 2 and "Nothing of in can be used: 1 times" in done.said
    bare = captioned(tmp_path / "bare", ["", ""])
    done = call(capsys, *words[:2], bare, *words[3:5], "--out", tmp_path / "none")
    assert done.code == 2 and "caption" in done.said


def speaker(asked: list[str]) -> Callable[..., Any]:
    """What asks about colour; a caption of blue things is too long for it."""

    def reply(prompt: str) -> str:
        asked.append(prompt)
        colour, thing = re.findall(r'"A (\w+) (\w+)\."', prompt)[-1]
        return f"Q: What colour is the {thing}?\nA: {colour}\nQ: Whose {thing} is it?\nA: mine"

    def fits(prompt: str) -> bool:
        return "blue" not in prompt

    return lambda name, say, tokens: (lambda prompts: [reply(p) for p in prompts], fits)


def test_what_a_model_writes_is_checked_and_a_finished_folder_asks_nobody(tmp_path: Path) -> None:
    pictures = captioned(tmp_path / "in", ["A red dog.", "A blue cat.", "A green car."])
    (pictures / "0.png").unlink()
    (pictures / "3.png").write_bytes(toy_picture(9).read())
    (pictures / "3.txt").write_text("A black hat.")
    asked: list[str] = []

    def again(out: Path) -> Any:
        given = (WrittenSettings(), None, lambda text: None, lambda done: None)
        return write_with(str(pictures), out, "toy", *given, speaker(asked))

    outcome = again(tmp_path / "out")
    assert outcome.tally.made == len(asked) == 2
    assert outcome.tally.refused["long_caption"] == 1
    assert outcome.tally.refused["not_in_caption"] == 2
    source = parquet(tmp_path / "out")
    answers = [source[i][0].messages[1].parts for i in range(len(source))]
    assert answers == [(Text("green"),), (Text("black"),)]
    assert again(tmp_path / "out") == outcome and len(asked) == 2
    (pictures / "2.png").write_bytes(b"")
    kept = again(tmp_path / "new")
    assert kept.tally.made == 1 and kept.tally.refused["empty"] == 1
    with pytest.raises(UserError, match="begun with another count"):
        write_with(str(pictures), tmp_path / "out", "toy", WrittenSettings(count=2), None, print)


def test_a_disk_that_fills_is_one_sentence_and_the_command_goes_on(
    capsys: Any, tmp_path: Path
) -> None:
    words = ("dialogue", "template", "pictures", "--out")
    assert call(capsys, *words, tmp_path / "whole").code == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        full = call(capsys, *words, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.code == 2 and re.match(r"Cannot write .*00000\.parquet: ", full.said)
    assert set(files(tmp_path / "full")) == {"_plan.json"}
    assert call(capsys, *words, tmp_path / "full").code == 0
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_answers_are_made_wrong(capsys: Any, tmp_path: Path) -> None:
    call(capsys, "dialogue", "import", talks(tmp_path / "in"), "--out", tmp_path / "out")
    words = ("dialogue", "perturb", tmp_path / "out", "--out", tmp_path / "bad.parquet")
    told = json.loads(call(capsys, *words, "--kinds", "colour", "object", "--json").out)
    assert told["made"] == 3 == told["colour"] + told["object"] and not told["refused"]
    for each in read_preferences(tmp_path / "bad.parquet"):
        assert each.chosen == "A red dog." != each.rejected
    assert call(capsys, *words).said.endswith("bad.parquet exists already; name a new file.")
    none = call(capsys, *words[:4], tmp_path / "none.parquet", "--kinds", "number")
    assert none.code == 2 and "no rule knows a change" in none.said
    assert not (tmp_path / "none.parquet").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["improt"], 'cannot "improt". Did you mean "import"?'),
        (["import"], "Say what to read and where to write"),
        (["import", "a.jsonl"], "Say what to read and where to write"),
        (["import", "none.jsonl", "--out", "o"], "none.jsonl cannot be read"),
        (["import", "mine.yaml", "--out", "o"], "no .json, .jsonl or .parquet file"),
        (["template", "easy-vqua", "--out", "o"], 'Did you mean "easy-vqa"?'),
        (["template", "pictures", "--out", "o", "--forms", "shrot"], 'Did you mean "short"?'),
        (["template", "pictures", "--out", "o", "--options", "9"], "options is 9"),
        (["template", "pictures", "--out", "o", "--limit", "0"], "--limit is 0"),
        (["template", "pictures", "--out", "mine.yaml"], "a folder on the way to it is a file"),
        (["write", "data:tuxpant", "--out", "o"], 'Did you mean "tuxpaint"?'),
        (["write", "nowhere", "--out", "o"], "does not exist"),
        (["write", "pictures", "--out", "o", "--count", "0"], "--count is 0"),
        (["perturb", "nowhere", "--out", "o"], "nowhere"),
        (["perturb", "pictures", "--out", "o", "--kinds", "color"], 'Did you mean "colour"?'),
        (["write", "pictures", "--otu", "o"], 'Did you mean "--out"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_sentence(capsys: Any, words: list[str], sentence: str) -> None:
    done = call(capsys, "dialogue", *words)
    assert done.code == 2 and sentence in done.said and "Traceback" not in done.err
    assert not Path("o").exists()
