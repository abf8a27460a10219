"""A folder of pictures and videos with their words beside them.

    beach/3.jpg, beach/3.txt, beach/3.json ──► Pair "NAME/beach/3.jpg"

Subfolders count; names that begin with a dot do not. Links to files are followed within the folder,
links to folders are not: each is a record that says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from chiasm.data.pairing.fields import beside, is_shown, key_of, read_text, shown_file, within
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture

TEXTS = (".txt", ".caption")
"""Endings of files that are a caption; the first one there counts."""


@dataclass(frozen=True, slots=True)
class File:
    """A picture or a video, and what stands beside it."""

    path: str
    """Within the folder."""
    text: str = ""
    """Ending of the file with its caption, empty when there is none."""
    record: bool = False
    """Whether a .json stands beside it."""
    fault: str = ""
    """Why it is no picture at all: a folder that is "unreadable", or a "linked_folder"."""


@dataclass(frozen=True)
class FolderSource:
    """The pictures and videos of a folder as pairs."""

    name: str
    root: Path
    files: tuple[File, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = self.files[index]
        path = os.path.join(self.root, file.path)
        if file.fault == "unreadable":
            raise MediaError(file.fault, path)
        if file.fault:
            raise BadSample(file.fault, path)
        root = self.root.resolve()
        stem = os.path.splitext(path)[0]
        text = read_text(within(stem + file.text, root, path)) or b"" if file.text else None
        record = read_text(within(stem + ".json", root, path)) or b"" if file.record else None
        caption, licence, notes = beside(text, record, os.path.basename(stem), path)
        shown = shown_file(Picture(path=within(path, root, path)))
        return Pair(key_of(self.name, file.path), caption, shown, self.name, licence, notes)

    @property
    def worded(self) -> int:
        """How many have words beside them."""
        return sum(bool(file.text) or file.record for file in self.files)


def folder(root: Path) -> FolderSource:
    """Find the pictures and videos in a folder, in the order of their names; none is opened."""
    found: list[File] = []

    def unreadable(error: OSError) -> None:
        inside = os.path.relpath(os.fsdecode(error.filename), root)
        found.append(File(inside, fault="unreadable"))

    for at, folders, names in os.walk(root, onerror=unreadable):
        inside = os.path.relpath(at, root)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(path := os.path.join(at, name)):
                linked = os.path.relpath(path, root)
                found.append(File(linked, fault="linked_folder"))
        held = set(names)
        for name in filter(is_shown, names):
            if name.startswith("."):
                continue
            stem = os.path.splitext(name)[0]
            text = next((ending for ending in TEXTS if stem + ending in held), "")
            path = os.path.normpath(os.path.join(inside, name))
            found.append(File(path, text, stem + ".json" in held))
    found.sort(key=lambda file: Path(file.path).parts)
    return FolderSource(root.resolve().name, root, tuple(found))
