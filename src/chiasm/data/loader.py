"""Which samples a step sees, as a pure function of the seed and the step.

    step ──► records of the step ──► questions of each record ──► rendered ──► packed micro-batches
             order.py: a permutation   a rotation through a          refused and counted
             of the epoch, shared      shuffle (seed, record)        when they do not fit
             among the ranks

No state but the step: a run that resumes at step N sees exactly what it would have seen.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.data.balance import Balance, asked_and_said
from chiasm.data.order import Order, places
from chiasm.data.settings import LoadSettings
from chiasm.data.sources import BadSample, Source
from chiasm.inputs.batch import Batch, PixelsOf, pack
from chiasm.inputs.chat import Rendered, Renderer
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Sample, Shown


@dataclass
class Step:
    """What a rank sees at one step."""

    batches: list[Batch] = field(default_factory=list)
    """Its micro-batches."""
    used: int = 0
    """How many samples they hold."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(key, reason) of every sample that was refused."""


class PackingLoader:
    """Packs a source into micro-batches, some steps ahead of the model.

    A sample that cannot be used is refused with its reason, counted and reported through `refused`; it is
    never replaced by another one. `rank` of `world` processes takes its share of every step. `pixels_of` is
    called from `settings.workers` + 1 threads at once, from one where a single worker decodes.
    """

    def __init__(
        self,
        source: Source,
        renderer: Renderer,
        pixels_of: PixelsOf,
        settings: LoadSettings,
        *,
        refused: Callable[[str, str], None] = lambda key, reason: None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not len(source):
            raise UserError(f"The data source {source.name} holds no record.")
        self.source, self.renderer, self.pixels_of = source, renderer, pixels_of
        self.settings, self.refused = settings, refused
        self.rank, self.world = rank, world
        places(0, settings.records, rank, world)  # what cannot be shared is said before any work
        self.balance = Balance(source) if settings.balance else None
        self.used = 0
        self.skipped: Counter[str] = Counter()
        self.order = Order(len(source), settings.seed)

    def record(self) -> dict[str, Any]:
        """Samples used and refused so far, for the checkpoint."""
        return {"used": self.used, "skipped": dict(self.skipped)}

    def restore(self, record: dict[str, Any]) -> None:
        """Take back what `record` gave."""
        self.used, self.skipped = record["used"], Counter(record["skipped"])

    def stream(self, start: int, stop: int) -> Iterator[list[Batch]]:
        """The micro-batches of steps start … stop - 1; later steps are prepared while one is used."""
        with _lone_thread() as worker, _threads(self.settings.workers) as pool:
            steps = iter(range(start, stop))
            first = islice(steps, self.settings.ahead)
            ahead = deque(worker.submit(self.step, step, pool) for step in first)
            while ahead:
                made = ahead.popleft().result()
                if (step := next(steps, None)) is not None:
                    ahead.append(worker.submit(self.step, step, pool))
                self._count(made)
                yield made.batches

    def step(self, step: int, pool: ThreadPoolExecutor | None = None) -> Step:
        """What this rank sees at a 0-based step; `pool` decodes its pictures side by side."""
        made = Step()
        taken = places(step, self.settings.records, self.rank, self.world)
        records = [self._samples(place, made.skipped) for place in taken]
        pixels = _Pixels(self.pixels_of, records, pool)
        rendered: list[list[Rendered]] = []
        for samples in records:
            kept = [self._render(sample, pixels, made.skipped) for sample in samples]
            rendered.append([sample for sample in kept if sample is not None])
        each = -(-len(rendered) // self.settings.parts)
        lots = (rendered[i : i + each] for i in range(0, len(rendered), each))
        flat = [[sample for record in lot for sample in record] for lot in lots]
        made.batches = [pack(lot, pixels) for lot in flat if lot]
        made.used = sum(map(len, rendered))
        return made

    def _samples(self, place: int, skipped: list[tuple[str, str]]) -> Sequence[Sample]:
        """The questions of the record at a place of the endless order."""
        epoch, number = self.order.at(place)
        try:
            record = self.source[number]
        except BadSample as error:
            skipped.append((f"{self.source.name}/{number}", error.reason))
            return ()
        asked = self._in_time(place, record)
        count = min(self.settings.questions, len(asked))
        if self.balance is not None:
            chance = random.Random(f"{self.settings.seed}/{number}/{epoch}")
            return [asked[place] for place in self.balance.draw(asked, count, chance)]
        order = list(range(len(asked)))
        random.Random(f"{self.settings.seed}/{number}").shuffle(order)
        first = epoch * self.settings.questions
        return [asked[order[(first + i) % len(asked)]] for i in range(count)]

    def _in_time(self, place: int, record: Sequence[Sample]) -> Sequence[Sample]:
        """Without the samples that are still held back at this place of the endless order."""
        if self.settings.later is None or place >= self.settings.later_from:
            return record
        found = re.compile(self.settings.later).search
        return [sample for sample in record if not found(asked_and_said(sample)[0])]

    def _render(
        self, sample: Sample, pixels: PixelsOf, skipped: list[tuple[str, str]]
    ) -> Rendered | None:
        """Render a sample and prove that what it shows decodes, or say why not."""
        if not any(message.role == "assistant" for message in sample.messages):
            skipped.append((sample.key, "no_target"))
            return None
        try:
            rendered = self.renderer.render(sample)
            for shown in rendered.shown:
                pixels(shown)
        except MediaError as error:
            skipped.append((sample.key, error.reason))
            return None
        if len(rendered.ids) > self.settings.max_tokens:
            skipped.append((sample.key, "too_long"))
            return None
        return without_tail(rendered)

    def _count(self, made: Step) -> None:
        self.used += made.used
        for key, reason in made.skipped:
            self.skipped[reason] += 1
            self.refused(key, reason)
        lost = sum(self.skipped.values())
        if lost > max(10, self.settings.max_skipped * (self.used + lost)):
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
            raise UserError(
                f"{lost} of {self.used + lost} samples of {self.source.name} were refused ({reasons}): mend "
                "the data, or raise `data.max_skipped`. Each one is named in skipped.jsonl."
            )


class _Pixels:
    """The pixels of everything that a step shows, decoded once, side by side where there is a pool."""

    def __init__(
        self,
        pixels_of: PixelsOf,
        records: Sequence[Sequence[Sample]],
        pool: ThreadPoolExecutor | None,
    ) -> None:
        self.pixels_of = pixels_of
        self.held: dict[str, Tensor | MediaError] = {}
        if pool is not None:
            shown = (part for record in records for sample in record for part in _shown(sample))
            different = {id(part): part for part in shown}.values()
            self.held.update(made for made in pool.map(self._made, different) if made is not None)

    def __call__(self, shown: Shown) -> Tensor:
        if (found := self.held.get(shown.key)) is None:
            found = self.held[shown.key] = self.pixels_of(shown)
        if isinstance(found, MediaError):
            raise found
        return found

    def _made(self, shown: Shown) -> tuple[str, Tensor | MediaError] | None:
        try:
            key = shown.key
        except MediaError:
            return None  # a file that cannot be read is told when its sample is rendered
        try:
            return key, self.pixels_of(shown)
        except MediaError as error:
            return key, error


def _shown(sample: Sample) -> Iterator[Shown]:
    return (
        part for message in sample.messages for part in message.parts if isinstance(part, Shown)
    )


def without_tail(rendered: Rendered) -> Rendered:
    """Drop what stands behind the last learned token: nothing is predicted there, so nothing is run."""
    return rendered.until(len(rendered.trained) - rendered.trained[::-1].index(True))


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads for so many decoding processes, or none where one is enough: the loader's own does it.

    One thread more than processes: while it resizes a picture, all of them decode.
    """
    if count == 1:
        yield None
        return
    with ThreadPoolExecutor(count + 1, "decode", torch.set_num_threads, (1,)) as pool:
        yield pool


@contextmanager
def _lone_thread() -> Iterator[ThreadPoolExecutor]:
    """A thread whose tensor operations use no further threads.

    A second team of workers would make more threads than cores; OpenMP then puts workers to sleep instead
    of letting them spin, and each of the model's operations waits for their waking.
    """
    with ThreadPoolExecutor(
        max_workers=1, thread_name_prefix="loader", initializer=torch.set_num_threads, initargs=(1,)
    ) as worker:
        worker.submit(torch.get_num_threads).result()
        # The number is a thread's own, but threads begun later take the last one that any thread set.
        torch.set_num_threads(torch.get_num_threads())
        yield worker
