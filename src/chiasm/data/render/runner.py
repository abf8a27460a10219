"""Draws pictures by the thousand into shards, in several processes, and goes on after a kill.

    _plan.json   what is being made: written first, compared when the command is repeated
    00000.parquet …   each drawn and written by one process, whole or absent; finished ones are kept
    _index.json       written last: the folder is finished

Picture i of a kind is drawn from Random("seed/kind/i") and nothing else.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm import __version__
from chiasm.base.errors import UserError
from chiasm.base.files import locked, sweep
from chiasm.base.log import say
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.versions import versions
from chiasm.data.shards import (
    Row,
    Shard,
    begin,
    manifest_hash,
    write_index,
    write_shard,
)
from chiasm.inputs.message import Message, Picture, Sample, Text, Video

SHARD_ROWS = 256
"""Pictures of a shard: what a kill costs a process."""
COLUMNS: Mapping[str, type] = {"kind": str, "style": str, "truth": str, "questions": str}
"""Facts of a rendered picture; truth and questions (with their checks) are JSON."""


@dataclass(frozen=True)
class Job:
    """Which pictures to draw, from what."""

    kind: Kind
    count: int
    seed: int = 0
    library: Mapping[str, Any] = field(default_factory=dict)
    """Plain values to draw from: "cutouts", "tables", "texts" ..."""
    licence: str = "CC0-1.0"
    """SPDX identifier of the pictures: that of what the library holds, where they show it."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licence by what a picture's truth calls its source: other than `licence` for these."""
    sources: tuple[str, ...] = ()
    """What the library was read from: collections with their packages' checksums, files."""
    rows: int = SHARD_ROWS
    """Pictures of a shard."""

    def made(self) -> dict[str, Any]:
        """Return what decides the bytes, as plain values."""
        return {
            "chiasm": __version__,
            **versions(self.kind.tools),
            "kind": self.kind.name,
            "count": self.count,
            "seed": self.seed,
            "library": self._library,
            "licence": self.licence,
            "licences": dict(self.licences),
            "sources": list(self.sources),
            "rows": self.rows,
        }

    @cached_property
    def _library(self) -> str:
        return digest(self.library)

    def parts(self) -> list[range]:
        """Return the numbers of the pictures of each shard."""
        starts = range(0, self.count, self.rows)
        return [range(start, min(start + self.rows, self.count)) for start in starts]


def render(
    job: Job,
    folder: Path,
    processes: int = 1,
    told: Callable[[int], object] = lambda done: None,
) -> str:
    """Draw a job's pictures into shards in a folder and return its manifest hash.

    A folder with the same job begun is finished; `told` is called with how many pictures are done.
    Equal jobs give equal bytes on any number of processes. Raises UserError for a folder of another
    job, for what a kind needs and does not find, and for what cannot be written.
    """
    folder = Path(folder)
    if job.kind.check is not None:
        job.kind.check()
    with locked(folder / "render", say):
        if begin(folder, job.made()):
            told(job.count)
            return manifest_hash(folder)
        sweep(folder)
        shards = dict(_kept(job, folder))
        done = sum(shard.rows for shard in shards.values())
        told(done)
        missing = [number for number in range(len(job.parts())) if number not in shards]
        for number, shard in _draw_all(job, folder, missing, processes):
            shards[number] = shard
            done += shard.rows
            told(done)
        return write_index(folder, [shards[number] for number in sorted(shards)], job.made())


def _kept(job: Job, folder: Path) -> Iterator[tuple[int, Shard]]:
    """Shards that an earlier run finished; a damaged file is drawn again."""
    for number, part in enumerate(job.parts()):
        path = _path(folder, number)
        try:
            data = path.read_bytes()
            if pq.read_metadata(pa.BufferReader(data)).num_rows == len(part):
                yield number, Shard(path.name, len(part), len(data), sha256(data).hexdigest())
        except (FileNotFoundError, pa.ArrowException):
            continue


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.parquet"


def _draw_all(
    job: Job, folder: Path, numbers: list[int], processes: int
) -> Iterator[tuple[int, Shard]]:
    """Draw shards, here or in other processes, and return each as it is finished."""
    one = partial(_draw_shard, folder)
    if processes == 1 or len(numbers) < 2:
        yield from ((number, one(number, job)) for number in numbers)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(numbers)),
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(job,),
    )
    try:
        waiting = {pool.submit(one, number): number for number in numbers}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BrokenProcessPool:
        raise UserError(
            "A drawing process ended by itself, most likely for want of memory: repeat the command with "
            "fewer --processes; finished shards are kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_JOB: list[Job] = []
"""The job of this drawing process."""


def _begin(job: Job) -> None:
    """Prepare a drawing process: it keeps the job, leaves Ctrl-C to the first one, and ends with it."""
    _JOB[:] = [job]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (first := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(first.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _draw_shard(folder: Path, number: int, job: Job | None = None) -> Shard:
    job = job or _JOB[0]
    rows = (row_of(draw(job, i), job, i) for i in job.parts()[number])
    try:
        return write_shard(_path(folder, number), _settled(rows) if _JOB else rows, COLUMNS)
    except UserError as error:
        # One that needs more than its sentence cannot travel to the first process.
        raise UserError(str(error)) from None


def _settled(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows; what the first one loaded stays for good, so the garbage collector need not walk it.

    A tenth of a chart's time. Only for a process that draws and then ends. (What is frozen is not counted:
    `gc.get_freeze_count` walks all of it, 4 ms.)
    """
    for place, row in enumerate(rows):
        if place == 0:
            gc.collect()
            gc.freeze()
        yield row


def draw(job: Job, number: int) -> Drawn:
    """Return the number-th picture of a job."""
    return job.kind.draw(Random(f"{job.seed}/{job.kind.name}/{number}"), job.library)


def row_of(drawn: Drawn, job: Job, number: int) -> Row:
    """Return a row: a conversation in which all questions about a picture are asked and answered."""
    picture = Picture(data=drawn.data)
    shown = Video(picture) if drawn.video else picture
    messages = []
    for i, question in enumerate(drawn.questions):
        before = (shown,) if i == 0 else ()
        messages.append(Message("user", (*before, Text(question.text))))
        messages.append(Message("assistant", (Text(question.answer),)))
    key = f"{job.kind.name}/{job.seed}/{number}"
    questions = [{**vars(question), "check": dict(question.check)} for question in drawn.questions]
    facts = {
        "kind": job.kind.name,
        "style": drawn.style,
        "truth": _json(drawn.truth),
        "questions": _json(questions),
    }
    licence = job.licences.get(str(drawn.truth.get("source")), job.licence)
    return Row(Sample(tuple(messages), key), f"chiasm render {job.kind.name}", licence, facts)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of nested plain values, bytes included: equal ones have equal ones."""
    seen = sha256()
    for part in _parts(value):
        seen.update(f"{len(part)}:".encode() + part)
    return seen.hexdigest()


def _parts(value: Any) -> Iterable[bytes]:
    if isinstance(value, Mapping):
        yield b"mapping %d" % len(value)
        for name in sorted(value, key=str):
            yield from (*_parts(name), *_parts(value[name]))
    elif isinstance(value, list | tuple):
        yield b"list %d" % len(value)
        for each in value:
            yield from _parts(each)
    elif isinstance(value, bytes):
        yield from (b"bytes", value)
    elif value is None or isinstance(value, str | int | float):
        yield json.dumps(value).encode()
    else:
        raise TypeError(f"a library holds plain values, not {type(value).__name__}")
