"""Samples in Parquet files: rows {messages, images, videos} that pandas or DuckDB read as they are.

    messages  list of {role, content: list of {type, text}}   a part {type: "image"} stands for
    images    list of {bytes, path}                       ◄── the next one of the images,
    videos    list of {bytes, path}                           {type: "video"} for that of the videos

A row is one record. Rows are read in groups when one of them is asked for, so files should have
small row groups, as ours have.
"""

from __future__ import annotations

import glob
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic
from chiasm.data.rows import BadSample, from_messages, to_row
from chiasm.inputs.message import Record, Sample

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


@dataclass(frozen=True)
class ParquetRows:
    """Rows of Parquet files, a row group read when one of its rows is asked for."""

    name: str
    files: tuple[tuple[Path, Any], ...]
    """Each file with its metadata, which `read` would otherwise parse again for every group."""
    groups: tuple[tuple[int, int, int], ...]
    """(file, row group within it, first row of that file) of all row groups in order."""
    starts: tuple[int, ...]
    """The first row of each group, and behind them the count of all rows."""
    wanted: Callable[[Any], list[str]]
    """Names the columns to read, of a file's schema."""
    _table: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Two groups: neighbours in order of rows are read once, memory stays that of two groups.
        object.__setattr__(self, "_table", lru_cache(maxsize=2)(self._read))

    def __reduce__(self) -> tuple[Any, ...]:
        return ParquetRows, (self.name, self.files, self.groups, self.starts, self.wanted)

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, index: int) -> tuple[dict[str, Any], Path, int]:
        """Return a row's values, its file and its number there; raises BadSample when damaged."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        # Empty groups share their start with the next one: the last of equals has the rows.
        number = bisect_right(self.starts, index) - 1
        file, group, first = self.groups[number]
        path = self.files[file][0]
        try:
            table = self._table(number)
            row = table.slice(index - self.starts[number], 1).to_pylist()[0]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            detail = f"row group {group} is damaged ({first_line(error)})"
            raise BadSample("damaged_file", f"{path}, row {index - first}", detail) from None
        return row, path, index - first

    def _read(self, number: int) -> Any:
        file, group, _ = self.groups[number]
        path, metadata = self.files[file]
        with pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True) as opened:
            columns = self.wanted(opened.schema_arrow)
            table = opened.read_row_group(group, columns=columns, use_threads=False)
        if table.num_rows != (rows := metadata.row_group(group).num_rows):
            raise pa.ArrowInvalid(f"it has {table.num_rows} rows where the footer says {rows}")
        table.validate(full=True)
        return table


@dataclass(frozen=True)
class ParquetSource:
    """Rows of Parquet files as records of one sample each."""

    rows: ParquetRows

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.rows.name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row, path, number = self.rows.row(index)
        key = f"{self.name}/{index}"
        return (from_messages(row, path.parent, key, f"{path}, row {number}"),)


def parquet(pattern: str | Path) -> ParquetSource:
    """Open Parquet files: one file, a folder of .parquet files, or a pattern ("data/*.parquet").

    Only the files' footers are read here. Raises UserError when a file is no Parquet file or has no
    column `messages`.
    """
    rows = open_rows(_matching(pattern), _of_samples)
    if not len(rows):
        raise UserError(f"{pattern} holds no row.")
    for path, metadata in rows.files:
        if "messages" not in (names := metadata.schema.to_arrow_schema().names):
            raise UserError(
                f"{path} has no column `messages`; its columns are {', '.join(names)}. A sample is a "
                "row with `messages` (list of role, content) and `images` (list of bytes, path)."
            )
    return ParquetSource(rows)


def _of_samples(schema: Any) -> list[str]:
    return [name for name in SCHEMA.names if name in schema.names]


def open_rows(paths: Sequence[Path], wanted: Callable[[Any], list[str]]) -> ParquetRows:
    """Read the footers of files; raises UserError when one of them is no sound Parquet file."""
    files = tuple((path, _metadata(path)) for path in paths)
    groups, starts = [], [0]
    for number, (_, metadata) in enumerate(files):
        first = starts[-1]
        for group in range(metadata.num_row_groups):
            groups.append((number, group, first))
            starts.append(starts[-1] + metadata.row_group(group).num_rows)
    name = paths[0].stem if len(paths) == 1 else paths[0].parent.resolve().name
    return ParquetRows(name, files, tuple(groups), tuple(starts), wanted)


def _matching(pattern: str | Path) -> list[Path]:
    if Path(pattern).is_file():
        return [Path(pattern)]
    wanted = str(Path(pattern) / "*.parquet") if Path(pattern).is_dir() else str(pattern)
    if paths := sorted(Path(path) for path in glob.glob(wanted, recursive=True)):
        return paths
    raise UserError(f"No Parquet file matches {pattern}; check the path of the data.")


def _metadata(path: Path) -> Any:
    if not path.is_file():  # a pipe would wait for ever
        raise UserError(f"{path} is not a file; check the path of the data.")
    try:
        metadata = pq.read_metadata(path)
        metadata.schema.to_arrow_schema()
        counts = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a Parquet file ({first_line(error)}).") from None
    # A flipped bit in the footer, which has no checksum, can promise rows without end.
    if metadata.num_rows != sum(counts) or not all(0 <= n <= path.stat().st_size for n in counts):
        raise UserError(
            f"{path} is damaged: its footer promises {metadata.num_rows} rows, in row groups of "
            f"{counts}; fetch or write it again."
        )
    return metadata


def first_line(error: Exception) -> str:
    """Return what Arrow says about a file, without the lines about its own source code."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


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
