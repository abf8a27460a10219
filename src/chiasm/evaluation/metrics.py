"""Numbers about answers: exact match, a share with its interval, and what guessing would give."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

Row = TypeVar("Row")
Group = TypeVar("Group", bound=Hashable)

Z95 = 1.959963984540054
"""Standard deviations that hold 95 % of a normal distribution."""


def normal(text: str) -> str:
    """Return a text without white space around it, in lower case, without one final full stop."""
    return text.strip().lower().removesuffix(".").rstrip()


def exact_match(answer: str, truth: str) -> float:
    """Return 1.0 when two texts are the same after `normal`, else 0.0."""
    return float(normal(answer) == normal(truth))


def wilson(right: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a share `right / count`; (0, 1) when nothing was counted.

    It stays within 0 … 1 and is not empty at 0 or 1, unlike p ± z·sqrt(p(1 - p)/n). For scores
    between 0 and 1 it is wider than needed. Source: E. B. Wilson, JASA 22 (1927), p. 209.
    """
    if count == 0:
        return 0.0, 1.0
    share, weight = right / count, z * z / count
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Share:
    """How many of how many are right."""

    right: float
    """Sum of scores."""
    count: int

    @property
    def accuracy(self) -> float:
        """Mean score; NaN when nothing was counted."""
        return self.right / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson(self.right, self.count)

    def record(self) -> dict[str, Any]:
        """Return JSON-able values; the accuracy of nothing is None."""
        accuracy = self.accuracy if self.count else None
        low, high = self.interval
        return {
            "count": self.count,
            "right": self.right,
            "accuracy": accuracy,
            "interval": [low, high],
        }


def share(scores: Iterable[float]) -> Share:
    """Count scores; the sum is exact, so it does not depend on their order."""
    kept = list(scores)
    return Share(math.fsum(kept), len(kept))


def broken_down(
    rows: Iterable[Row], group: Callable[[Row], Group], score: Callable[[Row], float]
) -> dict[Group, Share]:
    """Return the share of each group of rows, the largest group first."""
    scores: dict[Group, list[float]] = defaultdict(list)
    for row in rows:
        scores[group(row)].append(score(row))
    by_size = sorted(scores.items(), key=lambda item: (-len(item[1]), str(item[0])))
    return {name: share(kept) for name, kept in by_size}


def majority(pairs: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """Learn from (question, answer) pairs; return what guesses a question's most frequent answer.

    It never sees a picture, so it is the score of someone who only reads. A question that was not
    among the pairs gets the most frequent answer of all; of equals, the first in the alphabet wins.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in pairs:
        counts[question][answer] += 1
    best = {question: _most_frequent(answers) for question, answers in counts.items()}
    overall = _most_frequent(sum(counts.values(), Counter()))
    return lambda question: best.get(question, overall)


def _most_frequent(answers: Counter[str]) -> str:
    return min(answers, key=lambda answer: (-answers[answer], answer), default="")
