"""The stages of a curation: shards of records through steps, the whole through a step that compares.

    read ─► decode ─► step ─► step ─► work/00/00007.parquet        one shard of a stage by record
                └───────┴───────┴──► dropped rows, each with its reason, in the same file
    all shards, in the order of key ─► whole step ─► work/01.parquet, what it dropped

Pictures are not copied between stages: a row holds its position, and the bytes are read again, checked
against the SHA-256 of the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from chiasm.base.errors import UserError
from chiasm.data.curation import workfile
from chiasm.data.curation.recipe import Recipe, Stage, names, stages
from chiasm.data.curation.records import (
    Opener,
    Read,
    Reader,
    Refused,
    changed,
    concept,
    encoded,
    notes,
)
from chiasm.data.curation.step import Fact, Item, Step, Tools, Verdict, WholeStep
from chiasm.data.shards import TYPES
from chiasm.inputs.message import Picture

Toolmaker = Callable[[Recipe], Tools]
"""What builds the models, in each process that needs them."""
SHOWN = {"key", "caption", "source", "sha256"}
"""Columns that a step over the whole sees, besides facts."""
BATCH, BATCH_BYTES = 64, 256 << 20
"""A step gets so many items at once, or fewer where their pixels take more memory."""


@dataclass(frozen=True)
class Job:
    """A curation: what all its processes know."""

    recipe: Recipe
    out: Path
    opener: Opener
    """Opens a source by its name; a function that can be imported."""
    tools: Toolmaker
    """Builds the models; a function that can be imported."""

    @property
    def work(self) -> Path:
        """The folder of unfinished work."""
        return self.out / "work"

    def piece(self, stage: int, shard: int) -> Path:
        """The file of one shard of a stage by record."""
        return self.work / f"{stage:02}" / f"{shard:05}.parquet"

    def whole(self, stage: int) -> Path:
        """The file of a stage over the whole."""
        return self.work / f"{stage:02}.parquet"


class Bench:
    """A job with its sources, models and steps at hand: one in each process."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @cached_property
    def reader(self) -> Reader:
        """The sources."""
        return Reader(self.job.recipe, self.job.opener)

    @cached_property
    def steps(self) -> list[Step | WholeStep]:
        """All steps in their order; raises UserError when one lacks a tool."""
        tools = self.job.tools(self.job.recipe)
        return [settings.step(tools) for settings in self.job.recipe.steps]

    @cached_property
    def names(self) -> list[str]:
        """What the ledger calls the steps."""
        return names(self.steps)

    @cached_property
    def stages(self) -> list[Stage]:
        """The steps in their stages."""
        return stages(self.steps)

    @property
    def shards(self) -> int:
        """How many shards the records are cut into."""
        return -(-len(self.reader) // self.job.recipe.shard_records)

    def close(self) -> None:
        """End the processes that decode."""
        if "reader" in vars(self):
            self.reader.close()

    def span(self, shard: int) -> range:
        """Positions of a shard's records."""
        size = self.job.recipe.shard_records
        return range(shard * size, min((shard + 1) * size, len(self.reader)))


# ---- rows --------------------------------------------------------------------------------------


@dataclass
class Row:
    """A record on its way: what a work file holds about it."""

    position: int
    key: str
    caption: str = ""
    source: str = ""
    licence: str = ""
    sha256: str = ""
    came: str = ""
    concept: str = ""
    notes: str | None = None
    step: str = ""
    reason: str = ""
    note: str = ""
    changed: bytes | None = None
    facts: dict[str, Fact] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the values of a work file's columns."""
        return {**{name: getattr(self, name) for name in workfile.RECORD}, **self.facts}

    def drop(self, step: str, reason: str, note: str) -> None:
        """Take the record out."""
        self.step, self.reason, self.note = step, reason, note


def first_row(position: int, read: Read) -> Row:
    """Return the row of a record that was just read."""
    pair = read.pair
    return Row(
        position,
        pair.key,
        pair.caption,
        pair.source,
        pair.licence,
        read.sha256,
        read.came,
        concept(read),
        notes(pair),
    )


def standing(bench: Bench, stage: int, shard: int) -> list[Row]:
    """Return what is left of a shard before a stage, as the stages before wrote it."""
    earlier = bench.stages[:stage]
    last = max(each.number for each in earlier if not each.whole)
    table = workfile.read(bench.job.piece(last, shard))
    table = table.filter(pc.equal(table["reason"], ""))
    for each in earlier[last + 1 :]:
        table = table.filter(pc.invert(pc.is_in(table["position"], _dropped(bench, each.number))))
    own = set(workfile.RECORD)
    return [
        Row(
            **{name: value for name, value in row.items() if name in own},
            facts={name: v for name, v in row.items() if name not in own and v is not None},
        )
        for row in table.to_pylist()
    ]


def _dropped(bench: Bench, stage: int) -> Any:
    """Positions that a whole step dropped."""
    return workfile.read(bench.job.whole(stage), ["position"])["position"].combine_chunks()


Found: TypeAlias = tuple[Row, Item]
"""A record's row, and what the steps see of it."""


# ---- a stage by record -------------------------------------------------------------------------


def by_record(bench: Bench, number: int, shard: int) -> dict[str, Any]:
    """Do one shard of a stage and return what its file says; a finished one is left as it is."""
    path = bench.job.piece(number, shard)
    if (said := workfile.finished(path)) is not None:
        return said
    stage = bench.stages[number]
    rows = _fresh(bench, shard) if number == 0 else standing(bench, number, shard)
    for start in range(0, len(rows), BATCH):
        _through(bench, stage, rows[start : start + BATCH])
    types = workfile.types_of([row.facts for row in rows])
    table = workfile.table_of([row.record() for row in rows], types)
    kept = sum(not row.reason for row in rows)
    told = {"facts": workfile.spelled(types), "n_in": len(rows), "n_kept": kept}
    return workfile.save(path, table, told)


def _fresh(bench: Bench, shard: int) -> list[Row]:
    """Rows of which only the place is known yet."""
    where, place = bench.reader.where, bench.reader.place
    return [Row(at, where(at), source=place(at)[0].name) for at in bench.span(shard)]


def _through(bench: Bench, stage: Stage, rows: list[Row]) -> None:
    """Send rows through a stage's steps; only what is left when a step looks is decoded."""
    steps = [
        (bench.names[place], step)
        for place, step in enumerate(stage.steps, stage.first)
        if not isinstance(step, WholeStep)
    ]
    blind = next((place for place, (_, step) in enumerate(steps) if step.looks), len(steps))
    left = _judged(list(_items(bench, rows)), steps[:blind])
    if steps[blind:]:
        for held in _decoded(bench, left):
            came = [item.frames for _, item in held]
            _judged(held, steps[blind:])
            for (row, item), frames in zip(held, came, strict=True):
                if item.frames is not frames and not row.reason:
                    row.changed = encoded(item.frames[0])
                    row.sha256 = sha256(row.changed).hexdigest()


def _items(bench: Bench, rows: list[Row]) -> Iterator[tuple[Row, Item]]:
    """Every record that can be read; the others are dropped with their reason."""
    for row in rows:
        try:
            read = bench.reader.read(row.position)
        except Refused as why:
            row.drop(why.part, why.reason, why.note)
            continue
        if row.came:
            check_same(bench, row, read)
        else:
            vars(row).update(vars(first_row(row.position, read)))
        pair = read.pair if row.changed is None else changed(read.pair, row.changed)
        yield row, Item(pair, row.caption, facts=dict(row.facts))


def _decoded(bench: Bench, left: list[Found]) -> Iterator[list[Found]]:
    """What can be decoded, in runs whose pixels fit the memory."""
    held: list[Found] = []
    size = 0
    for row, item in left:
        try:
            bench.reader.decode(item)
        except Refused as why:
            row.drop(why.part, why.reason, why.note)
            continue
        held.append((row, item))
        size += sum(frame.nbytes for frame in item.frames)
        if size >= BATCH_BYTES:
            yield held
            held, size = [], 0
    yield held


def check_same(bench: Bench, row: Row, read: Read) -> None:
    """Raise UserError when a source gives another record than the first time."""
    if read.came != row.came:
        raise UserError(
            f"{bench.reader.where(row.position)} has changed since this curation began: give a new folder "
            "with --out, so that all records are read again."
        )


def _judged(held: list[Found], steps: Sequence[tuple[str, Step]]) -> list[Found]:
    """Ask steps one by one, and return what is left; who is dropped is not asked again."""
    for name, step in steps:
        if not held:
            break
        verdicts = step([item for _, item in held])
        if len(verdicts) != len(held):
            raise ValueError(f"{name} gave {len(verdicts)} verdicts for {len(held)} items")
        for (row, item), verdict in zip(held, verdicts, strict=True):
            _apply(row, item, name, step.reasons, verdict)
        held = [(row, item) for row, item in held if not row.reason]
    return held


def _apply(row: Row, item: Item, name: str, reasons: Mapping[str, str], verdict: Verdict) -> None:
    for key, value in verdict.facts.items():
        if key in workfile.RESERVED:
            raise ValueError(f"{name} gives the fact {key!r}, a name that shards use themselves")
        row.facts[key] = item.facts[key] = workfile.fact(key, value)
    if verdict.caption is not None:
        row.caption = item.caption = verdict.caption
    if verdict.frames is not None:
        if len(verdict.frames) != 1 or not isinstance(item.pair.shown, Picture):
            raise ValueError(f"{name} changes frames of a video, which cannot be written again")
        item.frames = verdict.frames
    if verdict.reason:
        if verdict.reason not in reasons:
            raise ValueError(f"{name} drops for {verdict.reason!r}, which it does not declare")
        row.drop(name, verdict.reason, verdict.note)


# ---- a stage over the whole --------------------------------------------------------------------


def over_all(bench: Bench, number: int) -> dict[str, Any]:
    """Do a stage that compares records and return what its file says; a finished one is left."""
    path = bench.job.whole(number)
    if (said := workfile.finished(path)) is not None:
        return said
    stage = bench.stages[number]
    (step,), (name,) = stage.steps, bench.names[stage.first : stage.first + 1]
    if not isinstance(step, WholeStep):
        raise TypeError(f"{name} does not compare records")
    table = left(bench, number)
    found = _compare(step, name, table) if table.num_rows else {}
    positions = table["position"].to_pylist()
    rows = [
        {"position": positions[i], "step": name, "reason": v.reason, "note": v.note}
        for i, v in sorted(found.items(), key=lambda each: positions[each[0]])
    ]
    fields = ("position", "step", "reason", "note")
    schema = pa.schema({each: workfile.RECORD[each] for each in fields})
    told = {"n_in": table.num_rows, "n_kept": table.num_rows - len(rows)}
    return workfile.save(path, pa.Table.from_pylist(rows, schema), told)


def left(bench: Bench, number: int, facts: bool = True) -> Any:
    """Return what is left before a stage, from all shards, in the order of key, with its facts or without."""
    last = max(each.number for each in bench.stages[:number] if not each.whole)
    files = [bench.job.piece(last, shard) for shard in range(bench.shards)]
    types = fact_types(files) if facts else {}
    schema = pa.schema({name: workfile.RECORD[name] for name in ("position", *sorted(SHOWN))})
    schema = pa.schema([*schema, *(pa.field(name, TYPES[kind]) for name, kind in types.items())])
    parts = []
    for file in files:
        table = workfile.read(file, [*schema.names, "reason"])
        table = table.filter(pc.equal(table["reason"], ""))
        columns = {
            each.name: table[each.name].cast(each.type)
            if each.name in table.column_names
            else pa.nulls(table.num_rows, each.type)
            for each in schema
        }
        parts.append(pa.table(columns, schema))
    whole = pa.concat_tables(parts)
    for each in bench.stages[last + 1 : number]:
        whole = whole.filter(pc.invert(pc.is_in(whole["position"], _dropped(bench, each.number))))
    return whole.sort_by([("key", "ascending"), ("position", "ascending")]).combine_chunks()


def fact_types(files: Sequence[Path]) -> dict[str, type]:
    """Return the types of all facts in finished work files."""
    return workfile.join([workfile.types_in(workfile.finished(file) or {}) for file in files])


def _compare(step: WholeStep, name: str, table: Any) -> dict[int, Verdict]:
    """Ask a whole step, with the columns that it may see."""
    if missing := [need for need in step.needs if need not in table.column_names]:
        raise UserError(
            f'The step "{name}" needs the fact "{missing[0]}", which no step before it finds out: put the '
            "step that does in front of it."
        )
    hidden = workfile.RECORD.keys() - SHOWN
    found = step(table.select([each for each in table.column_names if each not in hidden]))
    for row, verdict in found.items():
        if not 0 <= row < table.num_rows or verdict.reason not in step.reasons:
            raise ValueError(f"{name} drops row {row} for {verdict.reason!r}")
    return dict(found)
