"""Weights that make a question's answers equally frequent.

Where "is there a red shape?" is answered no seven times of eight, guessing from the words alone is a
comfortable place to stay, and the picture has little to add. Seen equally often, both answers make
the words worthless and the picture necessary (Goyal et al. 2017, "Making the V in VQA matter").
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from chiasm.data.rows import BadSample
from chiasm.data.sources import Source
from chiasm.inputs.message import Record, Sample, Text


class Balance:
    """Draws a record's samples so that, over a source, each question has each answer equally often."""

    def __init__(self, source: Source) -> None:
        """Read the whole source once, its words only."""
        self.pairs = Counter(
            asked_and_said(sample) for i in range(len(source)) for sample in _record(source, i)
        )
        self.asked: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        for (asked, _), count in self.pairs.items():
            self.asked[asked] += count
            self.answers[asked] += 1

    def weight(self, sample: Sample) -> float:
        """How often a sample is wanted, relative to one of a question whose answers are balanced."""
        asked, said = asked_and_said(sample)
        return self.asked[asked] / (self.pairs[asked, said] * self.answers[asked])

    def draw(self, record: Sequence[Sample], count: int, chance: random.Random) -> list[int]:
        """Places of `count` samples, drawn by weight without replacement (Efraimidis, Spirakis 2006)."""
        keys = [chance.random() ** (1 / self.weight(sample)) for sample in record]
        order = sorted(range(len(record)), key=lambda place: keys[place], reverse=True)
        return order[:count]


def asked_and_said(sample: Sample) -> tuple[str, str]:
    """The words of a conversation up to its last message, and those of the last message."""
    *before, last = (
        " ".join(part.text for part in message.parts if isinstance(part, Text))
        for message in sample.messages
    )
    return "\n".join(before), last


def _record(source: Source, index: int) -> Record:
    try:
        return source[index]
    except BadSample:
        return ()  # counted and reported when its turn to be used comes
