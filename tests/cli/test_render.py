"""`chiasm render`: shards, a page, a list, and one sentence for what is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.cli.toys import call
from tests.data.render.toys import stamps

from chiasm.base.errors import UserError
from chiasm.data.render import runner
from chiasm.data.render.asked import questions
from chiasm.data.render.browser import VARIABLE
from chiasm.data.render.kinds import kind_of
from chiasm.data.shards import manifest_hash

PLOTTED = ("charts", "tables", "documents", "equations")


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
    folder, out = stamps(tmp_path / "stamps"), tmp_path / "out"
    words = ("render", "scenes", "--from", folder, "--out", out, "--count", "9")
    done = call(capsys, *words, "--licence", "CC-BY-4.0")
    assert done.code == 0 and "left out 2 pictures" in done.out
    plans = {questions(out).asked(i)[0].truth["plan"] for i in range(9)}
    assert any(plan.endswith("cutouts") for plan in plans)
    assert licences(out) == {"CC-BY-4.0"}
    [source] = json.loads((out / "_index.json").read_text())["made"]["sources"]
    assert source.startswith("stamps sha256=") and str(tmp_path) not in source
    other = call(capsys, *words[:-4], "--from", stamps(tmp_path / "more"), *words[-4:])
    assert other.code == 2 and "begun with another" in other.said and "sources" in other.said


def licences(folder: Path) -> set[str]:
    return {
        licence
        for path in folder.glob("*.parquet")
        for licence in pq.read_table(path, columns=["licence"])["licence"].to_pylist()
    }


def test_documents_of_ones_own_texts_and_tables_of_ones_own_numbers(
    capsys: Any, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "book.txt").write_text("Call me Ishmael. " * 9 + "\n\n" + "Some years ago. " * 9)
    (tmp_path / "notes.jsonl").write_text(json.dumps({"text": "Never mind how long."}) + "\n")
    sources = ("--from", tmp_path / "book.txt", "--from", tmp_path / "notes.jsonl")
    out = tmp_path / "pages"
    done = call(capsys, "render", "pages", *sources, "--count", "12", "--out", out)
    assert done.code == 0 and "name one with --licence" in done.out
    read = [questions(out).asked(i)[0].truth["text"] for i in range(12)]
    assert any("Ishmael" in text or "years" in text for text in read)
    rows = "".join(f"Port {letter},{7 + 3 * i},{90 - i}\n" for i, letter in enumerate("abcdefgh"))
    (tmp_path / "ports.csv").write_text("port,ships,crews\n" + rows)
    out = tmp_path / "tables"
    words = ("render", "tables", "--from", tmp_path / "ports.csv", "--count", "12", "--out", out)
    assert call(capsys, *words).code == 0
    shown = {questions(out).asked(i)[0].truth["source"] for i in range(12)}
    assert shown == {"ports", "invented"}


def test_a_missing_program_is_one_sentence_and_finished_shards_stay(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resvg_py")
    if shutil.which("dot") is None:
        pytest.skip("no dot is here")
    folder = tmp_path / "out"
    job = runner.Job(kind_of("flowcharts"), 4, rows=2)
    whole = runner.render(job, folder)
    (folder / "00001.parquet").unlink()
    (folder / "_index.json").unlink()
    kept = (folder / "00000.parquet").stat().st_mtime_ns
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path))
        done = call(capsys, "render", "flowcharts", "--count", "4", "--out", folder)
        assert done.code == 2 and "apt-get install graphviz" in done.said and not done.out
        with pytest.raises(UserError, match="apt-get install graphviz"):
            runner.render(job, folder)
    assert [path.name for path in folder.glob("*.parquet")] == ["00000.parquet"]
    assert runner.render(job, folder) == whole
    assert (folder / "00000.parquet").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("kind", "module", "sentence"),
    [
        *((kind, "matplotlib", "matplotlib, which is not installed") for kind in PLOTTED),
        ("articles", "typst", "typst, which is not installed"),
        ("equations", "typst", "typst, which is not installed"),
        ("vega-charts", "vl_convert", "vl-convert-python, which is not installed"),
        ("screens", "playwright.sync_api", "playwright, which is not installed"),
    ],
)
def test_a_missing_library_is_one_sentence(
    capsys: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    module: str,
    sentence: str,
) -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    done = call(capsys, "render", kind, "--count", "2", "--out", tmp_path / "out")
    assert done.code == 2 and sentence in done.said and "pip install 'chiasm[render]'" in done.said
    assert not done.out and not list(tmp_path.glob("out/*.parquet"))


def test_without_a_browser_screens_are_one_sentence(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("playwright")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = call(capsys, "render", "screens", "--out", tmp_path / "out")
    assert done.code == 2 and VARIABLE in done.said and not done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name one kind"),
        (["scenes", "clips"], "Name one kind"),
        (["scense"], 'no kind "scense". Did you mean "scenes"?'),
        (["scenes", "--count", "0"], "--count is 0"),
        (["scenes", "--processes", "0"], "--processes is 0"),
        (["scenes", "--from", "nowhere"], "nowhere does not exist; needed are cut-outs"),
        (["clips", "--from", "nowhere"], "clips are drawn from chance alone"),
        (
            ["charts", "--from", "data:tuxpaint"],
            "holds pictures with captions, but needed are tables",
        ),
        (["scenes", "--from", "data:vega-datasets"], "holds tables, but needed are cut-outs"),
        (["scenes", "--from", "data:tuxpiant"], 'Did you mean "tuxpaint"?'),
        (["maps", "--from", "nowhere"], "nowhere is no collection"),
        (["scenes", "--form", "x"], 'Did you mean "--from"?'),
        (["scenes", "--cuont", "3"], 'Did you mean "--count"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_sentence(capsys: Any, words: list[str], sentence: str) -> None:
    done = call(capsys, "render", *words)
    assert done.code == 2 and sentence in done.said and not done.out
