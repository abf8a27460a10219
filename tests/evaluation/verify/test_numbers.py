"""Numbers and places out of free text."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.evaluation.verify import right
from chiasm.evaluation.verify.numbers import numbers
from chiasm.evaluation.verify.places import overlap

THREE = {"how": "number", "value": 3}
ZERO, TWO = {"how": "number", "value": 0}, {"how": "number", "value": 2}
BIG = {"how": "number", "value": 1250}
NEAR = {"how": "number", "value": 200, "relative": 0.05}
SHARE = {"how": "number", "value": 45, "unit": "%"}
PART = {"how": "number", "value": 0.45}
METRES = {"how": "number", "value": 1.5, "unit": "m"}
YEAR = {"how": "number", "value": 7.5, "asked": [2019]}
BELOW = {"how": "number", "value": -4}
MILLIONS = {"how": "number", "value": 5_200_000}
BOX = {"how": "box", "box": [0.2, 0.2, 0.6, 0.6], "overlap": 0.5}
POINT = {"how": "point", "box": [0.2, 0.2, 0.6, 0.6]}

RIGHT: list[tuple[dict[str, Any], str]] = [
    *(
        (THREE, text)
        for text in ("3", "three", "There are three red circles.", "3.0", "Three (3).")
    ),
    *(
        (THREE, text)
        for text in ("I count 3 of them", "Answer: 3", "1 + 2 = 3", "\\boxed{3}", "**3**")
    ),
    *(
        (THREE, text)
        for text in ("The 2nd row has 3.", "I counted 7 things. The answer is 3", "+3")
    ),
    *((ZERO, text) for text in ("0", "zero", "none", "There are no red circles.", "No circles.")),
    *(
        (TWO, text)
        for text in ("twice", "It blinks twice.", "two times", "The red one blinks 2 times")
    ),
    *((BIG, text) for text in ("1250", "1,250", "1\u00a0250", "1.25k", "1.25e3", "1,250.00")),
    *(
        (BIG, text)
        for text in ("one thousand two hundred and fifty", "about 1,250 people", "$1,250")
    ),
    *((NEAR, text) for text in ("190", "210", "roughly 205.5", "two hundred and ten")),
    *((SHARE, text) for text in ("45", "45%", "45 %", "45 percent", "forty-five per cent")),
    *((PART, text) for text in ("0.45", "45%", "9/20", ".45", "zero point four five")),
    *((METRES, text) for text in ("1.5", "1.5 m", "150 cm", "1.5 metres", "1500mm")),
    *((YEAR, text) for text in ("7.5", "In 2019 it was 7.5.", "It was seven point five in 2019")),
    *((BELOW, text) for text in ("-4", "−4", "minus four", "negative 4", "-4.0")),
    *(
        (MILLIONS, text)
        for text in ("5.2 million", "5.2M", "5,200,000", "$5.2 million", "5.2 Million")
    ),
    *(({"how": "number", "value": v}, text) for v, text in ((12, "a dozen"), (100, "a hundred"))),
    ({"how": "number", "value": 121}, "one hundred twenty-one"),
    ({"how": "number", "value": 2019}, "It was in 2019"),
    *(
        (BOX, text)
        for text in ("[0.2, 0.2, 0.6, 0.6]", "(0.22,0.18,0.6,0.63)", "It is at <.2 .2 .6 .6>")
    ),
    *((BOX, text) for text in ("0.2, 0.2, 0.6, 0.6", "The box is [0.25, 0.2, 0.6, 0.6].")),
    *(
        (POINT, text)
        for text in ("(0.3, 0.5)", "x=0.3, y=0.5", "[0.2, 0.2]", "[0.3, 0.3, 0.5, 0.5]")
    ),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        (THREE, text)
        for text in ("", "4", "33", "3.1", "13", "third", "3rd", "three hundred", "-3")
    ),
    *(
        (THREE, text)
        for text in ("3 or 4", "between 3 and 4", "3-4", "three red and two blue", "not 3")
    ),
    *(
        (THREE, text)
        for text in ("more than 3", "at least three", "other than 3", "It isn't 3", "Q3")
    ),
    *((THREE, text) for text in ("The answer is 3. No, the answer is 4", "3%", "1.2.3")),
    *((ZERO, text) for text in ("", "one", "No, there are two", "I do not know", "10")),
    *((TWO, text) for text in ("once", "It blinks", "thrice", "2 times, or 3 times", "1/2")),
    *((BIG, text) for text in ("1", "1,25", "12,50", "125", "1250k", "1 250", "1,2500", "1250.5")),
    *((NEAR, text) for text in ("189", "211", "190 or 210", "20", "2,000")),
    *((SHARE, text) for text in ("0.45", "4.5", "45 kg", "55%", "45% and 55%")),
    *((PART, text) for text in ("45", "0.45%", "4.5%", "0.54")),
    *((METRES, text) for text in ("1.5 cm", "1.5 kg", "150", "15 cm", "1.5 seconds")),
    *((YEAR, text) for text in ("2019", "In 2018 it was 7.5", "In 2019 it was 8", "7.5 or 8")),
    *((BELOW, text) for text in ("4", "5-4", "four", "-40")),
    *((MILLIONS, text) for text in ("5.2", "5.2 thousand", "5.2 m", "52 million")),
    *((BOX, text) for text in ("", "[0.2, 0.2]", "[0.6, 0.6, 0.2, 0.2]", "[20, 20, 60, 60]")),
    *((BOX, text) for text in ("[0.5, 0.5, 0.9, 0.9]", "[0.2,0.2,0.6,0.6] or [0.1,0.1,0.3,0.3]")),
    *(
        (BOX, text)
        for text in ("not [0.2, 0.2, 0.6, 0.6]", "[0.2, 0.2, 0.6, 0.6, 0.7]", "20% 20% 60% 60%")
    ),
    *(
        (POINT, text)
        for text in ("(0.7, 0.5)", "(0.5, 0.19)", "0.3", "(30, 50)", "(0.3, 0.3) (0.4, 0.4)")
    ),
]


@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=lambda v: v if isinstance(v, str) else "")
def test_right_answers_in_free_words(check: dict[str, Any], answer: str) -> None:
    assert right(check, answer)


@pytest.mark.parametrize(("check", "answer"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_near_misses_are_wrong(check: dict[str, Any], answer: str) -> None:
    assert not right(check, answer)


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers_are_read_as_they_are_written(value: int) -> None:
    for text in (str(value), f"{value:,}", f"It is {value}."):
        assert [one.value for one in numbers(text)] == [value]
    check = {"how": "number", "value": value}
    assert right(check, str(value)) and not right(check, str(value + 1 + abs(value) // 10**8))


@given(st.decimals(-(10**6), 10**6, places=3))
def test_decimals_are_exact(value: Any) -> None:
    assert [one.value for one in numbers(f"about {value} of it")] == [Fraction(value)]


def in_words(value: int) -> str:
    """A number up to 999,999 in English, written by another rule than the reader's."""
    low = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    low += " fifteen sixteen seventeen eighteen nineteen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    if value >= 1000:
        rest = f" {in_words(value % 1000)}" if value % 1000 else ""
        return f"{in_words(value // 1000)} thousand{rest}"
    if value >= 100:
        rest = f" and {in_words(value % 100)}" if value % 100 else ""
        return f"{in_words(value // 100)} hundred{rest}"
    if value >= 20:
        return tens.split()[value // 10 - 2] + (f"-{in_words(value % 10)}" if value % 10 else "")
    return low.split()[value]


@given(st.integers(0, 999_999))
def test_numbers_in_words(value: int) -> None:
    assert [one.value for one in numbers(f"There are {in_words(value)}, I think.")] == [value]


@given(*[st.floats(0, 1)] * 4)
def test_overlap_is_that_of_counted_points(a: float, b: float, c: float, d: float) -> None:
    left, right_ = sorted((round(a, 1), round(b, 1)))
    top, low = sorted((round(c, 1), round(d, 1)))
    other = (0.2, 0.3, 0.7, 0.8)
    cells = [((x + 0.5) / 10, (y + 0.5) / 10) for x in range(10) for y in range(10)]
    one = {p for p in cells if left < p[0] < right_ and top < p[1] < low}
    two = {p for p in cells if other[0] < p[0] < other[2] and other[1] < p[1] < other[3]}
    assert overlap((left, top, right_, low), other) == pytest.approx(
        len(one & two) / len(one | two)
    )
