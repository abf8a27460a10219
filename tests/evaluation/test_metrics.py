"""Scores, intervals and priors against values computed by hand or by other programs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.evaluation.metrics import (
    Share,
    broken_down,
    exact_match,
    majority,
    normal,
    share,
    wilson,
)


@pytest.mark.parametrize(
    "answer, truth, score",
    [
        ("yes", "yes", 1.0),
        (" Yes.\n", "yes", 1.0),
        ("YES .", "yes", 1.0),
        ("yes", "Yes.", 1.0),
        ("yes..", "yes", 0.0),
        ("yes!", "yes", 0.0),
        ("yes, it is", "yes", 0.0),
        ("ye s", "yes", 0.0),
        ("", "yes", 0.0),
        ("no", "yes", 0.0),
        ("3.0", "3", 0.0),
        ("Ä.", "ä", 1.0),
    ],
)
def test_exact_match(answer: str, truth: str, score: float) -> None:
    assert exact_match(answer, truth) == score


@given(st.text())
def test_normalising_twice_changes_only_full_stops(text: str) -> None:
    once = normal(text)
    assert once == once.strip()
    if not once.endswith("."):
        assert normal(once) == once.lower()


@pytest.mark.parametrize(
    "right, count, low, high",
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3; four digits.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_the_ends() -> None:
    """At 0 and 1 the formula becomes z² / (n + z²), which is easy to work out."""
    far = 1.959963984540054**2 / (10 + 1.959963984540054**2)
    assert wilson(0, 10) == pytest.approx((0.0, far), abs=1e-15)
    assert wilson(10, 10) == pytest.approx((1.0 - far, 1.0), abs=1e-15)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_solves_its_equation(pair: tuple[int, int]) -> None:
    """Each end p of the interval is where |share - p| = z·sqrt(p(1 - p) / n)."""
    right, count = pair
    low, high = wilson(right, count)
    assert 0.0 <= low <= right / count + 1e-15
    assert right / count - 1e-15 <= high <= 1.0
    for end in (low, high):
        distance = 1.959963984540054 * math.sqrt(end * (1 - end) / count)
        assert abs(right / count - end) == pytest.approx(distance, abs=1e-7)


def test_nothing_counted_is_not_a_share() -> None:
    empty = share([])
    assert math.isnan(empty.accuracy)
    assert empty.interval == (0.0, 1.0)
    assert empty.record() == {"count": 0, "right": 0.0, "accuracy": None, "interval": [0.0, 1.0]}


@given(st.lists(st.floats(0, 1)), st.randoms())
def test_the_sum_does_not_depend_on_the_order(scores: list[float], random: object) -> None:
    mixed = list(scores)
    random.shuffle(mixed)
    assert share(scores) == share(mixed)


def test_groups_come_largest_first_and_hold_every_row() -> None:
    rows = ["ab", "a", "b", "abc", "c"]
    found = broken_down(rows, len, lambda row: float("a" in row))
    assert found == {1: Share(1.0, 3), 2: Share(1.0, 1), 3: Share(1.0, 1)}
    assert list(found) == [1, 2, 3]


def test_majority_is_learned_per_question() -> None:
    pairs = [("q", "a"), ("q", "b"), ("q", "b"), ("r", "c"), ("r", "d"), ("s", "d"), ("s", "d")]
    guess = majority(pairs)
    assert [guess(q) for q in "qs"] == ["b", "d"]
    assert guess("r") == "c"  # of equals, the first in the alphabet
    assert guess("never asked") == "d"
    assert majority(reversed(pairs))("r") == "c"
    assert majority([])("anything") == ""
