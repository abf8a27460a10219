"""A collection that is open: a list of what it holds, and a function that reads one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from chiasm.base.errors import UserError
from chiasm.data.pairs import Pair

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Opened(Generic[Entry]):
    """A PairSource over a tuple of entries; `read` makes a pair of one, the same one every time."""

    name: str
    entries: tuple[Entry, ...]
    read: Callable[[Entry], Pair]
    shared: Mapping[str, str] = field(default_factory=dict)
    """Notes that every pair carries."""

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pair:
        pair = self.read(self.entries[index])
        return replace(pair, notes={**pair.notes, **self.shared})


def load(path: Path) -> Any:
    """Return what a JSON file of a package says; UserError when it does not say it any more."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete the folder of this package and pull it again."
        ) from None


def some(entries: tuple[Entry, ...], folder: Path) -> tuple[Entry, ...]:
    """Return the entries; UserError when there are none, which no whole package gives."""
    if not entries:
        raise UserError(f"{folder} holds none of its pictures; delete it and pull it again.")
    return entries


def written(value: Any) -> str:
    """Return a value as the JSON of a note: the same value always gives the same text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def words(text: str) -> str:
    """Return what a caption's concept is called: its words in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))
