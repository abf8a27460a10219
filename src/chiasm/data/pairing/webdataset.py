"""WebDataset shards: tar archives whose members of one basename are a record.

    000000017.jpg  ─┐
    000000017.txt  ─┼──► Pair "NAME/000000017"
    000000017.json ─┘

The key is the name up to its first dot, folder included, as the library webdataset has it. A record's
members may stand apart. A second member of one name begins a record of its own, which is refused:
nobody can say which text belongs to it. Folders, and names that begin with a dot, are no records.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import (
    MOST_TEXT,
    SHOWN,
    beside,
    key_of,
    shown_file,
)
from chiasm.data.pairing.parts import Lost, expected_rows, joined, lost
from chiasm.data.pairing.tar import Archive, Member, read_archive
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.rows import BadSample
from chiasm.inputs.media import Limits, MediaError
from chiasm.inputs.message import Picture

TEXTS = ("txt", "caption", "text")
"""Endings of members that are a caption; the first one there counts."""


@dataclass(slots=True)
class Group:
    """The members of one basename."""

    key: str
    members: dict[str, Member]
    """By ending, in lower case."""
    again: bool = False
    """Whether an earlier group has the same key."""


@dataclass(frozen=True)
class Shard:
    """The records of one archive that are whole."""

    name: str
    path: Path
    label: str
    """Stands before keys, where a source has several shards."""
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = self.groups[index]
        where = f"{self.path}, member {group.key}"
        if group.again:
            raise BadSample("duplicate_key", where)
        if group.key.startswith("/") or ".." in group.key.split("/"):
            raise BadSample("outside", where)
        shown = self._shown(group, where)
        text = next((group.members[name] for name in TEXTS if name in group.members), None)
        record = group.members.get("json")
        caption, licence, notes = beside(
            self._read(text, MOST_TEXT, where) if text else None,
            self._read(record, MOST_TEXT, where) if record else None,
            os.path.basename(group.key),
            where,
        )
        data = self._read(shown, Limits.encoded_bytes, where)
        if not data:
            raise MediaError("empty", shown.name)
        picture = shown_file(Picture(data=data, path=key_of(os.path.basename(shown.name))))
        key = key_of(self.name, self.label, group.key)
        return Pair(key, caption, picture, self.name, licence, notes)

    def _shown(self, group: Group, where: str) -> Member:
        shown = [m for ending, m in group.members.items() if f".{ending}" in SHOWN]
        if not shown:
            held = ", ".join(sorted(group.members)) or "nothing"
            raise BadSample("no_picture", where, f"the record has no picture or video, only {held}")
        if len(shown) > 1:
            raise BadSample("several_pictures", where)
        return shown[0]

    def _read(self, member: Member, most: int, where: str) -> bytes:
        if member.kind != "file":
            raise BadSample("bad_member", where, f"{member.name!r} is a {member.kind}")
        if member.size > most:
            raise MediaError("too_many_bytes", member.name, f"{most / 1e6:g} MB")
        try:
            with open(self.path, "rb") as file:
                file.seek(member.at)
                data = file.read(member.size)
        except OSError:
            raise MediaError("unreadable", str(self.path)) from None
        if len(data) < member.size:
            raise BadSample("damaged_file", where, "the archive has become shorter")
        return data


def webdataset(paths: Sequence[Path], name: str, whole: bool = False) -> PairSource:
    """Open tar archives in their order; one that is missing, or cut, is told by a record of its own.

    whole  the paths are all that there is: archives that only an index names are missing
    Reads headers alone. Raises UserError for archives that are compressed.
    """
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    expected = expected_rows(paths)
    promised = [path for path in expected if whole and path.suffix == ".tar"]
    parts: list[PairSource] = []
    for path in sorted({*paths, *promised}):
        label = path.relative_to(folder).with_suffix("").as_posix() if len(paths) > 1 else ""
        parts += _opened(path, name, label, expected.get(path))
    return joined(name, parts)


def _opened(path: Path, name: str, label: str, expected: int | None) -> list[PairSource]:
    try:
        if not path.is_file():  # a pipe would wait for ever
            return [lost(name, path, "it is not there", 0, expected)]
        archive = read_archive(path)
        if not archive.members and _compressed(path):
            raise UserError(
                f"{path} is compressed, so that no record can be read without all before it: unpack "
                "it with gunzip first."
            )
    except OSError as error:
        return [lost(name, path, f"it cannot be read ({error.strerror})", 0, expected)]
    groups = whole_groups(archive)
    why = archive.fault
    if not why and expected is not None and len(groups) < expected:
        why = "records are missing"
    shard = Shard(name, path, label, tuple(groups))
    rest: list[Lost] = [lost(name, path, why, len(groups), expected)] if why else []
    return [shard, *rest] if groups or not why else list(rest)


def _compressed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def whole_groups(archive: Archive) -> list[Group]:
    """Put the members of one basename together, in the order in which basenames appear.

    Without the group that stood open when the archive broke off: members of it may be lost.
    """
    groups: list[Group] = []
    latest: dict[str, Group] = {}
    last: Group | None = None
    for member in archive.members:
        last = None
        if member.kind == "folder" or (parts := _split(member.name)) is None:
            continue
        key, ending = parts
        group = latest.get(key)
        if group is None or ending in group.members:
            group = Group(key, {}, again=group is not None)
            latest[key] = group
            groups.append(group)
        group.members[ending] = member
        last = group
    if archive.fault and not archive.closed:
        groups = [group for group in groups if group is not last]
    return groups


def _split(name: str) -> tuple[str, str] | None:
    """Return (folder/stem, ending in lower case) of a member's name; None when it is hidden."""
    folder, slash, base = name.rpartition("/")
    folder = "/".join(part for part in folder.split("/") if part != ".")
    stem, _, ending = base.partition(".")
    if not stem:
        return None
    if folder or name.startswith("/"):
        folder += slash
    return folder + stem, ending.lower()
