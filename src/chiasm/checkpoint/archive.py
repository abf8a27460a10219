"""The directory of a zip file as torch writes them: where each entry's bytes stand, or a refusal.

Nothing is unpacked: entries must be stored as they are, so a small file cannot become a large one.
Importing this imports nothing of ours; it runs in a child process (pth_index.py).
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

ENTRIES = 400_000
"""Most entries of a file; Llama 3.2 90B has some 2,000 in each."""
DIRECTORY_BYTES = 64 << 20
"""Largest directory."""

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class Place(NamedTuple):
    """Where an entry's bytes stand in the file."""

    start: int
    length: int


def directory(fd: int, size: int) -> dict[str, Place]:
    """Return name -> place of all entries of an open file of `size` bytes; ValueError for damage.

    Refuses compression, encryption, comments, names that stand twice and entries that overlap.
    """
    start, length, count = _find_directory(fd, size)
    data = _read(fd, start, length)
    heads: dict[str, tuple[int, int]] = {}
    at = 0
    for _ in range(count):
        name, offset, bytes_, at = _entry(data, at)
        if name in heads:
            raise ValueError(f"entry {name!r} stands twice")
        heads[name] = (offset, bytes_)
    if at != len(data):
        raise ValueError("its directory is longer than its entries")
    return _places(fd, heads, start)


def _read(fd: int, start: int, length: int) -> bytes:
    data = os.pread(fd, length, start)
    if len(data) != length:
        raise ValueError("it ends too early")
    return data


def _find_directory(fd: int, size: int) -> tuple[int, int, int]:
    """Return where the directory starts, its length and its number of entries."""
    if size < _END.size or _read(fd, 0, 2) != b"PK":
        raise ValueError(
            "it is no zip file (torch before 1.6 wrote another format: load the file there and "
            "save it again)"
        )
    mark, disk, first, here, count, length, start, comment = _END.unpack(
        _read(fd, size - _END.size, _END.size)
    )
    if mark != b"PK\5\6" or disk or first or comment or here != count:
        raise ValueError("it does not end as a torch file does; it may be cut")
    end = size - _END.size
    if size >= _END.size + _LOCATOR.size:
        locator = _LOCATOR.unpack(_read(fd, end - _LOCATOR.size, _LOCATOR.size))
        if locator[0] == b"PK\6\7":
            end = locator[2]
            if end > size - _END64.size:
                raise ValueError("its directory lies outside the file")
            whole = _END64.unpack(_read(fd, end, _END64.size))
            if whole[0] != b"PK\6\6" or whole[6] != whole[7]:
                raise ValueError("its directory is damaged")
            count, length, start = whole[7:10]
    if count > ENTRIES or length > DIRECTORY_BYTES:
        raise ValueError(f"it claims {count:,} entries in {length:,} bytes, over the limits")
    if start + length > end:
        raise ValueError("its directory lies outside the file")
    return start, length, count


def _entry(data: bytes, at: int) -> tuple[str, int, int, int]:
    """Return an entry's name, where its head stands, its bytes, and where the next entry begins."""
    if at + _ENTRY.size > len(data):
        raise ValueError("its directory is cut")
    mark, _, _, flags, method, _, _, _, packed, length, *rest = _ENTRY.unpack_from(data, at)
    name_bytes, extra_bytes, comment, _, _, _, offset = rest
    at += _ENTRY.size
    following = at + name_bytes + extra_bytes + comment
    if mark != b"PK\1\2" or following > len(data):
        raise ValueError("its directory is damaged")
    name = data[at : at + name_bytes].decode()
    if flags & 1 or method or comment:
        raise ValueError(f"entry {name!r} is compressed or encrypted, which torch never does")
    extra = data[at + name_bytes : at + name_bytes + extra_bytes]
    large = _large(extra) if _FULL32 in (packed, length, offset) else []
    values = []
    for value in (length, packed, offset):
        if value == _FULL32:
            if not large:
                raise ValueError(f"entry {name!r} does not say its size")
            value = large.pop(0)
        values.append(value)
    if values[0] != values[1]:
        raise ValueError(f"entry {name!r} is compressed or encrypted, which torch never does")
    return name, values[2], values[0], following


def _large(extra: bytes) -> list[int]:
    """Return the 64-bit numbers of a zip64 field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1 and length % 8 == 0 and at + 4 + length <= len(extra):
            return list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return []


def _places(fd: int, heads: dict[str, tuple[int, int]], limit: int) -> dict[str, Place]:
    places = {}
    free, last = 0, ""
    for name, (offset, length) in sorted(heads.items(), key=lambda item: item[1][0]):
        if offset < free:
            raise ValueError(f"entries {last!r} and {name!r} overlap")
        if offset + _LOCAL.size > limit:
            raise ValueError(f"entry {name!r} lies outside the file")
        mark, *_, name_bytes, extra_bytes = _LOCAL.unpack(_read(fd, offset, _LOCAL.size))
        start = offset + _LOCAL.size + name_bytes + extra_bytes
        if mark != b"PK\3\4" or start + length > limit:
            raise ValueError(f"entry {name!r} lies outside the file")
        if _read(fd, offset + _LOCAL.size, name_bytes) != name.encode():
            raise ValueError(f"entry {name!r} has another name where it stands")
        places[name] = Place(start, length)
        free, last = start + length, name
    return places
