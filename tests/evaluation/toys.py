"""A small data set whose right answers can be read off the pictures' shades, and who answers it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image

from chiasm.base.errors import UserError
from chiasm.evaluation.task import Prompt, Task, text_of
from chiasm.inputs.message import Message, Picture, Record, Sample, Text


@cache
def shade(value: int) -> bytes:
    """A PNG whose every pixel is (value, 0, 0)."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def seen(prompt: Prompt) -> list[int]:
    """The shades of a prompt's pictures; a blank one is 122."""
    shown = [p for m in prompt for p in m.parts if isinstance(p, Picture)]
    return [Image.open(io.BytesIO(p.read())).convert("RGB").getpixel((0, 0))[0] for p in shown]


@dataclass(frozen=True)
class Listed:
    """Records in a list; None is a record that cannot be read."""

    records: Sequence[Record | None]
    name: str = "shades"

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        if (record := self.records[index]) is None:
            raise UserError(f"record {index} is damaged.")
        return record


def asked(record: int, number: int, picture: Picture) -> Sample:
    """A question about a picture of shade `record`, whose answer is the shade and the number."""
    question = Message("user", (picture, Text(f"shade and {number}?")))
    truth = Message("assistant", (Text(f"{record} {number}"),))
    return Sample((question, truth), f"{record}/{number}")


def shades(sizes: Sequence[int]) -> Listed:
    """One record for each size, with so many questions; record i shows shade i."""
    pictures = [Picture(data=shade(i)) for i in range(len(sizes))]
    return Listed(
        [tuple(asked(i, n, pictures[i]) for n in range(size)) for i, size in enumerate(sizes)]
    )


def look(prompts: Sequence[Prompt]) -> list[str]:
    """A perfect answerer: it looks at the picture and repeats the number that it was asked."""
    return [f"{seen(p)[0]} {text_of(p[-1]).split()[-1].rstrip('?')}" for p in prompts]


def counting(answer: Callable[[Sequence[Prompt]], list[str]] = look) -> tuple:
    """An answerer, and the list of batches that it will have been given."""
    batches: list[list[Prompt]] = []

    def remember(prompts: Sequence[Prompt]) -> list[str]:
        batches.append(list(prompts))
        return answer(prompts)

    return remember, batches


def task(sizes: Sequence[int]) -> Task:
    """Questions about shades, scored exactly; even questions are one kind, odd ones the other."""

    def kind(sample: Sample) -> str:
        return ("even", "odd")[int(sample.key.split("/")[1]) % 2]

    return Task("toy", shades(sizes), kind=kind, baselines={"zero": lambda sample: "0 0"})
