"""`chiasm render`: shards, a page, a list, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.toys import call
from tests.data.render.toys import stamps

from chiasm.data.render.asked import questions
from chiasm.data.shards import manifest_hash


def test_shards_are_written_and_told(capsys: Any, tmp_path: Path) -> None:
    words = ("render", "scenes", "--count", "5", "--seed", "2", "--processes", "1")
    plain = call(capsys, *words, "--out", tmp_path / "b")
    assert f"Wrote 5 pictures to {tmp_path / 'b'}" in plain.out
    done = call(capsys, *words, "--out", tmp_path / "a", "--json")
    told = json.loads(done.out)
    assert done.code == 0 and (told["kind"], told["pictures"]) == ("scenes", 5)
    assert told["manifest"] == manifest_hash(tmp_path / "a")
    assert len(questions(tmp_path / "a")) == 5
    assert told["manifest"] in plain.out


def test_without_a_folder_they_lie_among_the_runs(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "render", "grounding", "--count", "2").code == 0
    assert len(questions(tmp_path / "runs" / "render-grounding")) == 2


def test_a_page_of_samples_is_all_that_is_written(capsys: Any, tmp_path: Path) -> None:
    done = call(capsys, "render", "clips", "--count", "2", "--samples", tmp_path / "look.html")
    assert done.code == 0 and [path.name for path in tmp_path.iterdir()] == ["look.html"]
    assert (tmp_path / "look.html").read_text().count("<figure>") == 2


def test_the_list_says_what_each_kind_draws(capsys: Any) -> None:
    out = call(capsys, "render", "--list").out
    known = json.loads(call(capsys, "render", "--list", "--json").out)
    assert {"scenes", "grounding", "clips"} <= set(known)
    assert all(name in out and entry["does"] in out for name, entry in known.items())


def test_scenes_of_cutouts(capsys: Any, tmp_path: Path) -> None:
    folder = stamps(tmp_path / "stamps")
    words = (
        "--cutouts",
        folder,
        "--licence",
        "CC-BY-4.0",
        "--out",
        tmp_path / "out",
        "--count",
        "9",
    )
    done = call(capsys, "render", "scenes", *words)
    assert done.code == 0 and "left out 2 pictures" in done.out
    plans = {questions(tmp_path / "out").asked(i)[0].truth["plan"] for i in range(9)}
    assert any(plan.endswith("cutouts") for plan in plans)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name one kind"),
        (["scenes", "clips"], "Name one kind"),
        (["scense"], 'no kind "scense". Did you mean "scenes"?'),
        (["scenes", "--count", "0"], "--count is 0"),
        (["scenes", "--processes", "0"], "--processes is 0"),
        (["scenes", "--cutouts", "nowhere"], "0 usable cut-outs"),
        (["scenes", "--cuont", "3"], 'Did you mean "--count"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_sentence(capsys: Any, words: list[str], sentence: str) -> None:
    done = call(capsys, "render", *words)
    assert done.code == 2 and sentence in done.said and not done.out
