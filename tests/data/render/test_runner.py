"""The runner: same bytes on any number of processes, finished shards kept, one sentence for what is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.data.render.toys import stamps

from chiasm.base.errors import UserError
from chiasm.data.render.asked import questions
from chiasm.data.render.cutouts import read_cutouts
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.kinds import kind_of, kinds
from chiasm.data.render.page import page
from chiasm.data.render.runner import Job, digest, draw, render
from chiasm.data.shards import PLAN, read_index
from chiasm.data.sources import parquet
from chiasm.evaluation.runner import run
from chiasm.evaluation.tasks import rendered
from chiasm.evaluation.verify import right
from chiasm.inputs.message import Picture, Video

SCENES = Job(kind_of("scenes"), 70, seed=3, rows=16)
CLIPS = Job(kind_of("clips"), 8, seed=3, rows=4)


def names(folder: Path) -> dict[str, tuple[int, int]]:
    """Shards of a folder with what changes when a file is written again."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("*.parquet")}


def test_one_process_and_two_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = render(SCENES, tmp_path / "one"), render(SCENES, tmp_path / "two", processes=2)
    assert one == two
    assert read_index(tmp_path / "one") == read_index(tmp_path / "two")
    assert [shard.rows for shard in read_index(tmp_path / "one")] == [16, 16, 16, 16, 6]
    assert render(replace(SCENES, seed=4), tmp_path / "three") != one


def test_a_finished_folder_is_left_alone_and_a_broken_one_completed(tmp_path: Path) -> None:
    told: list[int] = []
    whole = render(SCENES, tmp_path, told=told.append)
    assert told == [0, 16, 32, 48, 64, 70]
    before = names(tmp_path)
    assert render(SCENES, tmp_path) == whole and names(tmp_path) == before
    (tmp_path / "_index.json").unlink()
    (tmp_path / "00001.parquet").unlink()
    (tmp_path / "00003.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / ".00004.parquet.tmp-99999999-0123abcd").write_bytes(b"half")
    told.clear()
    assert render(SCENES, tmp_path, told=told.append) == whole
    after = names(tmp_path)
    assert [n for n in before if after[n] == before[n]] == [n for n in before if n[4] not in "13"]
    assert told == [38, 54, 70] and not list(tmp_path.glob(".*tmp*"))


def test_killed_and_repeated_it_ends_the_same_and_leaves_no_process(tmp_path: Path) -> None:
    whole = render(replace(SCENES, rows=256, count=1100, seed=5), tmp_path / "whole")
    words = ["render", "scenes", "--count", "1100", "--seed", "5", "--out", str(tmp_path / "cut")]
    kept: dict[str, tuple[int, int]] = {}
    for least in (1, 3):
        process = subprocess.Popen(
            [sys.executable, "-m", "chiasm", *words],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while len(names(tmp_path / "cut")) < least and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not group_lives(process.pid)
        now = names(tmp_path / "cut")
        assert kept.items() <= now.items()
        kept = now
    assert render(replace(SCENES, rows=256, count=1100, seed=5), tmp_path / "cut") == whole
    assert kept.items() <= names(tmp_path / "cut").items()


def group_lives(number: int) -> bool:
    """Whether any process of a session is left that is not a zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            return True
    return False


def test_a_disk_that_fills_is_one_sentence_and_finished_shards_stay(tmp_path: Path) -> None:
    whole = render(SCENES, tmp_path / "whole")
    sizes = [shard.bytes for shard in read_index(tmp_path / "whole")]
    first = sizes.index(max(sizes[1:]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[first] - 1, before[1]))
    try:
        with pytest.raises(UserError, match=f"Cannot write .*0000{first}.parquet"):
            render(SCENES, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = names(tmp_path / "full")
    assert sorted(kept) == [f"0000{i}.parquet" for i in range(first)]
    assert render(SCENES, tmp_path / "full") == whole
    assert kept.items() <= names(tmp_path / "full").items()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    render(replace(CLIPS, count=4), tmp_path)
    with pytest.raises(UserError, match="begun with another count and seed"):
        render(replace(CLIPS, count=5, seed=9), tmp_path)
    with pytest.raises(UserError, match="begun with another library"):
        render(replace(CLIPS, count=4, library={"cutouts": [("a", b"b")]}), tmp_path)
    (tmp_path / PLAN).unlink()
    with pytest.raises(UserError, match="holds other shards"):
        render(CLIPS, tmp_path)
    (tmp_path / PLAN).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        render(CLIPS, tmp_path)


def test_rows_say_everything_and_are_samples_to_learn_from(tmp_path: Path) -> None:
    render(replace(SCENES, count=6, rows=4, licence="CC-BY-4.0"), tmp_path)
    for i, row in enumerate(pq.read_table(tmp_path / "00000.parquet").to_pylist()):
        drawn = draw(SCENES, i)
        assert row["key"] == f"scenes/3/{i}" and row["licence"] == "CC-BY-4.0"
        assert (row["source"], row["kind"], row["style"]) == (
            "chiasm render scenes",
            "scenes",
            drawn.style,
        )
        assert row["images"][0]["bytes"] == drawn.data
        assert json.loads(row["truth"]) == drawn.truth
        assert [q["text"] for q in json.loads(row["questions"])] == [
            q.text for q in drawn.questions
        ]
    (sample,) = parquet(tmp_path)[5]
    said = [part for message in sample.messages for part in message.parts]
    assert isinstance(said[0], Picture)
    wanted = [text for q in draw(SCENES, 5).questions for text in (q.text, q.answer)]
    assert [part.text for part in said[1:]] == wanted


def test_questions_are_read_back_with_their_checks_and_make_a_task(tmp_path: Path) -> None:
    render(CLIPS, tmp_path / "clips")
    read = questions(tmp_path / "clips")
    assert len(read) == 8 and read.name == "clips"
    for i in range(8):
        drawn = draw(CLIPS, i)
        asked = read.asked(i)
        assert [each.question for each in asked] == list(drawn.questions)
        assert all(isinstance(each.shown, Video) for each in asked)
        assert asked[0].shown.source.read() == drawn.data
        assert asked[0].truth == drawn.truth and asked[0].style == drawn.style
        for sample, each in zip(read[i], asked, strict=True):
            assert sample.key == each.key and read.of(each.key) == each.question
            assert right(read.of(each.key).check, sample.messages[1].parts[0].text)
    render(replace(CLIPS, seed=4), tmp_path / "others")
    task = rendered(questions(tmp_path / "others"), read)

    def honest(prompts: Any) -> list[str]:
        known = {id_of(s.messages[:-1]): s.messages[1].parts[0].text for r in read for s in r}
        return [f"I see: {known[id_of(prompt)]}" for prompt in prompts]

    def id_of(messages: Any) -> tuple[str, str]:
        video, text = messages[0].parts
        return video.key, text.text

    result = run(task, honest, quiet=True)
    assert result.shares().total.accuracy == 1.0
    assert result.shares("question-only prior").total.accuracy < 1.0
    assert (
        run(task, lambda prompts: ["walrus"] * len(prompts), quiet=True).shares().total.right == 0
    )


def test_what_is_no_rendered_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished shards"):
        questions(tmp_path)
    with pytest.raises(IndexError):
        render(CLIPS, tmp_path / "clips")
        questions(tmp_path / "clips").asked(8)


def needy() -> None:
    raise UserError("This kind needs the program walrus: apt install walrus.")


def never(random: Random, library: Mapping[str, Any]) -> Drawn:
    raise UserError("The walrus is asleep.")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_while_drawing_is_its_own_sentence_and_keeps_the_folder(
    tmp_path: Path, processes: int
) -> None:
    job = Job(Kind("walrus", "", never), 8, rows=4)
    with pytest.raises(UserError, match="asleep"):
        render(job, tmp_path, processes)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == [PLAN]


def test_kinds_are_found_by_name_and_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match='Did you mean "scenes"'):
        kind_of("scene")
    from chiasm.data.render import scenes

    monkeypatch.setattr(scenes, "KINDS", (Kind("walrus", "", never, "walrus", needy),))
    with pytest.raises(UserError, match="apt install walrus"):
        kind_of("walrus")
    assert "walrus" in kinds()


def test_cutouts_make_scenes(tmp_path: Path) -> None:
    said: list[str] = []
    given = read_cutouts(stamps(tmp_path / "stamps"), said.append)
    assert {name for name, _ in given} == {f"thing {letter}" for letter in "abcdefgh"}
    assert "left out 2 pictures" in said[0]
    job = Job(kind_of("scenes"), 60, library={"cutouts": given}, rows=30)
    shown = [draw(job, i) for i in range(60)]
    composed = [d for d in shown if d.truth["plan"].endswith("cutouts")]
    assert 20 < len(composed) < 50
    for drawn in composed:
        things = drawn.truth["things"]
        for question in drawn.questions:
            if question.kind == "times":
                name = question.text.split('"')[1]
                assert int(question.answer) == sum(t["name"] == name for t in things)
            if question.kind == "exists":
                name = question.text.split('"')[1]
                assert (question.answer == "yes") == any(t["name"] == name for t in things)
            assert right(question.check, question.answer)
    assert render(job, tmp_path / "one") == render(job, tmp_path / "two", processes=2)


def test_too_few_cutouts_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 usable cut-outs"):
        read_cutouts(tmp_path, lambda text: None)


def test_the_digest_tells_plain_values_apart() -> None:
    values = [
        {},
        [],
        "",
        b"",
        {"a": 1},
        {"a": "1"},
        {"a": [1]},
        [["a"], "b"],
        [["a", "b"]],
        None,
        1,
        1.5,
    ]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({"a": 1, "b": (2,)}) == digest({"b": [2], "a": 1})
    with pytest.raises(TypeError):
        digest({"a": os})


def test_a_page_shows_pictures_and_escapes_words() -> None:
    drawn = draw(SCENES, 0)
    changed = replace(drawn, questions=(replace(drawn.questions[0], text="<b>&"),))
    shown = page("a < b", [changed, draw(CLIPS, 0)])
    assert shown.startswith("<!doctype html>") and "&lt;b&gt;&amp;" in shown and "<b>" not in shown
    assert shown.count('<img src="data:image/') == 2
