"""Samples out of Parquet files: any row at once, every damaged one by its reason.

    file ── footer ──► row groups ── [row] ──► group ──► kept in memory up to MEMORY bytes
    index.json ──► how many rows there must be    └────► or mapped from `cache`, uncompressed

With an index the count of records is what was written, whatever became of the files: what is lost is
refused row by row, and no row moves into another's place. Pictures whose SHA-256 was written are checked.
"""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.base.files import make_folders, write_atomic
from chiasm.data.parquet import SCHEMA
from chiasm.data.rows import BadSample, from_messages
from chiasm.data.shards import INDEX, Shard, read_index
from chiasm.inputs.message import Picture, Record, Sample, Video

MEMORY = 256 << 20
"""Bytes of row groups that a source keeps."""
_MAPPED = 1 << 40
"""Bytes of mapped row groups that a source keeps open: they are the system's to drop."""
_COLUMNS = (*SCHEMA.names, "key", "sha256")


@dataclass(frozen=True)
class _File:
    """A Parquet file, and its metadata, which reading would otherwise parse again for every group."""

    path: Path
    metadata: Any
    """None when the file has none that can be read."""
    identity: str
    """Changes when the file's content does."""


@dataclass(frozen=True)
class _Group:
    """Rows that are read together, or that are lost together."""

    file: int
    number: int
    """Row group within the file; -1 for rows that should be there and are not."""
    first: int
    """Its first row within the file."""


class ParquetSource:
    """Rows of Parquet files as records of one sample each; thread-safe."""

    def __init__(
        self,
        name: str,
        files: Sequence[_File],
        expected: Sequence[int] | None = None,
        cache: Path | None = None,
        memory: int = MEMORY,
    ) -> None:
        """`expected` are the rows that each file must have, from an index."""
        self.name, self.files, self.cache = name, tuple(files), cache
        self.groups: list[_Group] = []
        self.starts = [0]
        """The first row of each group, and behind them the count of all rows."""
        for number, file in enumerate(self.files):
            for group, rows in _groups(number, file, expected[number] if expected else None):
                self.groups.append(group)
                self.starts.append(self.starts[-1] + rows)
        self.reads = 0
        """How many row groups were read from Parquet files."""
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._most = memory if cache is None else _MAPPED
        self._bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        # Empty groups share their start with the next one: the last of equals has the rows.
        number = bisect_right(self.starts, index) - 1
        group = self.groups[number]
        within = index - self.starts[number]
        path = self.files[group.file].path
        where = f"{path}, row {group.first + within}"
        if group.number < 0:
            raise BadSample("shard_truncated", where, _lost(self.files[group.file]))
        try:
            row = self._table(number).slice(within, 1).to_pylist()[0]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            detail = f"row group {group.number} is damaged ({_first_line(error)})"
            raise BadSample("damaged_file", where, detail) from None
        key = row.get("key") or f"{self.name}/{index}"
        sample = from_messages(row, path.parent, key, where)
        if row.get("sha256") is not None:
            _verify(sample, row, where)
        return (sample,)

    def _table(self, number: int) -> Any:
        """The rows of a group, from memory, from the cache, or from their file."""
        with self._lock:
            if (table := self._held.pop(number, None)) is None:
                table = self._read(number) if self.cache is None else self._mapped(number)
                self._bytes += table.nbytes
            self._held[number] = table
            # The last one stays, however large: its next row is probably asked for next.
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
        return table

    def _read(self, number: int) -> Any:
        group = self.groups[number]
        file = self.files[group.file]
        self.reads += 1
        with pq.ParquetFile(
            file.path, metadata=file.metadata, page_checksum_verification=True
        ) as opened:
            held = [name for name in _COLUMNS if name in opened.schema_arrow.names]
            return opened.read_row_group(group.number, columns=held, use_threads=False)

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


def _map(path: Path) -> Any | None:
    """The table of a cached group; None when there is none, or it is no Arrow file any more."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate()
    except (pa.ArrowException, OSError):
        return None
    return table


def _verify(sample: Sample, row: Mapping[str, Any], where: str) -> None:
    """Refuse a sample of which a file is not the one that was written."""
    shown = [part for message in sample.messages for part in message.parts]
    files = [p for p in shown if isinstance(p, Picture)]
    files += [p.source for p in shown if isinstance(p, Video) and isinstance(p.source, Picture)]
    if [file.key for file in files] != row["sha256"]:  # the key is the SHA-256 of the bytes, kept
        raise BadSample("checksum", where)


def parquet(pattern: str | Path, cache: Path | None = None) -> ParquetSource:
    """Open Parquet files: one file, a folder of .parquet files, or a pattern ("data/*.parquet").

    Only the files' footers are read here. A folder with an index holds what its index says. `cache` is a
    folder for uncompressed copies, from which any row is read at once: for sets larger than memory. Raises
    UserError when a file is no Parquet file or has no column `messages`.
    """
    if (Path(pattern) / INDEX).is_file():
        return _indexed(Path(pattern), cache)
    paths = _matching(pattern)
    source = ParquetSource(
        paths[0].stem if len(paths) == 1 else paths[0].parent.resolve().name,
        [_File(path, _metadata(path), _identity(path)) for path in paths],
        cache=cache,
    )
    if not len(source):
        raise UserError(f"{pattern} holds no row.")
    return source


def _indexed(folder: Path, cache: Path | None) -> ParquetSource:
    shards = read_index(folder)
    if not sum(shard.rows for shard in shards):
        raise UserError(f"{folder} holds no row.")
    files = [_shard(folder / shard.file, shard) for shard in shards]
    return ParquetSource(folder.resolve().name, files, [s.rows for s in shards], cache)


def _shard(path: Path, shard: Shard) -> _File:
    try:
        return _File(path, _metadata(path), shard.sha256)
    except UserError:
        return _File(path, None, shard.sha256)  # its rows are refused one by one, and counted


def _groups(number: int, file: _File, expected: int | None) -> Iterator[tuple[_Group, int]]:
    """The row groups of a file with their rows, and last what the index expects beyond them."""
    first = 0
    for group in range(0 if file.metadata is None else file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if expected is not None:
            rows = min(rows, expected - first)  # never more than were written
        yield _Group(number, group, first), rows
        first += rows
    if expected is not None and first < expected:
        yield _Group(number, -1, first), expected - first


def _lost(file: _File) -> str:
    if not file.path.exists():
        return "the file is missing, and the index says what it held"
    return "the index says that more rows were written than the file still has"


def _matching(pattern: str | Path) -> list[Path]:
    if Path(pattern).is_file():
        return [Path(pattern)]
    wanted = str(Path(pattern) / "*.parquet") if Path(pattern).is_dir() else str(pattern)
    if paths := sorted(Path(path) for path in glob.glob(wanted, recursive=True)):
        return paths
    raise UserError(f"No Parquet file matches {pattern}; check the path of the data.")


def _metadata(path: Path) -> Any:
    try:
        metadata = pq.read_metadata(path)
        names = metadata.schema.to_arrow_schema().names
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a Parquet file ({_first_line(error)})."
        ) from None
    if "messages" not in names:
        raise UserError(
            f"{path} has no column `messages`; its columns are {', '.join(names)}. A sample is a "
            "row with `messages` (list of role, content) and `images` (list of bytes, path)."
        )
    return metadata


def _identity(path: Path) -> str:
    status = path.stat()
    told = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return sha256(told.encode(errors="surrogateescape")).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
