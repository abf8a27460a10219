"""What can go wrong with a curation: one sentence each, and what is finished stays."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.data.curation.curate_toys import finished_pieces
from tests.data.curation.curate_toys import recipe as toys
from tests.data.curation.pipeline_toys import (
    AloneSettings,
    FaultSettings,
    LengthSettings,
    ShoutSettings,
    Toy,
    ToyRecipe,
    one_by_one,
    toy,
    toy_tools,
)

from chiasm.base import files
from chiasm.base.errors import UserError
from chiasm.base.files import sole_holder
from chiasm.data.curation import engine
from chiasm.data.curation.pipeline import curate
from chiasm.data.curation.recipe import Recipe
from chiasm.data.curation.step import Tools
from chiasm.data.pairs import Pair
from chiasm.data.shards import manifest_hash


def run(recipe: Recipe, out: Path) -> str:
    return curate(recipe, out, toy, toy_tools, spread=one_by_one).manifest


def test_another_recipe_or_other_sources_are_refused(tmp_path: Path) -> None:
    small = toys(records=30)
    run(small, tmp_path)
    for change, told in (
        ({"seed": 1}, "recipe.seed"),
        ({"steps": (LengthSettings(least=3),)}, "recipe.steps"),
        ({"sources": ("toy:a:30:0.2:1",)}, "sources"),
        ({"sources": ("toy:a:30:0.2:1", "toy:b:14:0.1:2")}, "sources.1.records"),
        ({"shard_records": 7}, "shard_records"),
    ):
        with pytest.raises(UserError, match="another recipe") as error:
            run(small.model_copy(update=change), tmp_path)
        assert told in str(error.value)
    assert run(small.model_copy(update={"workers": 5, "engine": "ray"}), tmp_path) == manifest_hash(
        tmp_path
    )


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with sole_holder(tmp_path / "work" / "lock"), pytest.raises(UserError, match="working on"):
        run(toys(records=10), tmp_path)


class FullDisk(files.Disk):
    """A disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def append(self, descriptor: int, data: files.Bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(descriptor, data)


def test_a_full_disk_is_one_sentence_and_finished_pieces_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toys(records=60)
    straight = run(recipe, tmp_path / "straight")
    room = 2_000
    for _ in range(40):  # at another call each time
        before = finished_pieces(tmp_path / "full")
        monkeypatch.setattr(files, "disk", FullDisk(room))
        try:
            manifest = run(recipe, tmp_path / "full")
            break
        except UserError as error:
            assert "the disk is full. Free some space" in str(error)
        room += 6_000
        assert before.items() <= finished_pieces(tmp_path / "full").items()
    assert manifest == straight and room > 10_000
    assert not list((tmp_path / "full").rglob(".*tmp-*"))


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "daft", None)
    with pytest.raises(UserError, match=r"pip install 'chiasm\[data\]'"):
        curate(toys(records=10), tmp_path, toy, toy_tools)


def test_a_missing_tool_is_told_before_any_work(tmp_path: Path) -> None:
    recipe = toys().model_copy(update={"steps": (ShoutSettings(),)})
    with pytest.raises(UserError, match="describe"):
        curate(recipe, tmp_path / "out", toy, lambda recipe: Tools(), spread=one_by_one)
    assert not (tmp_path / "out").exists()


def test_a_fact_that_nobody_finds_out_is_told(tmp_path: Path) -> None:
    steps = (LengthSettings(), AloneSettings(needs=("level",)))
    with pytest.raises(UserError, match='"alone" needs the fact "level"'):
        run(toys(records=20).model_copy(update={"steps": steps}), tmp_path)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("undeclared", "does not declare"),
        ("few", "0 verdicts for"),
        ("taken", "a name that shards use"),
    ],
)
def test_a_step_that_breaks_its_contract_is_a_fault(tmp_path: Path, what: str, told: str) -> None:
    recipe = ToyRecipe(sources=("toy:a:9:0:1",), steps=(FaultSettings(what=what),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=told):
        run(recipe, tmp_path)


@pytest.mark.usefixtures("pipes_of_daft")
def test_faults_in_other_processes_come_out(tmp_path: Path) -> None:
    raises = ToyRecipe(
        sources=("toy:a:9:0:1",), steps=(FaultSettings(what="raises"),), workers=2, shard_records=2
    )
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a step of a test"):
        curate(raises, tmp_path / "raises", toy, toy_tools)
    dies = raises.model_copy(update={"steps": (FaultSettings(what="dies"),)})
    with pytest.raises(UserError, match="ended from outside"):
        curate(dies, tmp_path / "dies", toy, toy_tools)


@dataclass(frozen=True)
class Changing:
    """A source that gives other captions after so many readings."""

    toy: Toy
    reads: list[int]
    until: int
    name: str = "a"

    def __len__(self) -> int:
        return len(self.toy)

    def __getitem__(self, index: int) -> Pair:
        self.reads.append(index)
        pair = self.toy[index]
        return replace(pair, caption="new words") if len(self.reads) > self.until else pair


def test_a_source_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    source = Changing(Toy("a", 8, 0.0, 1), [], 10)
    recipe = ToyRecipe(sources=("x",), steps=(LengthSettings(least=1),))
    with pytest.raises(UserError, match="has changed since"):
        curate(recipe, tmp_path, lambda name: source, toy_tools, spread=one_by_one)


def test_nothing_to_curate_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Name what to curate"):
        run(ToyRecipe(), tmp_path)
    with pytest.raises(UserError, match="nothing to curate"):
        run(ToyRecipe(sources=("toy:a:0:0:1",)), tmp_path)


def test_the_engine_leaves_the_environment_as_it_was(tmp_path: Path) -> None:
    import os

    before = dict(os.environ)
    with engine._environment():
        assert os.environ["PYTHONSAFEPATH"] == "1" and os.environ["DAFT_ANALYTICS_ENABLED"] == "0"
    assert dict(os.environ) == before
