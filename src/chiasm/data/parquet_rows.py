"""Rows of Parquet files: any row at once, every damaged one by its reason.

    file ── footer ──► row groups ── row(i) ──► group ──► kept in memory, up to `memory` bytes
                                                   └────► or mapped from `cache`, uncompressed

Rows that an index promises and that a file has not are refused one by one: none moves into another's place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.base.files import make_folders, write_atomic
from chiasm.data.rows import BadSample

MEMORY = 256 << 20
"""Bytes of row groups that are kept."""
_MAPPED = 1 << 40
"""Bytes of mapped row groups that are kept open: they are the system's to drop."""


@dataclass(frozen=True)
class File:
    """A Parquet file, and its metadata, which reading would otherwise parse again for every group."""

    path: Path
    metadata: Any
    """None when the file has none that can be read."""
    identity: str
    """Changes when the file's content does."""
    expected: int | None = None
    """How many rows an index says it has; None without one."""


@dataclass(frozen=True)
class _Group:
    """Rows that are read together, or that are lost together."""

    file: int
    number: int
    """Row group within the file; -1 for rows that should be there and are not."""
    first: int
    """Its first row within the file."""


class ParquetRows:
    """Rows of Parquet files, a row group read when one of its rows is asked for; thread-safe.

    wanted  names the columns to read, of a file's Arrow schema
    cache   a folder for uncompressed copies, from which any row is read at once; None keeps `memory` bytes
    """

    def __init__(
        self,
        name: str,
        files: Sequence[File],
        wanted: Callable[[Any], list[str]],
        cache: Path | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.name, self.files, self.wanted = name, tuple(files), wanted
        self.cache, self.memory = cache, memory
        self.groups: list[_Group] = []
        self.starts = [0]
        """The first row of each group, and behind them the count of all rows."""
        for number, file in enumerate(self.files):
            for group, rows in _groups(number, file):
                self.groups.append(group)
                self.starts.append(self.starts[-1] + rows)
        self.reads = 0
        """How many row groups were read from Parquet files."""
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return ParquetRows, (self.name, self.files, self.wanted, self.cache, self.memory)

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, index: int) -> tuple[dict[str, Any], Path, int]:
        """Return a row's values, its file and its number there; raises BadSample when damaged or lost."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        # Empty groups share their start with the next one: the last of equals has the rows.
        number = bisect_right(self.starts, index) - 1
        group = self.groups[number]
        path, place = self.files[group.file].path, group.first + index - self.starts[number]
        where = f"{path}, row {place}"
        if group.number < 0:
            raise BadSample("shard_truncated", where, _lost(path))
        try:
            table = self._table(number)
            row = table.slice(index - self.starts[number], 1).to_pylist()[0]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            detail = f"row group {group.number} is damaged ({first_line(error)})"
            raise BadSample("damaged_file", where, detail) from None
        return row, path, place

    def _table(self, number: int) -> Any:
        """The rows of a group, from memory, from the cache, or from their file."""
        most = self.memory if self.cache is None else _MAPPED
        with self._lock:
            if (table := self._held.pop(number, None)) is None:
                table = self._read(number) if self.cache is None else self._mapped(number)
                self._bytes += table.nbytes
            self._held[number] = table
            # The last one stays, however large: its next row is probably asked for next.
            while self._bytes > most and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return table

    def _read(self, number: int) -> Any:
        group = self.groups[number]
        file = self.files[group.file]
        self.reads += 1
        with pq.ParquetFile(
            file.path, metadata=file.metadata, page_checksum_verification=True
        ) as opened:
            columns = self.wanted(opened.schema_arrow)
            table = opened.read_row_group(group.number, columns=columns, use_threads=False)
        if table.num_rows != (rows := file.metadata.row_group(group.number).num_rows):
            raise pa.ArrowInvalid(f"it has {table.num_rows} rows where the footer says {rows}")
        table.validate(full=True)
        return table

    def _mapped(self, number: int) -> Any:
        """A group mapped from its uncompressed copy in the cache, which is made when it is missing."""
        group = self.groups[number]
        assert self.cache is not None
        path = self.cache / self.files[group.file].identity / f"{group.number}.arrow"
        if (table := _map(path)) is None:
            table = self._read(number)
            buffer = pa.BufferOutputStream()
            with pa.ipc.new_file(buffer, table.schema) as writer:
                writer.write_table(table)
            make_folders(path.parent)
            write_atomic(path, memoryview(buffer.getvalue()))
            table = _map(path) or table
        return table


def open_rows(
    paths: Sequence[Path], wanted: Callable[[Any], list[str]], cache: Path | None = None
) -> ParquetRows:
    """Read the footers of files; raises UserError when one of them is no sound Parquet file."""
    name = paths[0].stem if len(paths) == 1 else paths[0].parent.resolve().name
    files = [File(path, read_metadata(path), _identity(path)) for path in paths]
    return ParquetRows(name, files, wanted, cache)


def read_metadata(path: Path) -> Any:
    """Return what a file's footer says; raises UserError when that cannot be true."""
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


def _groups(number: int, file: File) -> Iterator[tuple[_Group, int]]:
    """The row groups of a file with their rows, and last what the index expects beyond them."""
    first = 0
    for group in range(0 if file.metadata is None else file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if file.expected is not None:
            rows = min(rows, file.expected - first)  # never more than were written
        yield _Group(number, group, first), rows
        first += rows
    if file.expected is not None and first < file.expected:
        yield _Group(number, -1, first), file.expected - first


def _lost(path: Path) -> str:
    if not path.exists():
        return "the file is missing, and the index says what it held"
    return "the index says that more rows were written than the file still has"


def _map(path: Path) -> Any | None:
    """The table of a cached group; None when there is none, or it is no Arrow file any more."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate()
    except (pa.ArrowException, OSError):
        return None
    return table


def _identity(path: Path) -> str:
    status = path.stat()
    told = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return sha256(told.encode(errors="surrogateescape")).hexdigest()
