"""The pipeline: nothing is lost, nothing is done twice, and only the recipe decides about the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.curation.curate_toys import finished_pieces
from tests.data.curation.curate_toys import recipe as toys
from tests.data.curation.pipeline_toys import (
    AloneSettings,
    BrightSettings,
    LengthSettings,
    ShoutSettings,
    ToyRecipe,
    captions,
    ledger,
    one_by_one,
    toy,
    toy_tools,
)

from chiasm.data.curation.pipeline import Outcome, curate
from chiasm.data.curation.recipe import Recipe
from chiasm.data.rows import BadSample
from chiasm.data.shards import manifest_hash, read_index
from chiasm.data.sources import parquet
from chiasm.inputs.media import ImageDecoder, MediaError

ROOT = Path(__file__).resolve().parents[3]


def run(recipe: Recipe, out: Path) -> Outcome:
    return curate(recipe, out, toy, toy_tools, spread=one_by_one)


# ---- nothing is lost ---------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.builds(LengthSettings, least=st.integers(1, 3)),
        st.builds(BrightSettings, least=st.sampled_from([0.0, 60.0, 256.0]), turn=st.booleans()),
        st.builds(AloneSettings),
        st.builds(ShoutSettings),
    ),
    max_size=4,
)


@settings(max_examples=12)
@given(
    steps=STEPS,
    records=st.integers(1, 40),
    faulty=st.sampled_from([0.0, 0.3, 1.0]),
    shard=st.integers(1, 24),
    seed=st.integers(0, 99),
)
def test_every_record_is_kept_or_has_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[Any],
    records: int,
    faulty: float,
    shard: int,
    seed: int,
) -> None:
    out = tmp_path_factory.mktemp("out")
    sources = (f"toy:a:{records}:{faulty}:{seed}", f"toy:b:3:{faulty}:{seed}")
    recipe = ToyRecipe(sources=sources, steps=tuple(steps), shard_records=shard, rows=7)
    run(recipe, out)
    told = ledger(out)
    for each in (told, *told["shards"]):
        lost = sum(sum(reasons.values()) for reasons in each["n_dropped"].values())
        assert each["n_in"] == each["n_kept"] + lost
    assert told["n_in"] == sum(each["n_in"] for each in told["shards"]) == records + 3
    kept, dropped = by_hand(recipe)
    assert captions(out) == kept and told["n_kept"] == kept.total()
    assert (
        Counter({(s, r): n for s, f in told["n_dropped"].items() for r, n in f.items()}) == dropped
    )
    assert sum(each.rows for each in read_index(out)) == told["n_kept"]
    table = pq.read_table(out / "receipts" / "dropped.parquet")
    found = zip(table["step"].to_pylist(), table["reason"].to_pylist(), strict=True)
    assert Counter(found) == dropped


def by_hand(recipe: Recipe) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """What the toy steps do, without stages, shards and files."""
    dropped: Counter[tuple[str, str]] = Counter()
    names: Counter[str] = Counter()
    with ImageDecoder() as decoder:
        left = [row for name in recipe.sources for row in _read(toy(name), dropped)]
        for step in recipe.steps:
            names[step.kind] += 1
            name = step.kind if names[step.kind] == 1 else f"{step.kind} {names[step.kind]}"
            if step.kind == "bright":
                left = [row for row in left if _decode(decoder, row, dropped)]
            left = _by_step(step, name, left, dropped)
    return Counter(caption for _, caption, _ in left), dropped


def _read(source: Any, dropped: Counter[tuple[str, str]]) -> Iterator[list[Any]]:
    for number in range(len(source)):
        try:
            pair = source[number]
            yield [pair.key, pair.caption, pair.shown.read()]
        except (BadSample, MediaError) as error:
            dropped["read", error.reason] += 1


def _decode(decoder: ImageDecoder, row: list[Any], dropped: Counter[tuple[str, str]]) -> bool:
    try:
        row[2] = decoder.decode(row[2]) if isinstance(row[2], bytes) else row[2]
    except MediaError as error:
        dropped["decode", error.reason] += 1
        return False
    return True


def _by_step(
    step: Any, name: str, left: list[list[Any]], dropped: Counter[tuple[str, str]]
) -> list[list[Any]]:
    if step.kind == "shout":
        return [[key, caption.upper(), shown] for key, caption, shown in left]
    kept, seen = [], set()
    for row in sorted(left, key=lambda each: each[0]) if step.kind == "alone" else left:
        if step.kind == "alone":
            bad, reason = row[1] in seen, "again"
            seen.add(row[1])
        elif step.kind == "length":
            bad, reason = len(row[1].split()) < step.least, "short"
        else:
            bad, reason = float(np.mean(row[2])) < step.least, "dark"
        if bad:
            dropped[name, reason] += 1
        else:
            kept.append(row)
    return kept


# ---- the same result, whoever does the work ----------------------------------------------------


@pytest.mark.usefixtures("pipes_of_daft")
def test_processes_and_pieces_change_nothing(tmp_path: Path) -> None:
    """Two processes of Daft, and a loop over pieces of another size from the last to the first."""
    one = curate(toys(workers=2), tmp_path / "one", toy, toy_tools)
    two = run(toys().model_copy(update={"shard_records": 37}), tmp_path / "two")
    assert one.manifest == two.manifest
    for name in ("report.html", "receipts/dropped.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    files_of = {p.relative_to(tmp_path / "one") for p in (tmp_path / "one").glob("t*/*")}
    assert files_of == {p.relative_to(tmp_path / "two") for p in (tmp_path / "two").glob("t*/*")}
    other = run(toys().model_copy(update={"seed": 1}), tmp_path / "three")
    assert other.manifest != one.manifest  # by the split of the test


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    """Begin `curate_toys.py` in a process of its own."""
    words = (sys.executable, "-m", "tests.data.curation.curate_toys", str(out), *words)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    surroundings = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(words, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, text=True)


def test_killed_five_times_it_comes_to_the_same_bytes(tmp_path: Path) -> None:
    straight = run(toys(records=96), tmp_path / "straight")
    out = tmp_path / "killed"
    done: dict[str, int] = {}
    for _ in range(5):
        process = start(out, "1", "local", "96", "4")
        while process.poll() is None and len(finished_pieces(out)) < len(done) + 3:
            time.sleep(0.002)
        assert process.poll() is None, "it was finished before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        time.sleep(0.1)  # its child may still finish the piece in its hands
        found = finished_pieces(out)
        assert done.items() <= found.items(), "a finished piece was done again"
        done = found
    last = start(out, "1", "local", "96", "4")
    told, _ = last.communicate()
    assert last.returncode == 0
    assert done.items() <= finished_pieces(out).items()
    assert told.splitlines()[-1] == straight.manifest == manifest_hash(out)
    assert (out / "ledger.json").read_bytes() == (tmp_path / "straight/ledger.json").read_bytes()


def test_a_ray_cluster_comes_to_the_same_bytes(tmp_path: Path) -> None:
    process = start(tmp_path / "ray", "2", "ray", "96", "3")
    told, _ = process.communicate()
    assert process.returncode == 0
    assert told.splitlines()[-1] == run(toys(records=96, steps=3), tmp_path / "here").manifest


def test_a_finished_folder_is_left_as_it_is(tmp_path: Path) -> None:
    first = run(toys(records=30), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    said: list[str] = []
    second = curate(toys(records=30), tmp_path, toy, toy_tools, said.append, one_by_one)
    assert second.manifest == first.manifest and "finished" in said[0]
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != "lock"} == {
        p: t for p, t in before.items() if p.name != "lock"
    }


def test_a_piece_that_was_damaged_is_done_again(tmp_path: Path) -> None:
    first = run(toys(records=30), tmp_path)
    (tmp_path / "_index.json").unlink()
    for name in ("work/00/00001.parquet", "work/01.parquet", "train/00000.parquet"):
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes(data)
    assert run(toys(records=30), tmp_path).manifest == first.manifest


# ---- what is written ---------------------------------------------------------------------------


def test_others_read_the_result(tmp_path: Path) -> None:
    run(toys(), tmp_path)
    source = parquet(tmp_path / "train")
    table = pq.read_table(tmp_path / "train")
    assert len(source) == table.num_rows > 25
    for i, row in enumerate(table.to_pylist()):
        (sample,) = source[i]
        picture = sample.messages[0].parts[0].read()
        assert row["sha256"] == [sha256(picture).hexdigest()]
        assert sample.messages[1].parts[0].text.isupper()  # the step behind the whole one
        assert row["words"] >= 2 and row["level"] >= 40 and row["licence"] == "CC0-1.0"


def test_a_picture_that_a_step_changes_is_written_without_loss(tmp_path: Path) -> None:
    plain = toys().model_copy(update={"steps": (LengthSettings(), BrightSettings())})
    turned = plain.model_copy(
        update={"steps": (LengthSettings(), BrightSettings(turn=True), LengthSettings())}
    )
    for name, recipe in (("plain", plain), ("turned", turned)):
        run(recipe, tmp_path / name)
    count = 0
    with ImageDecoder() as decoder:
        for split in ("train", "test"):
            rows = zip(
                *(records(tmp_path / name / split) for name in ("plain", "turned")), strict=True
            )
            for before, after in rows:
                was, now = (decoder.decode(row["images"][0]["bytes"]) for row in (before, after))
                bright = before["level"] > 150
                assert np.array_equal(now, was[::-1] if bright else was)
                assert (before["sha256"] == after["sha256"]) == (not bright)
                assert after["sha256"] == [sha256(after["images"][0]["bytes"]).hexdigest()]
                count += bright
    assert count


def records(folder: Path) -> list[dict[str, Any]]:
    found = [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    return sorted(found, key=lambda row: row["key"])


def test_a_concept_is_never_on_both_sides(tmp_path: Path) -> None:
    recipe = toys().model_copy(update={"test_share": 0.4})
    run(recipe, tmp_path)
    sides = {}
    for split in ("train", "test"):
        rows = records(tmp_path / split)
        assert rows
        told = {json.loads(row["notes"])["concept"] for row in rows if row["notes"]}
        pictures = {row["sha256"][0] for row in rows if not row["notes"]}
        sides[split] = (told, pictures)
    assert all(sides["train"][i].isdisjoint(sides["test"][i]) for i in (0, 1))


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    run(toys(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert len(text) < 5_000_000
    assert (
        "<script" not in text
        and "http:" not in text
        and "https:" not in text
        and "data:image/jpeg;base64," in text
    )
    for word in ("short", "dark", "again", "broken", "CC0-1.0", "level"):
        assert word in text
