"""Shards: whole or absent, equal for equal rows, readable by others, every picture with its checksum."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from chiasm.base.errors import UserError
from chiasm.data.pairs import captioned
from chiasm.data.parquet_source import parquet
from chiasm.data.shards import (
    INDEX,
    Row,
    manifest_hash,
    read_index,
    write_index,
    write_shard,
)
from chiasm.inputs.message import Picture

COLUMNS = {"language": str, "score": float, "count": int, "print": bytes}


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int) -> list[Row]:
    colours = ("red", "green", "blue")
    return [
        Row(
            captioned(Picture(data=png(colours[i % 3])), f"Picture {i}.", f"toys/{i}"),
            "toys",
            "CC0-1.0",
            {"language": "en", "score": i / 2, "count": i},
        )
        for i in range(count)
    ]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "a.parquet", rows(70), COLUMNS)
    two = write_shard(tmp_path / "b.parquet", iter(rows(70)), COLUMNS)
    assert one.sha256 == two.sha256 == sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()
    assert one.bytes == (tmp_path / "a.parquet").stat().st_size
    other = write_shard(tmp_path / "c.parquet", rows(69), COLUMNS)
    assert other.sha256 != one.sha256


def test_every_picture_has_its_checksum_and_every_row_its_origin(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", rows(5), COLUMNS)
    for i, row in enumerate(pq.read_table(tmp_path / "a.parquet").to_pylist()):
        assert row["sha256"] == [sha256(row["images"][0]["bytes"]).hexdigest()]
        assert (row["key"], row["source"], row["licence"]) == (f"toys/{i}", "toys", "CC0-1.0")
        assert (row["language"], row["score"], row["count"], row["print"]) == ("en", i / 2, i, None)


def test_a_shard_is_a_training_source(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", rows(5), COLUMNS)
    (sample,) = parquet(tmp_path / "a.parquet")[3]
    assert sample.messages[1].parts[0].text == "Picture 3."
    assert sample.messages[0].parts[0].read() == png("red")


def test_an_undeclared_fact_is_a_fault_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="colour"):
        write_shard(tmp_path / "a.parquet", [Row(rows(1)[0].sample, facts={"colour": 1})], COLUMNS)
    with pytest.raises(ValueError, match="own"):
        write_shard(tmp_path / "a.parquet", rows(1), {"key": str})
    assert not list(tmp_path.iterdir())


def test_the_index_names_its_shards_and_is_their_hash(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished shards"):
        read_index(tmp_path)
    shards = [write_shard(tmp_path / f"{n}.parquet", rows(n + 1), COLUMNS) for n in range(3)]
    told = write_index(tmp_path, shards, {"seed": 3})
    assert read_index(tmp_path) == tuple(shards)
    assert manifest_hash(tmp_path) == told == write_index(tmp_path, shards, {"seed": 3})
    assert json.loads((tmp_path / INDEX).read_text())["rows"] == 6
    assert write_index(tmp_path, shards[:2], {"seed": 3}) != told


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": "chiasm shards 1"}', '{"format": "2"}'])
def test_a_damaged_index_is_one_sentence(tmp_path: Path, damage: str) -> None:
    (tmp_path / INDEX).write_text(damage)
    with pytest.raises(UserError):
        read_index(tmp_path)


def test_a_whole_folder_is_read_by_others_at_once(tmp_path: Path) -> None:
    """pandas, DuckDB and datasets read folders through Arrow's rule: names with _ in front are no data."""
    shards = [write_shard(tmp_path / f"{n}.parquet", rows(n + 1), COLUMNS) for n in range(3)]
    write_index(tmp_path, shards, {})
    assert pq.read_table(tmp_path).num_rows == 6
