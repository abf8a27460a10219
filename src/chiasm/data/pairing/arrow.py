"""Folders that `Dataset.save_to_disk` of the library datasets wrote, read without that library.

    state.json ── data-00000-of-00002.arrow ─┐   a stream of messages: schema, batch, batch, ... end
    dataset_info.json   (licence, counts)    ├──► places of the batches ──► one batch, when asked for
    dataset_dict.json   (names of splits)    ┘

Files are mapped into memory: a record costs the pages that it lies on. A stream has no checksums: a
batch is checked to be well formed before its first row is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import MOST_TEXT, Place, check_columns, key_of, pair_of_row
from chiasm.data.pairing.parts import joined, lost
from chiasm.data.pairing.tables import columns_of_pairs
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.parquet import first_line
from chiasm.data.rows import BadSample, decoded, parsed
from chiasm.inputs.media import MediaError, read_picture

_END = b"\xff\xff\xff\xff\0\0\0\0"
"""How a stream says that it is complete (Arrow's IPC format, "Streaming format")."""


@dataclass(frozen=True)
class ArrowFile:
    """The rows of one stream that are whole."""

    name: str
    path: Path
    label: str
    licence: str
    batches: tuple[int, ...]
    """Offset of each batch in the file."""
    starts: tuple[int, ...]
    """The first row of each batch, and behind them the count of all rows."""
    _batch: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_batch", lru_cache(maxsize=2)(self._read))

    def __reduce__(self) -> tuple[Any, ...]:
        known = (self.name, self.path, self.label, self.licence, self.batches, self.starts)
        return ArrowFile, known

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self.starts, index) - 1
        where = f"{self.path}, row {index}"
        try:
            row = self._batch(number).slice(index - self.starts[number], 1).to_pylist()[0]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            detail = f"batch {number} is damaged ({first_line(error)})"
            raise BadSample("damaged_file", where, detail) from None
        folder = self.path.parent
        place = Place(self.name, folder.resolve(), folder, where, self.licence)
        return pair_of_row(row, place, key_of(self.name, self.label, str(index)))

    def _read(self, number: int) -> Any:
        with pa.memory_map(str(self.path)) as file:
            schema = pa.ipc.read_schema(file)
            file.seek(self.batches[number])
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)
            batch = batch.select(columns_of_pairs(schema))
        batch.validate(full=True)
        return batch


def is_arrow(folder: Path) -> bool:
    """Whether a folder was written by save_to_disk."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def arrow(folder: Path) -> PairSource:
    """Open a folder of `save_to_disk`; raises UserError when it holds several splits."""
    if not (folder / "state.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not splits:
            raise UserError(f"{folder / 'dataset_dict.json'} names no split.")
        if len(splits) > 1:
            raise UserError(
                f"{folder} holds the splits {', '.join(map(str, splits))}: name one, as "
                f"{folder / str(splits[0])}."
            )
        folder = folder / str(splits[0])
    state, info = (_json(folder / name) for name in ("state.json", "dataset_info.json"))
    files = [_file_name(each) for each in state.get("_data_files") or ()]
    if not files or not all(files):
        raise UserError(f"{folder / 'state.json'} names no data files beside it.")
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder} was saved with a list of chosen rows beside its data, as old versions of datasets "
            "did: load and save it again with a new one."
        )
    name, licence = folder.resolve().name, info.get("license")
    parts: list[PairSource] = []
    for file in files:
        label = Path(file).stem if len(files) > 1 else ""
        parts += _opened(folder / file, name, label, licence if isinstance(licence, str) else "")
    return joined(name, parts)


def _file_name(listed: Any) -> str:
    name = listed.get("filename") if isinstance(listed, dict) else None
    return name if isinstance(name, str) and Path(name).name == name else ""


def _opened(path: Path, name: str, label: str, licence: str) -> list[PairSource]:
    """Find the batches of a stream; what follows damage is one record."""
    if not path.is_file():
        return [lost(name, path, "it is not there", 0, None)]
    offsets: list[int] = []
    counts: list[int] = []
    why = ""
    try:
        with pa.memory_map(str(path)) as file:
            schema = pa.ipc.read_schema(file)
            if "messages" not in schema.names:
                check_columns(path, schema.names)
            while (at := file.tell()) < file.size() and file.read(8) != _END:
                file.seek(at)
                counts.append(_rows(pa.ipc.read_message(file), schema))
                offsets.append(at)
            if (behind := file.size() - file.tell()) or at == file.size():
                why = (
                    f"{behind} bytes follow its end"
                    if behind
                    else "it ends without the mark of its end"
                )
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        why = f"it is cut off or damaged ({first_line(error)})"
    starts = tuple(accumulate(counts, initial=0))
    found = ArrowFile(name, path, label, licence, tuple(offsets), starts)
    if not why:
        return [found]
    return [found, lost(name, path, why, len(found), None)]


def _rows(message: Any, schema: Any) -> int:
    """Return how many rows a batch has, if that can be true."""
    if message.type != "record batch":
        raise pa.ArrowInvalid(f"a {message.type} where a batch of rows should be")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate()
    if batch.num_rows > max(message.body.size, 1):
        raise pa.ArrowInvalid(f"{batch.num_rows} rows in {message.body.size} bytes")
    return batch.num_rows


def _json(path: Path) -> Mapping[str, Any]:
    try:
        record = parsed(decoded(read_picture(path, MOST_TEXT), str(path)), str(path))
    except MediaError as error:
        raise UserError(f"{error}") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} must hold a JSON object.")
    return record
