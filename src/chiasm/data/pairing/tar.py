"""What a tar archive holds and where, from its headers alone: nothing is read, nothing unpacked.

    header│data...│pax x│path=...│header│data│ zero block │ zero block
      └─► Member(name, at, size, kind)                      └─► sound end

Formats: v7, ustar, GNU and pax (POSIX.1-2017, "pax Interchange Format"). Zero blocks in the middle, as
`cat a.tar b.tar` leaves them, are passed over. Whatever does not fit together ends the archive there:
behind a damaged size nobody can say where the next header is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

BLOCK = 512
MOST_HEADER = 1 << 20
"""Bytes of a long name or of pax records."""

_KINDS = {
    **dict.fromkeys((b"0", b"\0", b"7"), "file"),
    **dict.fromkeys((b"1", b"2"), "link"),
    **dict.fromkeys((b"3", b"4"), "device"),
    b"5": "folder",
    b"6": "pipe",
    b"S": "file with holes",
}
_WITHOUT_DATA = ("link", "device", "folder", "pipe")


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive."""

    name: str
    at: int
    """Offset of its bytes."""
    size: int
    kind: str
    """The word "file", or what else it is, in words."""


@dataclass(slots=True)
class Archive:
    """What an archive holds."""

    members: list[Member] = field(default_factory=list)
    fault: str = ""
    """Why that may not be all; empty for a sound archive."""
    closed: bool = True
    """Whether zero blocks follow the last member, so that nothing of it can be missing."""


class Damaged(Exception):
    """Why an archive cannot be read further."""


def read_archive(path: Path) -> Archive:
    """Find the members of an archive; raises OSError when the file cannot be read."""
    found = Archive()
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        try:
            for member in _scan(file, size):
                found.closed = member is None
                if member is not None:
                    found.members.append(member)
        except Damaged as damage:
            found.fault = str(damage)
    return found


def _scan(file: BinaryIO, size: int) -> Iterator[Member | None]:
    """Give the members in their order, the last perhaps cut off, and None where zero blocks lie."""
    at = 0
    extended: dict[str, bytes] = {}  # of the next member
    everywhere: dict[str, bytes] = {}
    while True:
        block = _header(file, at)
        if not any(block):
            yield None
            if (at := _behind_zeros(file, at)) >= size:
                return
            block = _header(file, at)
        kind, length = block[156:157], _checked(block)
        start = at + BLOCK
        if kind in (b"L", b"K", b"x", b"X", b"g"):
            data = _whole(file, start, length, size)
            if kind == b"L":
                extended["path"] = data.rstrip(b"\0")
            elif kind == b"g":
                everywhere.update(_records(data))
            elif kind != b"K":
                extended.update(_records(data))
            at = start + _padded(length)
            continue
        if kind == b"S":
            start = _behind_map(file, block, start)
        member = _member(block, start, length, {**everywhere, **extended})
        extended = {}
        at = start + (0 if member.kind in _WITHOUT_DATA else _padded(member.size))
        yield member
        if at > size and start + member.size > size:
            raise Damaged(f"it ends within {member.name!r}")


def _header(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    block = file.read(BLOCK)
    if not block:
        raise Damaged("it ends without the mark of its end")
    if len(block) < BLOCK and any(block):
        raise Damaged("it ends within a header")
    return block


def _behind_zeros(file: BinaryIO, at: int) -> int:
    """Return the offset of the first block that is not zero, or that of the end."""
    file.seek(at)
    while piece := file.read(1 << 20):
        if rest := piece.lstrip(b"\0"):
            return (at + len(piece) - len(rest)) // BLOCK * BLOCK
        at += len(piece)
    return at


def _checked(block: bytes) -> int:
    """Return the size that a header states, if its checksum is right."""
    stated = _number(block[148:156])
    if stated != sum(block) - sum(block[148:156]) + 8 * 32:
        raise Damaged("a header is damaged")
    return _number(block[124:136])


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: base 256, for what octal digits cannot hold
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise Damaged("a header is damaged")
    return int(digits or b"0", 8)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _whole(file: BinaryIO, at: int, length: int, size: int) -> bytes:
    if length > MOST_HEADER or at + length > size:
        raise Damaged("it ends within a header" if at + length > size else "a header is too long")
    file.seek(at)
    return file.read(length)


def _records(data: bytes) -> dict[str, bytes]:
    """Read pax records: "LENGTH KEY=VALUE\\n", LENGTH being that of the whole record."""
    found, at = {}, 0
    while at < len(data) and data[at]:
        digits = data[at : at + 20].partition(b" ")[0]
        if not digits.isdigit():
            raise Damaged("a pax header is damaged")
        end = at + int(digits)
        key, equals, value = data[at + len(digits) + 1 : end].partition(b"=")
        if end <= at or end > len(data) or not equals or not value.endswith(b"\n"):
            raise Damaged("a pax header is damaged")
        found[key.decode("utf-8", "surrogateescape")] = value[:-1]
        at = end
    return found


def _behind_map(file: BinaryIO, block: bytes, at: int) -> int:
    """Pass over the blocks in which GNU tar goes on about where a sparse file's pieces lie."""
    more = block[482:483]
    while more not in (b"", b"\0"):
        more = _header(file, at)[504:505]
        at += BLOCK
    return at


def _member(block: bytes, start: int, length: int, extended: dict[str, bytes]) -> Member:
    kind = _KINDS.get(block[156:157], "entry of an unknown kind")
    if any(key.startswith("GNU.sparse.") for key in extended):
        kind = "file with holes"
    if "size" in extended:
        if not extended["size"].isdigit():
            raise Damaged("a pax header is damaged")
        length = int(extended["size"][:20])
    name = extended.get("GNU.sparse.name") or extended.get("path") or _name(block)
    if kind == "file" and name.endswith(b"/"):
        kind = "folder"  # as v7 wrote folders
    return Member(name.decode("utf-8", "surrogateescape"), start, length, kind)


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # GNU's magic ("ustar  ") means that the prefix's bytes hold something else.
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name
