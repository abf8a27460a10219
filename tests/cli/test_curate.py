"""`chiasm curate`: from a folder to shards, by words and by a recipe, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.cli.toys import call

from chiasm.data.rows import CAPTION_PROMPT
from chiasm.data.shards import manifest_hash
from chiasm.data.sources import parquet
from chiasm.recipes.answering import chat
from chiasm.recipes.loading import load

COLOURS = ("red", "green", "blue", "yellow")
ROOT = Path(__file__).resolve().parents[2]
STEPS = ("--steps", "caption", "picture", "exact")


def picture(number: int, side: int = 72) -> bytes:
    """A picture of noise, so that no two are alike."""
    chance = random.Random(number)
    image = Image.frombytes("RGB", (9, 9), chance.randbytes(243)).resize((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def holidays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good pictures, a small one, a damaged one, a short caption, and one twice."""
    folder = tmp_path_factory.mktemp("holidays")
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(picture(number))
        (folder / f"{number:02}.txt").write_text(f"A {COLOURS[number % 4]} house on hill {number}.")
    for name, data, text in (
        ("small", picture(50, 8), "A picture of a small boat."),
        ("torn", picture(51)[:90], "A picture of a torn sail."),
        ("short", picture(52), "Hm."),
        ("twice", picture(0), "A red house on hill 0."),
    ):
        (folder / f"{name}.png").write_bytes(data)
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_becomes_shards_with_a_report(capsys: Any, holidays: Path, tmp_path: Path) -> None:
    words = ("curate", holidays, "--out", tmp_path / "clean", *STEPS, "--workers", "1")
    done = call(capsys, *words, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["n_in"], told["n_kept"]) == (16, 12)
    assert told["n_dropped"] == {
        "caption": {"too_few_words": 1},
        "picture": {"too_small": 1},
        "decode": {"broken": 1},
        "exact": {"same_pair": 1},
    }
    assert told["manifest"] == manifest_hash(tmp_path / "clean")
    source = parquet(tmp_path / "clean" / "train")
    said = {source[i][0].messages[1].parts[0].text for i in range(len(source))}
    assert said == {f"A {COLOURS[n % 4]} house on hill {n}." for n in range(12)}
    assert "A picture of a small boat." in (tmp_path / "clean" / "report.html").read_text()
    again = call(capsys, *words)
    assert again.code == 0 and "is finished" in again.err

    # The same by a recipe, whose settings are written down.
    recipe = tmp_path / "mine.yaml"
    shown = call(capsys, "curate", holidays, *STEPS, "--workers", "1", "--show")
    recipe.write_text(shown.out)
    assert call(capsys, "curate", recipe, "--out", tmp_path / "same").code == 0
    assert manifest_hash(tmp_path / "same") == told["manifest"]
    recipe.write_text(shown.out.replace("least: 64", "least: 80"))
    none = call(capsys, "curate", recipe, "--out", tmp_path / "none")
    assert (
        none.code == 2 and "None of 16 records is left" in none.err and "fewer pixels" in none.err
    )
    other = call(capsys, "curate", recipe, "--out", tmp_path / "same")
    assert other.code == 2 and "begun with another recipe" in other.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Name what to curate"),
        (("nowhere", "--out", "x"), "'nowhere' does not exist"),
        (("nowhere",), "Say where the shards go"),
        (("data:openmojo", "--out", "x"), 'Did you mean "openmoji"?'),
        (("nowhere", "--steps", "langage"), 'Did you mean "language"?'),
        (("nowhere", "--out", "x", "--test-share", "2"), "test_share: should be less than 1"),
        (("missing.yaml", "--out", "x"), "Cannot read missing.yaml"),
    ],
)
def test_wrong_words_are_one_sentence(capsys: Any, words: tuple[str, ...], told: str) -> None:
    done = call(capsys, "curate", *words)
    assert done.code == 2 and told in done.err and "Traceback" not in done.err


def test_a_folder_without_captions_is_told(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture(1))
    done = call(capsys, "curate", tmp_path / "pictures", "--out", tmp_path / "out")
    assert done.code == 2 and "caption" in done.err and "Traceback" not in done.err


def test_a_step_without_its_model_is_told(capsys: Any, holidays: Path, tmp_path: Path) -> None:
    words = ("curate", holidays, "--out", tmp_path / "out", "--steps")
    done = call(capsys, *words, "alignment")
    assert done.code == 2 and "no tower for texts" in done.err
    done = call(capsys, *words, "describing")
    assert done.code == 2 and not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_writes_captions(capsys: Any, shop: Path, holidays: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("steps:\n- kind: caption\n- kind: describing\n  below: 9\n")
    model = shop / "runs" / "first_light" / "model"
    out = tmp_path / "out"
    words = ("curate", recipe, holidays, "--out", out, "--writer", model, "--workers", "1")
    done = call(capsys, *words)
    assert done.code == 0, done.err
    rows = pq.read_table(out / "train").to_pylist()
    assert len(rows) == 14 and all(row["described"] for row in rows)
    assert {row["caption_before"] for row in rows} >= {"A red house on hill 0."}
    loaded = load(model, dtype="float32")
    for row in rows[:3]:
        shown = {"type": "image", "image": row["images"][0]["bytes"]}
        asked = [{"role": "user", "content": [shown, {"type": "text", "text": CAPTION_PROMPT}]}]
        said = row["messages"][1]["content"][0]["text"]
        assert said == chat(*loaded, asked).strip()


def test_a_mistake_in_a_recipe_names_the_setting(capsys: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("steps:\n- kind: caption\n  word: 3\n")
    done = call(capsys, "curate", path, "--out", tmp_path / "out")
    assert done.code == 2 and "steps.0" in done.err and 'Did you mean "words"?' in done.err


def test_ctrl_c_says_how_to_go_on(holidays: Path, tmp_path: Path) -> None:
    words = ["curate", str(holidays), "--out", str(tmp_path / "out"), *STEPS]
    words += ["--shard-records", "1", "--workers", "1"]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", "chiasm", *words],
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list((tmp_path / "out").glob("work/00/*.json")):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "To go on, repeat the command:\n  chiasm curate " in out and "Traceback" not in err
    assert not (tmp_path / "out" / "_index.json").exists()
