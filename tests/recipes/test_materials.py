"""What a run is trained on, and what is held out: by name, by folder, by shards with a test part."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.test_shards import COLUMNS, rows

from chiasm.base.errors import UserError
from chiasm.data.shards import write_index, write_shard
from chiasm.recipes.materials import materials


def keys(source: object) -> list[str]:
    return [source[i][0].key for i in range(len(source))]  # type: ignore[index, arg-type]


def shards(folder: Path, parts: dict[str, slice]) -> Path:
    (made, listed) = rows(60), []
    for part, taken in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        shard = write_shard(folder / part / "00000.parquet", made[taken], COLUMNS)
        name = f"{part}/{shard.file}" if part else shard.file
        listed.append(type(shard)(name, shard.rows, shard.bytes, shard.sha256))
    write_index(folder, listed, {})
    return folder


def test_shards_with_a_test_part_are_trained_on_without_it(tmp_path: Path) -> None:
    folder = shards(tmp_path / "made", {"train": slice(0, 50), "test": slice(50, 60)})
    taught, held = materials(str(folder), print)
    assert keys(taught) == [f"toys/{n}" for n in range(50)]
    assert keys(held) == [f"toys/{n}" for n in range(50, 60)]


def test_of_shards_without_one_a_tenth_is_held_out(tmp_path: Path) -> None:
    folder = shards(tmp_path / "made", {"": slice(0, 60)})
    taught, held = materials(str(folder), print)
    assert keys(taught) + keys(held) == [f"toys/{n}" for n in range(60)] and len(held) == 6


def test_a_lost_shard_is_still_counted(tmp_path: Path) -> None:
    folder = shards(tmp_path / "made", {"train": slice(0, 50), "test": slice(50, 60)})
    (folder / "train" / "00000.parquet").unlink()
    taught, held = materials(str(folder), print)
    assert (len(taught), len(held)) == (50, 10)


def test_copies_lie_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    folder = shards(tmp_path / "made", {"train": slice(0, 50), "test": slice(50, 60)})
    plain, copied = (materials(str(folder), print, cache)[0] for cache in (False, True))
    assert keys(plain) == keys(copied)
    assert len(list((tmp_path / "cache" / "rows").rglob("*.arrow"))) == 1


def test_what_is_none_of_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='neither a data source nor a folder called "easy-vga"'):
        materials("easy-vga", print)
