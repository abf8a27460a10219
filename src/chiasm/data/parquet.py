"""Samples in Parquet files: rows {messages, images, videos} that pandas or DuckDB read as they are.

    messages  list of {role, content: list of {type, text}}   a part {type: "image"} stands for
    images    list of {bytes, path}                       ◄── the next one of the images,
    videos    list of {bytes, path}                           {type: "video"} for that of the videos

A row is one record. Written in small row groups, because they are what reading one row costs
(parquet_source.py).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.files import write_atomic
from chiasm.data.rows import to_row
from chiasm.inputs.message import Sample

SCHEMA = pa.schema(
    {
        "messages": pa.list_(
            pa.struct(
                {
                    "role": pa.string(),
                    "content": pa.list_(pa.struct({"type": pa.string(), "text": pa.string()})),
                }
            )
        ),
        "images": pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "videos": pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()})),
    }
)
SHOWN = ("images", "videos")
GROUP_ROWS, GROUP_BYTES = 64, 8 << 20
"""A row group ends after so many rows or so many bytes of files: what reading one row costs."""


def write_parquet(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples, pictures included, into one file that is whole or absent; returns how many.

    The file is built in memory: give a large set in several files. Raises MediaError for a picture
    that cannot be read, and then writes nothing.
    """
    written, data = encoded(map(to_row, samples), SCHEMA)
    write_atomic(Path(path), data)
    return written


def encoded(rows: Iterable[dict[str, Any]], schema: Any) -> tuple[int, memoryview]:
    """Return how many rows there were, and the Parquet file of them: small row groups, checksums."""
    written, buffer = 0, io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema), row_group_size=len(group))
            written += len(group)
    return written, buffer.getbuffer()


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(file["bytes"]) for name in SHOWN for file in row[name])
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
