"""Rendered shards read back: every question with its picture and its check.

shards ─► Questions ── [i] ──► the questions about picture i, each a sample of its own
                    └─ .of(key) ─► Question, whose check judges any answer
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.data.rows import BadSample, picture_of, video_of
from chiasm.data.shards import read_index
from chiasm.inputs.message import Message, Record, Sample, Shown, Text
from chiasm.inputs.question import Question

_COLUMNS = ("key", "images", "videos", "style", "truth", "questions")


class Asked(NamedTuple):
    """A picture with one question about it."""

    key: str
    """"scenes/0/17#1": kind, seed, number, question."""
    shown: Shown
    question: Question
    style: str
    truth: dict[str, Any]


def _key(row: dict[str, Any], number: int) -> str:
    return f"{row['key']}#{number}"


@dataclass(frozen=True)
class Questions:
    """The pictures of finished shards as records, a sample for every question."""

    name: str
    files: tuple[Path, ...]
    starts: tuple[int, ...]
    """The first picture of each file, and behind them the count of all."""
    _group: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_group", lru_cache(maxsize=2)(self._read))

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Record:
        return tuple(
            Sample(
                (
                    Message("user", (each.shown, Text(each.question.text))),
                    Message("assistant", (Text(each.question.answer),)),
                ),
                each.key,
            )
            for each in self.asked(index)
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def asked(self, index: int) -> list[Asked]:
        """Return the questions about one picture; raises BadSample for a damaged row."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = bisect_right(self.starts, index) - 1
        where = f"{self.files[file]}, row {index - self.starts[file]}"
        row = self._group(file)[index - self.starts[file]]
        try:
            shown: Shown = (
                video_of(row["videos"][0], Path(), where)
                if row["videos"]
                else picture_of(row["images"][0], Path(), where)
            )
            questions = [Question(**each) for each in json.loads(row["questions"])]
            truth = json.loads(row["truth"])
        except (ValueError, TypeError, LookupError):
            raise BadSample("bad_row", where) from None
        return [
            Asked(_key(row, number), shown, question, row["style"], truth)
            for number, question in enumerate(questions)
        ]

    def of(self, key: str) -> Question:
        """Return the question of a sample's key; raises KeyError. The first call reads them all."""
        return self._known[key]

    @cached_property
    def _known(self) -> dict[str, Question]:
        rows = (
            row
            for file in self.files
            for row in pq.read_table(file, columns=["key", "questions"]).to_pylist()
        )
        return {
            _key(row, number): Question(**each)
            for row in rows
            for number, each in enumerate(json.loads(row["questions"]))
        }

    def _read(self, file: int) -> list[dict[str, Any]]:
        try:
            return list(pq.read_table(self.files[file], columns=list(_COLUMNS)).to_pylist())
        except (pa.ArrowException, OSError) as error:
            told = str(error).splitlines()[0].rstrip(".")
            raise BadSample("damaged_file", str(self.files[file]), told) from None


def questions(folder: Path) -> Questions:
    """Open a folder of rendered shards; raises UserError when it is unfinished or holds no questions."""
    folder = Path(folder)
    shards = read_index(folder)
    starts = [0]
    for shard in shards:
        starts.append(starts[-1] + shard.rows)
    files = tuple(folder / shard.file for shard in shards)
    names = pq.read_schema(files[0]).names if files and files[0].exists() else []
    if missing := [name for name in _COLUMNS if name not in names]:
        raise UserError(
            f"{folder} holds no rendered questions (no column {missing[0]}): make some with chiasm render."
        )
    return Questions(folder.resolve().name, files, tuple(starts))
