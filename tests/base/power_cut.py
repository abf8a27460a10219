"""A disk that remembers what is durable: every state that a power cut could leave.

    with recording(folder) as ops: save()          what was done, call by call
    for state in states(before, ops): ...          trees, as {path: bytes, or None for a folder}

The model is harsher than real file systems. A file's bytes are durable when the file was synced; a
name (creation, renaming, removal) when its folder was. What is pending at the cut may have reached
the disk or not: of a file's bytes all, none, half of them, or their length as zeros; of a folder's
names any number of the oldest changes, each folder on its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chiasm.base import files

Tree = dict[str, bytes | None]
Call = tuple[str, str, str | bytes]
DATA = ("kept", "dropped", "half", "zeroed")


def read_tree(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def write_tree(tree: Tree, folder: Path) -> None:
    for name, data in sorted(tree.items()):
        if data is None:
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).write_bytes(data)


# ---- recording and failing -----------------------------------------------------------------------


class Recorder(files.Disk):
    """Does what is asked and writes it down; syncs are only written down, which saves the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[Call] = []
        self._names: dict[int, str] = {}

    def note(self, kind: str, path: Path, other: str | bytes = "") -> None:
        self.calls.append((kind, self.name(path), other))

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def make(self, path):
        super().make(path)
        self.note("make", path)

    def create(self, path):
        descriptor = super().create(path)
        self._names[descriptor] = path
        self.note("create", path)
        return descriptor

    def append(self, descriptor, data):
        super().append(descriptor, data)
        self.note("append", self._names[descriptor], bytes(data))

    def sync(self, path):
        assert path.exists()
        self.note("sync", path)

    def rename(self, old, new):
        super().rename(old, new)
        self.note("rename", old, self.name(new))

    def unlink(self, path):
        super().unlink(path)
        self.note("unlink", path)

    def rmdir(self, path):
        super().rmdir(path)
        self.note("rmdir", path)


@contextmanager
def recording(folder: Path) -> Iterator[list[Call]]:
    """Collect the calls of the body; they must explain every change of the folder."""
    before, recorder = read_tree(folder), Recorder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "disk", recorder)
        yield recorder.calls
    assert World(before).after(recorder.calls).tree() == read_tree(folder)


class Failing(files.Disk):
    """Fails at the n-th call and ever after, as a full disk does; a write first puts half of it."""

    def __init__(self, number: int, at: int, once: bool = False) -> None:
        self.number, self.left, self.once = number, at, once
        self.failed = False

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name not in CALLS:
            return found

        def call(*arguments):
            self.left -= 1
            if self.left > 0 or (self.once and self.failed):
                return found(*arguments)
            self.failed = True
            if name == "append":
                descriptor, data = arguments
                os.write(descriptor, data[: len(data) // 2])
            raise OSError(self.number, os.strerror(self.number))

        return call


CALLS = ("make", "create", "append", "sync", "rename", "unlink", "rmdir")
FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES)


# ---- the model -----------------------------------------------------------------------------------


@dataclass
class FileNode:
    data: bytes = b""
    durable: int = 0
    """How many of the bytes were synced; files are only appended to."""

    def left(self, mode: str) -> bytes:
        pending = self.data[self.durable :]
        return (
            self.data[: self.durable]
            + {
                "kept": pending,
                "dropped": b"",
                "half": pending[: len(pending) // 2],
                "zeroed": bytes(len(pending)),
            }[mode]
        )


@dataclass
class FolderNode:
    history: list[dict[str, FileNode | FolderNode]] = field(default_factory=lambda: [{}])
    """The names after each change since the last sync; the first entry is what is durable."""

    @property
    def names(self) -> dict[str, FileNode | FolderNode]:
        return self.history[-1]

    def change(self, *, remove: str = "", add: str = "", node=None) -> None:
        names = dict(self.names)
        if remove:
            node = names.pop(remove)
        if add:
            names[add] = node
        self.history.append(names)


class World:
    """The inodes of a folder, with what is durable of each."""

    def __init__(self, tree: Tree) -> None:
        self.root = FolderNode()
        for name, data in sorted(tree.items()):
            parent, last = self._parent(name)
            node = FolderNode() if data is None else FileNode(data, len(data))
            parent.history = [{**parent.names, last: node}]

    def _find(self, name: str) -> FileNode | FolderNode:
        node: FileNode | FolderNode = self.root
        for part in Path(name).parts:
            node = node.names[part]
        return node

    def _parent(self, name: str) -> tuple[FolderNode, str]:
        return self._find(str(Path(name).parent)), Path(name).name

    def after(self, calls: list[Call]) -> World:
        for kind, name, other in calls:
            if kind == "sync":
                node = self._find(name) if not name.startswith("..") else self.root
                if isinstance(node, FileNode):
                    node.durable = len(node.data)
                else:
                    node.history = node.history[-1:]
            elif kind == "append":
                self._find(name).data += other
            elif kind == "rename":
                parent, last = self._parent(name)
                assert Path(other).parent == Path(name).parent, "a rename must stay in its folder"
                parent.change(remove=last, add=Path(other).name)
            elif kind in ("make", "create"):
                parent, last = self._parent(name)
                parent.change(add=last, node=FolderNode() if kind == "make" else FileNode())
            else:
                parent, last = self._parent(name)
                parent.change(remove=last)
        return self

    def tree(self, mode: str = "kept", choice: dict[int, int] | None = None) -> Tree:
        """What is left when each folder shows its history at `choice` (default: the newest)."""
        found: Tree = {}

        def walk(node: FolderNode, prefix: str) -> None:
            at = (choice or {}).get(id(node), len(node.history) - 1)
            for name, inside in node.history[at].items():
                if isinstance(inside, FileNode):
                    found[prefix + name] = inside.left(mode)
                else:
                    found[prefix + name] = None
                    walk(inside, f"{prefix}{name}/")

        walk(self.root, "")
        return dict(sorted(found.items()))

    def folders(self) -> list[FolderNode]:
        found: list[FolderNode] = []

        def walk(node) -> None:
            if isinstance(node, FolderNode) and all(node is not other for other in found):
                found.append(node)
                for names in node.history:
                    for inside in names.values():
                        walk(inside)

        walk(self.root)
        return found

    def choices(self) -> Iterator[dict[int, int]]:
        """Ways in which pending names reached the disk: all, none, or one folder otherwise."""
        dirty = [folder for folder in self.folders() if len(folder.history) > 1]
        for others in (-1, 0):
            base = {id(folder): len(folder.history) - 1 if others else 0 for folder in dirty}
            yield base
            for folder in dirty:
                for at in range(len(folder.history)):
                    yield {**base, id(folder): at}


def states(before: Tree, calls: list[Call]) -> Iterator[tuple[int, Tree]]:
    """Every different state that a cut after the n-th call can leave, as (n, tree)."""
    for count in range(len(calls) + 1):
        world, seen = World(before).after(calls[:count]), set()
        for choice in world.choices():
            for mode in DATA:
                tree = world.tree(mode, choice)
                key = hash(tuple(tree.items()))
                if key not in seen:
                    seen.add(key)
                    yield count, tree
