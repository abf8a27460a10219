"""Which samples a step sees, as a pure function of the seed and the step.

    step ──► records of the step ──► questions of each record ──► rendered ──► packed micro-batches
             a permutation of          a rotation through a          refused and counted
             the epoch (seed, epoch)   shuffle (seed, record)        when they do not fit

No state but the step: a run that resumes at step N sees exactly what it would have seen.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from chiasm.base.errors import UserError
from chiasm.data.balance import Balance, asked_and_said
from chiasm.data.settings import LoadSettings
from chiasm.data.sources import BadSample, Source
from chiasm.inputs.batch import Batch, PixelsOf, pack
from chiasm.inputs.chat import Rendered, Renderer
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Sample


class PackingLoader:
    """Packs a source into micro-batches, one step ahead of the model.

    A sample that cannot be used is refused with its reason, counted and reported through `refused`; it is
    never replaced by another one.
    """

    def __init__(
        self,
        source: Source,
        renderer: Renderer,
        pixels_of: PixelsOf,
        settings: LoadSettings,
        *,
        refused: Callable[[str, str], None] = lambda key, reason: None,
    ) -> None:
        if not len(source):
            raise UserError(f"The data source {source.name} holds no record.")
        self.source, self.renderer, self.pixels_of = source, renderer, pixels_of
        self.settings, self.refused = settings, refused
        self.balance = Balance(source) if settings.balance else None
        self.used = 0
        self.skipped: Counter[str] = Counter()
        self._order = lru_cache(maxsize=2)(self._permutation)

    def record(self) -> dict[str, Any]:
        """Samples used and refused so far, for the checkpoint."""
        return {"used": self.used, "skipped": dict(self.skipped)}

    def restore(self, record: dict[str, Any]) -> None:
        """Take back what `record` gave."""
        self.used, self.skipped = record["used"], Counter(record["skipped"])

    def stream(self, start: int, stop: int) -> Iterator[list[Batch]]:
        """The micro-batches of steps start … stop - 1; the next step is prepared while one is used."""
        with _lone_thread() as worker:
            ahead = [worker.submit(self.parts, step) for step in range(start, min(start + 1, stop))]
            for step in range(start, stop):
                parts, used, skipped = ahead.pop().result()
                if step + 1 < stop:
                    ahead.append(worker.submit(self.parts, step + 1))
                self._count(used, skipped)
                yield parts

    def parts(self, step: int) -> tuple[list[Batch], int, list[tuple[str, str]]]:
        """The micro-batches of a 0-based step, how many samples they hold, and (key, reason) refused."""
        rendered: list[list[Rendered]] = []
        skipped: list[tuple[str, str]] = []
        for place in range(step * self.settings.records, (step + 1) * self.settings.records):
            kept = [self._render(sample, skipped) for sample in self._samples(place, skipped)]
            rendered.append([sample for sample in kept if sample is not None])
        each = -(-len(rendered) // self.settings.parts)
        lots = (rendered[i : i + each] for i in range(0, len(rendered), each))
        flat = [[sample for record in lot for sample in record] for lot in lots]
        batches = [pack(lot, self.pixels_of) for lot in flat if lot]
        return batches, sum(map(len, rendered)), skipped

    def _samples(self, place: int, skipped: list[tuple[str, str]]) -> Sequence[Sample]:
        """The questions of the record at a place of the endless order."""
        epoch, index = divmod(place, len(self.source))
        number = self._order(epoch)[index]
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

    def _permutation(self, epoch: int) -> list[int]:
        order = list(range(len(self.source)))
        random.Random(f"{self.settings.seed}/epoch/{epoch}").shuffle(order)
        return order

    def _render(self, sample: Sample, skipped: list[tuple[str, str]]) -> Rendered | None:
        """Render a sample and prove that what it shows decodes, or say why not."""
        if not any(message.role == "assistant" for message in sample.messages):
            skipped.append((sample.key, "no_target"))
            return None
        try:
            rendered = self.renderer.render(sample)
            for shown in rendered.shown:
                self.pixels_of(shown)
        except MediaError as error:
            skipped.append((sample.key, error.reason))
            return None
        if len(rendered.ids) > self.settings.max_tokens:
            skipped.append((sample.key, "too_long"))
            return None
        return without_tail(rendered)

    def _count(self, used: int, skipped: list[tuple[str, str]]) -> None:
        self.used += used
        for key, reason in skipped:
            self.skipped[reason] += 1
            self.refused(key, reason)
        lost = sum(self.skipped.values())
        if lost > max(10, self.settings.max_skipped * (self.used + lost)):
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
            raise UserError(
                f"{lost} of {self.used + lost} samples of {self.source.name} were refused ({reasons}): mend "
                "the data, or raise `data.max_skipped`. Each one is named in skipped.jsonl."
            )


def without_tail(rendered: Rendered) -> Rendered:
    """Drop what stands behind the last learned token: nothing is predicted there, so nothing is run."""
    return rendered.until(len(rendered.trained) - rendered.trained[::-1].index(True))


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
