"""Files of unfinished work: a table and what is said of it, each whole or absent, checked when read again.

    00000.parquet   rows of a piece: kept ones with all that is known, dropped ones with their reason
    00000.json      its SHA-256, the types of its facts, counts          ◄── written last

A piece whose two files agree is finished, and never done again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.base.files import sha256_file, write_atomic
from chiasm.data.curation.step import Fact
from chiasm.data.shards import TYPES

RECORD = {
    "position": pa.int64(),
    "key": pa.string(),
    "caption": pa.string(),
    "source": pa.string(),
    "licence": pa.string(),
    "sha256": pa.string(),
    "came": pa.string(),
    "concept": pa.string(),
    "notes": pa.string(),
    "step": pa.string(),
    "reason": pa.string(),
    "note": pa.string(),
    "changed": pa.binary(),
}
"""Columns of a work file beside the facts. `came` is the SHA-256 of the pair as the source gave it;
`reason` is empty for what is kept; `changed` is the picture where a step changed it, encoded."""
RESERVED = {*RECORD, "messages", "images", "videos"}
"""Names that no fact may have."""

Types = Mapping[str, type]
_NAMES = {"str": str, "int": int, "float": float, "bytes": bytes}


def fact(name: str, value: Any) -> Fact:
    """Return a fact as a plain value; raises ValueError for what a column cannot hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bytes | float):
        return value
    if isinstance(value, int):
        return int(value)  # true is 1
    raise ValueError(f"the fact {name!r} is a {type(value).__name__}")


def types_of(rows: Sequence[Mapping[str, Fact]]) -> dict[str, type]:
    """Return the type of each fact that some row has; raises ValueError where rows disagree."""
    found: dict[str, type] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                found[name] = joined(name, found.get(name), type(value))
    return dict(sorted(found.items()))


def joined(name: str, one: type | None, other: type) -> type:
    """Return the type that holds values of both; raises ValueError when there is none."""
    if one is None or one is other:
        return other
    if {one, other} == {int, float}:
        return float
    raise ValueError(f"the fact {name!r} is once a {one.__name__}, once a {other.__name__}")


def join(many: Sequence[Types]) -> dict[str, type]:
    """Return the types of all facts of several files, by name."""
    found: dict[str, type] = {}
    for types in many:
        for name, kind in types.items():
            found[name] = joined(name, found.get(name), kind)
    return dict(sorted(found.items()))


def save(path: Path, table: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """Write a table and what is said of it, and return the latter with the file's SHA-256."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    data = buffer.getvalue()
    said = {**told, "rows": table.num_rows, "sha256": sha256(data).hexdigest()}
    write_atomic(path, data)
    write_atomic(path.with_suffix(".json"), json.dumps(said, indent=1, sort_keys=True) + "\n")
    return said


def finished(path: Path) -> dict[str, Any] | None:
    """Return what is said of a finished piece; None when it is absent, torn or changed."""
    try:
        said = json.loads(path.with_suffix(".json").read_text("utf-8"))
        whole = isinstance(said, dict) and said["sha256"] == sha256_file(path)
    except (OSError, ValueError, KeyError):
        return None
    return said if whole else None


def read(path: Path, columns: Sequence[str] | None = None) -> Any:
    """Return the table of a finished piece, or some of its columns."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            held = opened.schema_arrow.names
            wanted = held if columns is None else [name for name in columns if name in held]
            return opened.read(columns=wanted, use_threads=False)
    except (OSError, pa.ArrowException):
        raise UserError(f"{path} is damaged: delete it and repeat the command.") from None


def table_of(rows: Sequence[Mapping[str, Any]], types: Types) -> Any:
    """Return rows of RECORD's columns and of facts as a table."""
    schema = {**RECORD, **{name: TYPES[kind] for name, kind in types.items()}}
    return pa.Table.from_pylist([dict(row) for row in rows], pa.schema(schema))


def spelled(types: Types) -> dict[str, str]:
    """Return types by their names, as JSON holds them."""
    return {name: kind.__name__ for name, kind in types.items()}


def types_in(said: Mapping[str, Any]) -> dict[str, type]:
    """Return the types that `spelled` wrote under "facts"."""
    return {name: _NAMES[kind] for name, kind in said.get("facts", {}).items()}
