"""Shards: Parquet files that other tools read as they are, with a checksum for every picture.

    folder/
      00000.parquet …   messages, images, videos │ key, source, licence, sha256 │ facts of the maker
      _plan.json        what is being made: written first, compared when the command is repeated
      _index.json       every shard's rows, bytes and SHA-256; its own SHA-256 is the manifest hash

A shard is written whole or not at all; the same rows give the same bytes. The index is written last:
a folder without one is unfinished.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic
from chiasm.data.parquet import SCHEMA, SHOWN, encoded
from chiasm.data.rows import to_row
from chiasm.inputs.message import Sample

INDEX = "_index.json"
PLAN = "_plan.json"
FORMAT = "chiasm shards 1"

Value: TypeAlias = str | int | float | bytes | None
TYPES: Mapping[type, Any] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.binary(),
}
"""Types that a column of facts may have."""

_OWN = {
    "key": pa.string(),
    "source": pa.string(),
    "licence": pa.string(),
    "sha256": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class Row:
    """One sample of a shard, with where it comes from and what is known about it."""

    sample: Sample
    source: str = ""
    licence: str = ""
    facts: Mapping[str, Value] = field(default_factory=dict)
    """Values of the columns that the maker of the shard declares; what is left out is null."""


@dataclass(frozen=True)
class Shard:
    """What the index says about one file."""

    file: str
    rows: int
    bytes: int
    sha256: str


def write_shard(path: Path, rows: Iterable[Row], columns: Mapping[str, type]) -> Shard:
    """Write rows into one file that is whole or absent; `columns` declares the facts and their types.

    Raises MediaError for a picture that cannot be read, ValueError for a fact that is not declared, and then
    writes nothing. Built in memory: some thousand pictures a shard.
    """
    count, data = encoded((_record(row, columns) for row in rows), schema(columns))
    write_atomic(Path(path), data)
    return Shard(Path(path).name, count, len(data), sha256(data).hexdigest())


def schema(columns: Mapping[str, type]) -> Any:
    """Return the Arrow schema of shards with these facts; `datasets` reads its pictures as pictures."""
    fields = {**{each.name: each.type for each in SCHEMA}, **_OWN}
    if taken := set(columns) & set(fields):
        raise ValueError(f"columns {sorted(taken)} are the shard's own")
    whole = pa.schema({**fields, **{name: TYPES[kind] for name, kind in columns.items()}})
    return whole.with_metadata(
        {"huggingface": json.dumps({"info": {"features": _features(whole)}})}
    )


def _features(whole: Any) -> dict[str, Any]:
    """What the library `datasets` calls the columns."""
    words = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64"}
    text = {"dtype": "string", "_type": "Value"}
    part = {"type": text, "text": text}
    known: dict[str, Any] = {
        "messages": {
            "feature": {"role": text, "content": {"feature": part, "_type": "List"}},
            "_type": "List",
        },
        "images": {"feature": {"_type": "Image"}, "_type": "List"},
        "videos": {
            "feature": {"bytes": {"dtype": "binary", "_type": "Value"}, "path": text},
            "_type": "List",
        },
        "sha256": {"feature": text, "_type": "List"},
    }
    return {
        each.name: known.get(each.name, {"dtype": words.get(each.type, "binary"), "_type": "Value"})
        for each in whole
    }


def _record(row: Row, columns: Mapping[str, type]) -> dict[str, Any]:
    if unknown := set(row.facts) - set(columns):
        raise ValueError(f"facts {sorted(unknown)} are not declared as columns")
    record = to_row(row.sample)
    sums = [sha256(file["bytes"]).hexdigest() for name in SHOWN for file in record[name]]
    own = {"key": row.sample.key, "source": row.source, "licence": row.licence, "sha256": sums}
    return {**record, **own, **{name: row.facts.get(name) for name in columns}}


def begin(folder: Path, made: Mapping[str, Any]) -> bool:
    """Write down what is being made in a folder, or compare; return whether it is finished already.

    `made` is that of `write_index`. Raises UserError where the folder holds something else.
    """
    plan = Path(folder) / PLAN
    try:
        known = json.loads(plan.read_text("utf-8"))
    except FileNotFoundError:
        if (folder / INDEX).exists() or any(folder.glob("*.parquet")):
            raise UserError(f"{folder} holds other shards; name a new folder.") from None
        write_atomic(plan, json.dumps(made, indent=1, sort_keys=True) + "\n")
        return False
    except ValueError:
        raise UserError(f"{plan} is damaged; delete {folder} and repeat the command.") from None
    if known != made:
        theirs = known if isinstance(known, dict) else {}
        names = [name for name in made if theirs.get(name) != made[name]]
        raise UserError(
            f"{folder} was begun with another {' and '.join(names) or 'command'}; name a new folder, or "
            "repeat the command with which it was begun."
        )
    return (folder / INDEX).exists() and bool(read_index(folder))


def write_index(folder: Path, shards: Sequence[Shard], made: Mapping[str, Any]) -> str:
    """Write the index of finished shards and return its SHA-256, the manifest hash.

    `made` says how they were made, in plain values: equal settings must give equal ones (no times, no
    paths of this machine).
    """
    record = {
        "format": FORMAT,
        "rows": sum(shard.rows for shard in shards),
        "made": dict(made),
        "shards": [asdict(shard) for shard in shards],
    }
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomic(Path(folder) / INDEX, text)
    return sha256(text.encode()).hexdigest()


def read_index(folder: Path) -> tuple[Shard, ...]:
    """Return the shards of a finished folder; raises UserError when there is no sound index."""
    path = Path(folder) / INDEX
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["format"] != FORMAT:
            raise UserError(
                f"{path} says {record['format']!r}, not {FORMAT!r}: made by another version."
            )
        return tuple(Shard(**shard) for shard in record["shards"])
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no finished shards ({INDEX} is missing): repeat the command that made it."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: repeat the command that made it.") from None


def manifest_hash(folder: Path) -> str:
    """Return the SHA-256 of a folder's index: equal folders have equal ones."""
    read_index(folder)
    return sha256((Path(folder) / INDEX).read_bytes()).hexdigest()
