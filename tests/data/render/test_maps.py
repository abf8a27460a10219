"""Maps: what is said about a region is what the colours of the decoded picture say."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import numpy as np
import pytest
from tests.data.render.reading import pixels
from tests.data.render.toys import toy_map

from chiasm.base.errors import UserError
from chiasm.data.render.drawn import Drawn
from chiasm.data.render.maps import KINDS, seen

COLOURS = {name: colour for name, colour in toy_map()["regions"]}


def region_at(picture: Drawn, x: float, y: float) -> str:
    """The region whose colour is nearest to what is shown around a point, in shares."""
    shown = pixels(picture.data).astype(int)
    high, wide, _ = shown.shape
    row, column = int(y * high), int(x * wide)
    patch = shown[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: float(np.abs(patch - COLOURS[name]).sum()))


def numbers(text: str) -> list[float]:
    return [float(value) for value in re.findall(r"\d\.\d\d", text)]


def test_answers_are_what_the_colours_say(drawn: dict[str, list[Drawn]]) -> None:
    checked = Counter[str]()
    for picture in drawn["maps"]:
        marks = {mark["number"]: mark for mark in picture.truth["marks"]}
        for question in picture.questions:
            checked[question.kind] += 1
            named = [name for name in COLOURS if name in question.text]
            if question.kind == "region at":
                assert region_at(picture, *numbers(question.text)) == question.answer
            elif question.kind == "is in region":
                there = region_at(picture, *numbers(question.text))
                assert (there == named[0]) == (question.answer == "yes")
            elif question.kind == "point in region":
                assert region_at(picture, *numbers(question.answer)) == named[0]
            elif question.kind == "box of region":
                left, top, right, bottom = numbers(question.answer)
                for x, y in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
                    inside = left + x * (right - left), top + y * (bottom - top)
                    assert region_at(picture, *inside) == named[0]
                outside = region_at(picture, left - 0.04, (top + bottom) / 2)
                assert outside != named[0]
            elif question.kind == "label of region":
                assert marks[int(question.answer)]["region"] == named[0]
            else:
                [number] = map(int, re.findall(r"\d", question.text))
                assert marks[number]["region"] == question.answer
    assert len(checked) == 6 and min(checked.values()) > 25, checked


def test_a_number_stands_in_its_region_and_hides_no_other(drawn: dict[str, list[Drawn]]) -> None:
    checked = 0
    for picture in drawn["maps"]:
        wide, high = picture.truth["size"]
        boxes = {region["name"]: region["box"] for region in picture.truth["regions"]}
        places = [mark["box"] for mark in picture.truth["marks"]]
        for mark in picture.truth["marks"]:
            left, top, right, bottom = mark["box"]
            box = boxes[mark["region"]]
            assert box[0] < (left + right) / 2 / wide < box[2]
            assert box[1] < (top + bottom) / 2 / high < box[3]
            plate = pixels(picture.data)[top + 3 : bottom - 2, left + 3 : right - 2]
            assert plate.std() > 20  # ink on it
            others = [place for place in places if place != mark["box"]]
            assert all(a >= right or c <= left or b >= bottom or d <= top for a, b, c, d in others)
            checked += 1
    assert checked > 100


def test_regions_that_cannot_be_pointed_at_are_left_out() -> None:
    chart = toy_map()
    known = tuple((name, tuple(colour)) for name, colour in chart["regions"])
    spots = seen(chart["data"], known)
    assert [spot.name for spot in spots] == [name for name in COLOURS if name != "Strip"]
    north = spots[0]
    assert north.box == pytest.approx((20 / 300, 10 / 200, 90 / 300, 90 / 200), abs=1e-4)
    assert north.point == pytest.approx((55 / 300, 50 / 200), abs=0.03) and north.solid
    twice = (*known, ("North", (255, 255, 255)), ("Other", known[1][1]))
    assert {spot.name for spot in seen(chart["data"], twice)} == {s.name for s in spots[2:]}


def test_no_map_with_enough_regions_is_one_sentence() -> None:
    few = {**toy_map(), "regions": toy_map()["regions"][:3]}
    with pytest.raises(UserError, match="data:kgeography"):
        KINDS[0].draw(Random(1), {"maps": [few]})
    with pytest.raises(UserError, match="data:kgeography"):
        KINDS[0].draw(Random(1), {})
