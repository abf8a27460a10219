"""Parquet files as pairs: our own shards, and anybody's columns of pictures and captions.

    messages, images, key, source, licence, sha256   our shards, others of that layout
    image {bytes, path} | bytes | path, caption | text   Hugging Face's layout, and plain tables

A record costs its row group. What is damaged costs the rows of its group; a file whose footer is
damaged cannot be opened at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import (
    IMAGE_FIELDS,
    TEXT_FIELDS,
    Place,
    check_columns,
    key_of,
    pair_of_row,
)
from chiasm.data.pairing.parts import expected_rows, joined, lost
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.parquet import SCHEMA, ParquetRows, open_rows

_OF = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.parquet")
"""Names as `datasets` gives them: train-00000-of-00004.parquet."""


@dataclass(frozen=True)
class TableSource:
    """Rows of Parquet files as pairs."""

    name: str
    rows: ParquetRows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Pair:
        row, path, number = self.rows.row(index)
        label = path.stem if len(self.rows.files) > 1 else ""
        place = Place(self.name, path.parent.resolve(), path.parent, f"{path}, row {number}")
        return pair_of_row(row, place, key_of(self.name, label, str(number)))


def tables(paths: Sequence[Path], name: str, whole: bool = False) -> PairSource:
    """Open Parquet files in their order; rows that an index counts and a file lacks are one record.

    whole  the paths are all that there is: files that an index or the names of others
           ("train-00000-of-00004.parquet") promise, and that are not there, are a record each
    Raises UserError when a file is no sound Parquet file or lacks the columns of a pair.
    """
    rows = open_rows(paths, columns_of_pairs)
    schemas = [(path, metadata.schema.to_arrow_schema()) for path, metadata in rows.files]
    for path, schema in schemas:
        if "messages" not in schema.names:
            check_columns(path, schema.names)
        if columns_of_pairs(schema) != columns_of_pairs(schemas[0][1]):
            raise UserError(
                f"{path} has other columns ({', '.join(schema.names)[:300]}) than {schemas[0][0]}: it "
                "is damaged, or belongs to another set; name the files of one set."
            )
    held = {path: metadata.num_rows for path, metadata in rows.files}
    expected = expected_rows(paths)
    promised = {*expected, *(other for path in paths for other in _siblings(path))}
    parts: list[PairSource] = [TableSource(name, rows)]
    for path in sorted(promised if whole else held):
        if path not in held and path.suffix == ".parquet":
            parts.append(lost(name, path, "it is not there", 0, expected.get(path)))
        elif path in held and held[path] < expected.get(path, 0):
            parts.append(lost(name, path, "rows are missing", held[path], expected[path]))
    return joined(name, parts)


def columns_of_pairs(schema: Any) -> list[str]:
    """Name the columns that a pair is made of: no lists of numbers, which are embeddings."""
    known = (
        {*SCHEMA.names, "sha256"} if "messages" in schema.names else {*IMAGE_FIELDS, *TEXT_FIELDS}
    )
    return [each.name for each in schema if each.name in known or _plain(each.type)]


def _plain(kind: Any) -> bool:
    return not pa.types.is_nested(kind) and not pa.types.is_binary(kind)


def _siblings(path: Path) -> list[Path]:
    """Return all files that a name "train-00000-of-00004.parquet" says there are."""
    if not (found := _OF.fullmatch(path.name)) or int(found[3]) > 10_000:
        return []
    stem, _, count = found.groups()
    return [path.with_name(f"{stem}-{n:05}-of-{count}.parquet") for n in range(int(count))]
