"""Samples out of Parquet files: shards of ours, and files of anybody who writes {messages, images}.

    folder with _index.json ─┐
    file, folder, pattern ───┴─► ParquetRows ── [i] ──► Record, or BadSample

With an index the count of records is what was written, whatever became of the files. Pictures whose
SHA-256 was written are checked.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.parquet import SCHEMA
from chiasm.data.parquet_rows import File, ParquetRows, open_rows, read_metadata
from chiasm.data.rows import BadSample, from_messages
from chiasm.data.shards import INDEX, Shard, read_index
from chiasm.inputs.message import Picture, Record, Sample, Video


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
        key = row.get("key") or f"{self.name}/{index}"
        where = f"{path}, row {number}"
        sample = from_messages(row, path.parent, key, where)
        if row.get("sha256") is not None:
            _verify(sample, row, where)
        return (sample,)


def _verify(sample: Sample, row: Mapping[str, Any], where: str) -> None:
    """Refuse a sample of which a file is not the one that was written."""
    shown = [part for message in sample.messages for part in message.parts]
    files = [p for p in shown if isinstance(p, Picture)]
    files += [p.source for p in shown if isinstance(p, Video) and isinstance(p.source, Picture)]
    if [file.key for file in files] != row["sha256"]:  # the key is the SHA-256 of the bytes, kept
        raise BadSample("wrong_checksum", where)


def parquet(pattern: str | Path, cache: Path | None = None, part: str = "") -> ParquetSource:
    """Open Parquet files: one file, a folder of .parquet files, or a pattern ("data/*.parquet").

    Only the files' footers are read here. A folder with an index holds what its index says, or of it one
    subfolder, `part` ("train"). `cache` is a folder for uncompressed copies, from which any row is read at
    once: for sets larger than memory. Raises UserError when a file is no Parquet file or has no column
    `messages`.
    """
    if (Path(pattern) / INDEX).is_file():
        rows = _indexed(Path(pattern), cache, part)
    else:
        rows = open_rows(_matching(pattern), _of_samples, cache)
        for file in rows.files:
            _check(file)
    if not len(rows):
        raise UserError(f"{pattern} holds no row.")
    return ParquetSource(rows)


def _check(file: File) -> None:
    if "messages" not in (names := file.metadata.schema.to_arrow_schema().names):
        raise UserError(
            f"{file.path} has no column `messages`; its columns are {', '.join(names)}. A sample is a "
            "row with `messages` (list of role, content) and `images` (list of bytes, path)."
        )


def _of_samples(schema: Any) -> list[str]:
    return [name for name in (*SCHEMA.names, "key", "sha256") if name in schema.names]


def _indexed(folder: Path, cache: Path | None, part: str) -> ParquetRows:
    inside = f"{part}/" if part else ""
    shards = [shard for shard in read_index(folder) if shard.file.startswith(inside)]
    files = [_shard(folder / shard.file, shard) for shard in shards]
    return ParquetRows(folder.resolve().name, files, _of_samples, cache)


def _shard(path: Path, shard: Shard) -> File:
    """A file that an index names; of one that cannot be opened every row is refused, and counted."""
    try:
        file = File(path, read_metadata(path), shard.sha256, shard.rows)
        _check(file)
    except UserError:
        return File(path, None, shard.sha256, shard.rows)
    return file


def _matching(pattern: str | Path) -> list[Path]:
    if Path(pattern).is_file():
        return [Path(pattern)]
    wanted = str(Path(pattern) / "*.parquet") if Path(pattern).is_dir() else str(pattern)
    if paths := sorted(Path(path) for path in glob.glob(wanted, recursive=True)):
        return paths
    raise UserError(f"No Parquet file matches {pattern}; check the path of the data.")
