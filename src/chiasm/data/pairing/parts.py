"""A source made of several files, and the record that stands for what one of them has lost.

00000.tar ── n records ─┐
00001.tar ── n records ─┼──► Joined, numbered through
   (cut) ─── Lost ──────┘         Lost[0] raises BadSample("shard_truncated")
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import MOST_TEXT
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.rows import BadSample
from chiasm.data.shards import INDEX
from chiasm.inputs.media import MediaError, read_picture


@dataclass(frozen=True)
class Lost:
    """One record for all that is missing from a file: it says how much, when an index says so."""

    name: str
    where: str
    detail: str

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Pair:
        if index != 0:
            raise IndexError(index)
        raise BadSample("shard_truncated", self.where, self.detail)


def lost(name: str, path: Path, why: str, held: int, expected: int | None) -> Lost:
    """Return the record for the rest of `path`, of which `held` records are whole."""
    told = f"{why}; {held} records before it are whole"
    if expected is not None:
        told += f", the index says that there are {expected}"
    return Lost(name, str(path), told)


@dataclass(frozen=True)
class Joined:
    """Sources one after another, as one."""

    name: str
    parts: tuple[PairSource, ...]
    starts: tuple[int, ...]
    """The first record of each part, and behind them the count of all."""

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self.starts, index) - 1
        return self.parts[number][index - self.starts[number]]


def joined(name: str, parts: Sequence[PairSource]) -> PairSource:
    """Return several sources as one."""
    if len(parts) == 1:
        return parts[0]
    return Joined(name, tuple(parts), tuple(accumulate(map(len, parts), initial=0)))


_INDEXES = ("*_stats.json", INDEX, "index.json")


def expected_rows(paths: Sequence[Path]) -> dict[Path, int]:
    """Return how many records files should hold, as far as indexes in the folders of `paths` say.

    Read are Chiasm's _index.json, index.json of the library wids, and NAME_stats.json of img2dataset.
    An index that cannot be read is a UserError: it should not be ignored.
    """
    found: dict[Path, int] = {}
    folders = sorted({path.parent for path in paths})
    for path in (each for f in folders for kind in _INDEXES for each in f.glob(kind)):
        try:
            record = json.loads(read_picture(path, MOST_TEXT))
        except (MediaError, ValueError, RecursionError):
            raise UserError(
                f"{path} is damaged: remove it, or fetch it again, so that records can be counted."
            ) from None
        if isinstance(record, dict):
            counts = _counts(record, path.name.removesuffix("_stats.json"))
            found.update((path.parent / name, count) for name, count in counts.items())
    return found


def _counts(record: Mapping[str, Any], stem: str) -> dict[str, int]:
    if isinstance(successes := record.get("successes"), int):
        return {f"{stem}.tar": successes}
    counts = {}
    for listed, name, rows in (("shards", "file", "rows"), ("shardlist", "url", "nsamples")):
        found = record.get(listed)
        for each in found if isinstance(found, list) else ():
            if isinstance(each, dict) and isinstance(each.get(rows), int):
                counts[str(each.get(name)).rpartition("/")[2]] = each[rows]
    return counts
