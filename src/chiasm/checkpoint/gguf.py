"""GGUF files: a bounded reader that believes no number in the file before it has checked it."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chiasm.checkpoint.quants import KINDS, Kind
from chiasm.checkpoint.weights import CheckpointError, Spec, StoredTensors

ENTRIES = 1 << 16
"""Most metadata entries, and most tensors, of a file."""
KEY_BYTES = (1 << 16) - 1
"""Longest name; the format's own limit."""
STRING_BYTES = 1 << 24
"""Longest string; chat templates are the longest honest ones, some 10 kB."""
STRINGS = 1 << 20
"""Most strings in all arrays of a file; the largest vocabularies and merges have 0.8 million."""
DIMENSIONS = 4
"""Most dimensions of a tensor; the format's own limit."""
ALIGNMENT = 1 << 16
"""Largest alignment of tensor data, in bytes."""

NUMBERS = {
    0: "B",
    1: "b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    10: "<Q",
    11: "<q",
    12: "<d",
}
BOOL, STRING, ARRAY = 7, 8, 9


class Entry(NamedTuple):
    """A metadata entry."""

    value: Any
    type: tuple[int, ...]
    """GGUF's number of its type; of an array, followed by that of what it holds."""


@dataclass(frozen=True)
class Stored:
    """One tensor's place in the file."""

    shape: tuple[int, ...]
    kind: Kind
    offset: int
    """From the beginning of the file, in bytes."""
    bytes: int


class Gguf(StoredTensors):
    """Metadata and tensors of a GGUF file; a tensor is dequantised when it is asked for."""

    def __init__(
        self, path: Path, data: mmap.mmap, metadata: dict[str, Entry], stored: dict[str, Stored]
    ) -> None:
        self.path = path
        self.metadata = {key: entry.value for key, entry in metadata.items()}
        self.types = {key: entry.type for key, entry in metadata.items()}
        self.stored = stored
        self._data = data

    def __getitem__(self, name: str) -> Tensor:
        """Return [out, in] float32 values (GGUF lists dimensions in the reverse order of torch)."""
        place = self.stored[name]
        raw = self.raw(name)
        with np.errstate(
            all="ignore"
        ):  # what a damaged scale makes of its block is caught in the next line
            values = place.kind.floats(raw).reshape(place.shape)
        if not np.isfinite(values).all():
            raise CheckpointError(
                f'tensor "{name}" of {self.path} holds values that are not numbers; '
                "download the file again."
            )
        return torch.from_numpy(values)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return a tensor's bytes as they stand in the file, mapped to it."""
        place = self.stored[name]
        return np.frombuffer(self._data, np.uint8, place.bytes, place.offset)

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        return Spec(torch.float32, self.stored[name].shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def origin(self, name: str) -> str:
        """Return "file:name (kind)" of a tensor, for messages and records."""
        return f"{self.path.name}:{name} ({self.stored[name].kind.name})"


class _Cursor:
    """A place in the file that only moves forward, and never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0
        self.strings = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError(f"it ends in the middle of something, at byte {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self, limit: int) -> str:
        length = self.number("<Q")
        if length > limit:
            raise ValueError(
                f"a string of {length:,} bytes at byte {self.at} is over the limit of {limit:,}"
            )
        return self.take(length).decode()

    def entry(self) -> Entry:
        kind = self.number("<I")
        if kind == ARRAY:
            inner = self.number("<I")
            return Entry(self._array(inner, self.number("<Q")), (kind, inner))
        return Entry(self._value(kind), (kind,))

    def _value(self, kind: int) -> Any:
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == BOOL:
            return self._bool(self.number("B"))
        if kind == STRING:
            return self.string(STRING_BYTES)
        raise ValueError(f"metadata of unknown type {kind} at byte {self.at}")

    def _bool(self, byte: int) -> bool:
        if byte > 1:
            raise ValueError(f"a truth value of {byte} at byte {self.at}")
        return bool(byte)

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind in NUMBERS:
            form = np.dtype(NUMBERS[kind])
            return np.frombuffer(self.take(count * form.itemsize), form).tolist()
        if kind == BOOL:
            return [self._bool(byte) for byte in self.take(count)]
        if kind != STRING:
            raise ValueError(
                f"an array of type {kind} at byte {self.at}, which this reader does not take"
            )
        self.strings += count
        if self.strings > STRINGS:
            raise ValueError(f"more than {STRINGS:,} strings")
        return [self.string(STRING_BYTES) for _ in range(count)]


def read_gguf(path: Path | str) -> Gguf:
    """Open a GGUF file of version 2 or 3, little-endian; any damage is a CheckpointError.

    Sizes are checked against the file before anything is allocated. Source: the GGUF specification
    (ggml, docs/gguf.md).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None
    try:
        cursor = _Cursor(data)
        metadata, count = _read_head(cursor)
        alignment = metadata.get("general.alignment", Entry(32, (4,))).value
        stored = _read_places(cursor, count, alignment)
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise CheckpointError(f"{path} is not a sound GGUF file: {error}.") from None
    return Gguf(path, data, metadata, stored)


def _read_head(cursor: _Cursor) -> tuple[dict[str, Entry], int]:
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, tensors, entries = (cursor.number(form) for form in ("<I", "<Q", "<Q"))
    if version not in (2, 3):
        raise ValueError(f"its version is {version}; versions 2 and 3 (little-endian) can be read")
    if max(tensors, entries) > ENTRIES:
        raise ValueError(
            f"it claims {tensors:,} tensors and {entries:,} metadata entries; "
            f"{ENTRIES:,} is the limit"
        )
    metadata: dict[str, Entry] = {}
    for _ in range(entries):
        key = cursor.string(KEY_BYTES)
        if key in metadata:
            raise ValueError(f'metadata "{key}" stands twice')
        metadata[key] = cursor.entry()
    return metadata, tensors


def _read_places(cursor: _Cursor, count: int, alignment: Any) -> dict[str, Stored]:
    if type(alignment) is not int or alignment not in (
        1 << power for power in range(3, ALIGNMENT.bit_length())
    ):
        raise ValueError(
            f"an alignment of {alignment!r} is not a power of two from 8 to {ALIGNMENT:,}"
        )
    places: dict[str, tuple[tuple[int, ...], Kind, int]] = {}
    for _ in range(count):
        name = cursor.string(KEY_BYTES)
        if name in places:
            raise ValueError(f'tensor "{name}" stands twice')
        dimensions = cursor.number("<I")
        if not 1 <= dimensions <= DIMENSIONS:
            raise ValueError(f'tensor "{name}" has {dimensions:,} dimensions')
        shape = tuple(cursor.number("<Q") for _ in range(dimensions))[::-1]
        kind, offset = cursor.number("<I"), cursor.number("<Q")
        if kind not in KINDS:
            raise ValueError(f'tensor "{name}" has type {kind}, which this reader does not know')
        places[name] = (shape, KINDS[kind], offset)
    start = -(-cursor.at // alignment) * alignment
    stored = {
        name: _placed(name, *place, start, len(cursor.data), alignment)
        for name, place in places.items()
    }
    end, last = 0, ""
    for name, place in sorted(stored.items(), key=lambda item: item[1].offset):
        if place.offset < end:
            raise ValueError(f'tensors "{last}" and "{name}" overlap')
        end, last = place.offset + place.bytes, name
    return stored


def _placed(
    name: str,
    shape: tuple[int, ...],
    kind: Kind,
    offset: int,
    start: int,
    size: int,
    alignment: int,
) -> Stored:
    count = prod(shape)  # Python's integers do not wrap
    if min(shape) == 0 or shape[-1] % kind.block:
        raise ValueError(f'tensor "{name}" of shape {list(shape)} cannot be stored as {kind.name}')
    length = count // kind.block * kind.bytes
    if offset % alignment or start + offset + length > size:
        raise ValueError(f'tensor "{name}" of shape {list(shape)} does not lie within the file')
    return Stored(shape, kind, start + offset, length)
