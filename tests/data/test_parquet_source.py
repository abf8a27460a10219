"""Shards as a source: any row at once, and what is damaged or lost is refused row by row."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.data.test_shards import COLUMNS, rows

from chiasm.data.parquet import GROUP_ROWS
from chiasm.data.parquet_rows import ParquetRows
from chiasm.data.parquet_source import ParquetSource, parquet
from chiasm.data.rows import BadSample
from chiasm.data.shards import write_index, write_shard

SHARDS, EACH = 3, 2 * GROUP_ROWS + 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of three row groups each, with their index."""
    made = rows(SHARDS * EACH)
    shards = [
        write_shard(tmp_path / f"{n:05}.parquet", made[n * EACH : (n + 1) * EACH], COLUMNS)
        for n in range(SHARDS)
    ]
    write_index(tmp_path, shards, {})
    return tmp_path


def outcome(source: object, index: int) -> str:
    try:
        (sample,) = source[index]  # type: ignore[index]
    except BadSample as error:
        return error.reason
    return f"{sample.key} {sample.messages[1].parts[0].text}"


def outcomes(folder: Path, cache: Path | None = None) -> list[str]:
    source = parquet(folder, cache)
    assert len(source) == SHARDS * EACH  # what was written, whatever is left of it
    order = random.Random(7).sample(range(len(source)), len(source))
    found = {index: outcome(source, index) for index in order}
    return [found[index] for index in range(len(source))]


WHOLE = [f"toys/{n} Picture {n}." for n in range(SHARDS * EACH)]


def test_any_row_in_any_order_from_memory_and_from_the_cache(folder: Path) -> None:
    cache = folder / "cache"
    assert outcomes(folder) == WHOLE
    assert outcomes(folder, cache) == WHOLE
    made = sorted(path.stat().st_mtime_ns for path in cache.rglob("*.arrow"))
    assert len(made) == 3 * SHARDS
    assert outcomes(folder, cache) == WHOLE
    assert sorted(path.stat().st_mtime_ns for path in cache.rglob("*.arrow")) == made
    source = parquet(folder, cache)
    assert [outcome(source, i) for i in range(len(source))] == WHOLE
    assert source.rows.reads == 0


def test_a_damaged_cache_is_made_again(folder: Path) -> None:
    cache = folder / "cache"
    outcomes(folder, cache)
    for path in cache.rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    assert outcomes(folder, cache) == WHOLE


def test_memory_is_bounded(folder: Path) -> None:
    large = parquet(folder)
    source = ParquetSource(ParquetRows("few", large.rows.files, large.rows.wanted, memory=1))
    for index in (0, GROUP_ROWS, 0, EACH, 0):
        source[index]
    assert source.rows.reads == 5 and len(source.rows._held) == 1
    for index in (0, GROUP_ROWS, 0, EACH, 0):
        large[index]
    assert large.rows.reads == 3


def test_a_row_group_with_a_flipped_bit_is_refused_and_the_others_stay(folder: Path) -> None:
    path = folder / "00001.parquet"
    column = pq.read_metadata(path).row_group(1).column(3)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    path.write_bytes(data)
    bad = range(EACH + GROUP_ROWS, EACH + 2 * GROUP_ROWS)
    wanted = ["damaged_file" if n in bad else text for n, text in enumerate(WHOLE)]
    assert outcomes(folder) == wanted
    assert outcomes(folder, folder / "cache") == wanted


@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "junk"])
def test_a_lost_shard_is_counted_row_by_row(folder: Path, damage: str) -> None:
    path = folder / "00001.parquet"
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"cut": data[:-9], "empty": b"", "junk": b"x" * len(data)}[damage])
    found = outcomes(folder)
    assert Counter(found)["shard_truncated"] == EACH
    assert found[:EACH] + found[2 * EACH :] == WHOLE[:EACH] + WHOLE[2 * EACH :]


def test_a_shard_with_fewer_rows_than_written_says_so(folder: Path) -> None:
    """A whole, valid file that somebody shortened: the tail is refused, and no row moves up."""
    write_shard(folder / "00001.parquet", rows(2 * EACH)[EACH : EACH + 20], COLUMNS)
    found = outcomes(folder)
    assert found[: EACH + 20] == WHOLE[: EACH + 20] and found[2 * EACH :] == WHOLE[2 * EACH :]
    assert set(found[EACH + 20 : 2 * EACH]) == {"shard_truncated"}


def test_a_picture_that_is_not_the_one_written_is_refused(tmp_path: Path) -> None:
    """1,000 single flipped bits that no page checksum sees, because the file was written with them."""
    chance = random.Random(1)
    made = rows(1000)
    sums = [sha256(row.sample.messages[0].parts[0].read()).hexdigest() for row in made]
    flipped = []
    for row in made:
        picture = row.sample.messages[0].parts[0]
        data = bytearray(picture.read())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        object.__setattr__(picture, "data", bytes(data))
        flipped.append(row)
    write_shard(tmp_path / "a.parquet", flipped, COLUMNS)
    table = pq.read_table(tmp_path / "a.parquet")
    place = table.schema.get_field_index("sha256")
    lying = table.set_column(place, table.schema.field(place), [[[each] for each in sums]])
    pq.write_table(lying, tmp_path / "a.parquet")
    source = parquet(tmp_path / "a.parquet")
    assert Counter(outcome(source, i) for i in range(1000)) == {"wrong_checksum": 1000}
