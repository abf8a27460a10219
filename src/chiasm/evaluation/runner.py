"""Every sample of a task, asked once: with its own pictures, a blank one, or those of another.

    source ──► records ──► prompts ──► batches ──► answer(prompts) ──► scores ──► Result
                 │ bad        ▲           questions about one picture
                 ▼            │           stay together
              refused      blank or shuffled pictures: what remains is guessed from the words

Counted = scored + refused, whatever the batch size: nothing is asked twice to fill a batch, and
nothing at the end is dropped.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, TypeAlias

from chiasm.base.errors import UserError
from chiasm.base.log import Progress
from chiasm.evaluation.metrics import Share, broken_down, share
from chiasm.evaluation.task import Prompt, Records, Task, text_of, truth_of
from chiasm.inputs.message import Part, Picture, Sample, Shown, Video

Answer: TypeAlias = Callable[[Sequence[Prompt]], Sequence[str]]
"""Answers prompts in their order; raises UserError when one of them cannot be answered."""
Images: TypeAlias = Literal["right", "blank", "shuffled"]

MEAN_COLOUR = (122, 116, 104)
"""Of CLIP's training pictures: zero once normalised, which is the looking meter's blank too."""


@dataclass(frozen=True)
class Row:
    """One sample's question, answer and score."""

    key: str
    place: tuple[int, int]
    """(record of the source, sample of the record)."""
    question: str
    truth: str
    answer: str
    score: float
    kind: str
    baselines: Mapping[str, float]
    """Score of each baseline's answer."""


@dataclass(frozen=True)
class Shares:
    """The share of all samples, and of groups of them, the largest group first."""

    total: Share
    kinds: dict[str, Share]
    """By kind of question."""
    truths: dict[str, Share]
    """By the answer that would have been right."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            **self.total.record(),
            "kinds": {name: value.record() for name, value in self.kinds.items()},
            "truths": {name: value.record() for name, value in self.truths.items()},
        }


@dataclass(frozen=True)
class Result:
    """What a task found out; `rows` are in the order of the source."""

    task: str
    source: str
    rule: str
    images: Images
    rows: tuple[Row, ...]
    refused: tuple[tuple[str, str], ...]
    """(key, why) of samples and records that could not be asked: not in any share."""
    seconds: float

    @property
    def total(self) -> Share:
        """All scored samples."""
        return share(row.score for row in self.rows)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines that answered the same samples."""
        return tuple(self.rows[0].baselines) if self.rows else ()

    def shares(self, baseline: str | None = None) -> Shares:
        """Return the shares of the model's answers, or of a baseline's."""

        def score(row: Row) -> float:
            return row.score if baseline is None else row.baselines[baseline]

        return Shares(
            share(map(score, self.rows)),
            broken_down(self.rows, lambda row: row.kind, score),
            broken_down(self.rows, lambda row: row.truth, score),
        )

    def record(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "task": self.task,
            "source": self.source,
            "rule": self.rule,
            "images": self.images,
            **self.shares().record(),
            "baselines": {name: self.shares(name).record() for name in self.baselines},
            "refused": [{"key": key, "why": why} for key, why in self.refused],
            "seconds": round(self.seconds, 3),
            "samples": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class _Asked:
    place: tuple[int, int]
    sample: Sample
    prompt: Prompt


def run(
    task: Task,
    answer: Answer,
    *,
    images: Images = "right",
    limit: int | None = None,
    batch: int = 64,
    quiet: bool = False,
) -> Result:
    """Ask every sample of a task once and score the answers.

    `images`: the pictures as they are; "blank", each replaced by a plain grey one; or "shuffled",
    each replaced by one of a record half the source away. `limit`: only so many samples, from
    records in an order that is shuffled but always the same. `batch`: the most prompts that
    `answer` is given at once. Raises UserError when no sample could be asked.
    """
    if limit is not None and limit < 1:
        raise UserError(f"The limit of samples is {limit}, but must be at least 1.")
    began = time.monotonic()
    rows: list[Row] = []
    refused: list[tuple[str, str]] = []
    asked = _limited(_asked(task, images, limit is not None, refused), limit)
    total = len(task.source) if limit is None else limit
    with nullcontext() if quiet else Progress(f"{task.name}, {images}", total) as progress:
        for part in _batches(asked, batch):
            for one, text in zip(part, _answers(part, answer), strict=True):
                if isinstance(text, UserError):
                    refused.append((one.sample.key, str(text)))
                else:
                    rows.append(_row(task, one, text))
            if progress is not None:
                done = part[-1].place[0] + 1 if limit is None else len(rows) + len(refused)
                progress.update(done, {"accuracy": share(row.score for row in rows).accuracy})
    source = task.source.name
    if not rows:
        why = refused[0][1] if refused else "it holds no record."
        raise UserError(f"No sample of {source} could be asked: {why}")
    seconds = time.monotonic() - began
    return Result(task.name, source, task.rule, images, tuple(rows), tuple(refused), seconds)


def _row(task: Task, one: _Asked, text: str) -> Row:
    sample = one.sample
    guesses = {name: task.score(guess(sample), sample) for name, guess in task.baselines.items()}
    question = text_of(one.prompt[-1])
    score = task.score(text, sample)
    kind = task.kind(sample)
    return Row(sample.key, one.place, question, truth_of(sample), text, score, kind, guesses)


# ---- what is asked -----------------------------------------------------------------------------


def _asked(
    task: Task, images: Images, shuffle: bool, refused: list[tuple[str, str]]
) -> Iterator[list[_Asked]]:
    """The prompts of each record; what cannot be asked goes to `refused` with its reason."""
    order = list(range(len(task.source)))
    if shuffle:
        random.Random(0).shuffle(order)
    for number in order:
        try:
            record = task.source[number]
        except UserError as error:
            refused.append((f"{task.source.name}/{number}", str(error)))
            continue
        others = _other_pictures(images, task.source, number)
        asked = []
        for place, sample in enumerate(record):
            try:
                prompt = _shown(task.prompt(sample), others)
            except UserError as error:
                refused.append((sample.key, str(error)))
            else:
                asked.append(_Asked((number, place), sample, prompt))
        yield asked


def _limited(asked: Iterable[list[_Asked]], limit: int | None) -> Iterator[list[_Asked]]:
    left = limit
    for record in asked:
        yield record[:left]
        if left is not None and (left := left - len(record)) <= 0:
            return


def _batches(asked: Iterable[list[_Asked]], size: int) -> Iterator[list[_Asked]]:
    """Whole records, as many as fit; a record is cut only when it does not fit alone."""
    waiting: list[_Asked] = []
    for record in asked:
        if waiting and len(waiting) + len(record) > size:
            yield waiting
            waiting = []
        waiting = waiting + record
        while len(waiting) > size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _answers(part: Sequence[_Asked], answer: Answer) -> list[str | UserError]:
    """Answer a batch; when a prompt cannot be answered, halve it until only such prompts fail."""
    try:
        texts = answer([one.prompt for one in part])
    except UserError as error:
        if len(part) == 1:
            return [error]
        half = len(part) // 2
        return _answers(part[:half], answer) + _answers(part[half:], answer)
    if len(texts) != len(part):
        raise ValueError(f"{len(part)} prompts were answered by {len(texts)} texts")
    return list(texts)


# ---- which pictures are shown ------------------------------------------------------------------

Others: TypeAlias = Callable[[tuple[Shown, ...]], Sequence[Shown]]
"""Gives the pictures and videos to show instead of a sample's own."""


def _other_pictures(images: Images, source: Records, number: int) -> Others | None:
    """Return what replaces the pictures of a record, or None when they are shown as they are."""
    if images == "right":
        return None
    if images == "blank":
        return lambda own: [
            Video(blank_picture()) if isinstance(one, Video) else blank_picture() for one in own
        ]
    return lru_cache(lambda own: _borrowed(own, source, number))


def _shown(prompt: Prompt, others: Others | None) -> Prompt:
    if others is None:
        return prompt
    shown = iter(others(tuple(part for part in _parts(prompt) if isinstance(part, Shown))))
    return tuple(
        replace(m, parts=tuple(next(shown) if isinstance(p, Shown) else p for p in m.parts))
        for m in prompt
    )


def _parts(messages: Prompt) -> Iterator[Part]:
    return (part for message in messages for part in message.parts)


@cache
def blank_picture() -> Picture:
    """Return a plain picture in the mean colour, as PNG bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), MEAN_COLOUR).save(buffer, "PNG")
    return Picture(data=buffer.getvalue())


def _borrowed(own: tuple[Shown, ...], source: Records, number: int) -> list[Shown]:
    """As many pictures and videos as `own`, from records half the source away, none of them one of `own`."""
    held = {one.key for one in own}
    found: dict[type[Shown], list[Shown]] = {Picture: [], Video: []}
    for step in range(len(source)):
        if (borrowed := _like(own, found)) is not None:
            return borrowed
        try:
            record = source[(number + len(source) // 2 + step) % len(source)]
            for part in _parts(record[0].messages):
                if isinstance(part, Shown) and part.key not in held:
                    found[type(part)].append(part)
        except UserError:
            continue  # a record that cannot be read is reported where it is asked itself
    if (borrowed := _like(own, found)) is not None:
        return borrowed
    raise UserError(f"{source.name} has no other pictures to show instead of a sample's own.")


def _like(own: tuple[Shown, ...], found: dict[type[Shown], list[Shown]]) -> list[Shown] | None:
    """One that was found for each of `own`, of its kind, in order; None while there are not enough."""
    rest = {kind: iter(shown) for kind, shown in found.items()}
    borrowed = [next(rest[type(one)], None) for one in own]
    return [one for one in borrowed if one is not None] if None not in borrowed else None
