"""Charts: what their pixels show, measured by others' means, is what their truth says."""

import io
import random

import numpy as np
import pytest
from PIL import Image, ImageColor

pytest.importorskip("matplotlib")

from tests.data.render.truth import (
    asked_of,
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.data.render.chart_data import ChartData, chart_data, points, sizes
from chiasm.data.render.chart_questions import Reading, about_chart
from chiasm.data.render.charts import KINDS
from chiasm.evaluation.verify import right

CARS = [
    {
        "Name": f"car {n}",
        "Origin": o,
        "Year": f"{1970 + n % 7}-01-01",
        "Miles": 10 + n % 23,
        "Power": p,
    }
    for n, (o, p) in enumerate(
        (random.Random(n).choice(("USA", "Japan", "Europe")), 50 + 7 * (n % 19) + n / 10)
        for n in range(120)
    )
]
BY_NAME = {kind.name: kind for kind in KINDS}


def pixels(drawn):
    return np.asarray(Image.open(io.BytesIO(drawn.data)).convert("RGB")).astype(int)


def share(picture, colour, box):
    """Where the colour stands inside the box: a mask, with some room for JPEG."""
    left, top, right_, bottom = box
    inside = picture[top:bottom, left:right_]
    return np.abs(inside - np.array(ImageColor.getrgb(colour))).max(axis=2) < 24


def bar_lengths(mask, across):
    """Lengths of the bars in pixels, one after another: runs of columns (or rows) that hold ink."""
    mask = mask.T if across else mask
    held = mask.sum(axis=0) > 2
    edges = np.flatnonzero(np.diff(np.r_[0, held.astype(int), 0]))
    lengths = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= 5:  # letters have the colour of no bar, but JPEG smears
            rows = np.flatnonzero(mask[:, start:end].sum(axis=1) > (end - start) / 2)
            lengths.append(rows.max() - rows.min() + 1)
    return lengths


@pytest.mark.parametrize("kind", ["bars", "horizontal-bars", "grouped-bars"])
def test_bars_measured_in_pixels_are_as_long_as_the_data_says(kind):
    measured = 0
    for number in range(4):
        drawn = draw(BY_NAME[kind], number)
        truth, picture = drawn.truth, pixels(drawn)
        across = kind == "horizontal-bars"
        left, top, right_, bottom = truth["box"]
        span = (right_ - left) if across else (bottom - top)
        low, high = truth["limits"]
        for column, (series, colour) in enumerate(truth["colours"].items(), start=1):
            mask = share(picture, colour, truth["box"])
            if truth["colours"].keys() == {row[0] for row in truth["rows"][1:]}:  # a colour per bar
                wanted = [float(row[1]) for row in truth["rows"][1:] if row[0] == series]
            else:
                wanted = [float(row[column]) for row in truth["rows"][1:]]
            seen = [length / span * (high - low) for length in bar_lengths(mask, across)]
            assert len(seen) == len(wanted), (drawn.style, number, series)
            assert np.abs(np.array(seen) - wanted).max() <= 0.02 * (high - low)
            measured += len(seen)
    assert measured >= 12


def test_slices_of_pies_take_their_share_of_the_ink():
    for number in range(6):
        drawn = draw(BY_NAME["pies"], number)
        picture = pixels(drawn)
        inks = {
            name: share(picture, colour, drawn.truth["box"]).sum()
            for name, colour in drawn.truth["colours"].items()
        }
        rows = dict(drawn.truth["rows"][1:])
        assert sum(map(int, rows.values())) == 100
        for name, ink in inks.items():  # labels and soft edges take some
            assert abs(100 * ink / sum(inks.values()) - int(rows[name])) < 2.5


def test_points_stand_where_the_truth_says():
    for number in range(5):
        drawn = draw(BY_NAME["scatters"], number)
        picture, truth = pixels(drawn), drawn.truth
        left, top, right_, bottom = truth["box"]
        x_low, x_high, y_low, y_high = truth["limits"]
        for x, y, group in truth["points"]:
            across = left + (x - x_low) / (x_high - x_low) * (right_ - left)
            down = bottom - (y - y_low) / (y_high - y_low) * (bottom - top)
            spot = picture[round(down) - 1 : round(down) + 2, round(across) - 1 : round(across) + 2]
            ink = np.array(ImageColor.getrgb(truth["colours"][group]))
            assert np.abs(spot - ink).max(axis=2).min() < 40


@pytest.mark.parametrize("kind", sorted(BY_NAME))
def test_every_question_has_one_answer(kind):
    for number in range(2):
        every_answer_is_right_and_others_are_wrong(draw(BY_NAME[kind], number))


def test_real_tables_are_grouped_and_averaged():
    for number in range(40):
        data = chart_data(
            random.Random(number),
            {"tables": {"cars": CARS}},
            several=False,
            in_time=number % 2 == 0,
        )
        if data.source == "cars" and "Power" in data.value:
            rows = [r for r in CARS if r[data.category].startswith(data.names[0])]
            mean = sum(row["Power"] for row in rows) / len(rows)
            assert data.series[0][1][0] == pytest.approx(mean, rel=0.005)
            assert data.rows()[0] == [data.category, "Power"]
            break
    else:
        pytest.fail("no chart of the table was drawn")


def test_every_kind_draws_from_real_tables():
    drawn = [
        kind.draw(random.Random(f"real/{number}"), {"tables": {"cars": CARS}})
        for kind in KINDS
        for number in range(2)
    ]
    assert sum(one.truth["source"] == "cars" for one in drawn) > len(drawn) / 3
    for one in drawn:
        every_answer_is_right_and_others_are_wrong(one)


def test_tables_that_hold_nothing_to_draw_are_passed_over():
    odd = {
        "empty": [],
        "words": [{"a": "x", "b": None}] * 5,
        "same": [{"k": "abc"[n % 3], "v": 7} for n in range(9)],
        "holes": [{"k": "abc"[n % 3], "v": float("nan")} for n in range(9)],
        "negative": [{"k": "abcd"[n % 4], "v": -n} for n in range(40)],
    }
    for number in range(60):
        chance = random.Random(number)
        for several in (False, True):
            assert chart_data(chance, {"tables": odd}, several=several, in_time=False)
        points(chance, {"tables": odd})
        sizes(chance, {"tables": odd})


def test_yes_and_no_are_equally_often_right():
    said = [
        q.answer
        for number in range(300)
        for q in asked_of(random.Random(number))
        if q.check["how"] == "yes_no"
    ]
    assert len(said) > 150
    assert 0.42 < said.count("Yes") / len(said) < 0.58


def test_a_chart_without_labels_is_answered_within_five_percent():
    values = []
    for number in range(60):
        rng = random.Random(number)
        data = chart_data(rng, {}, several=False, in_time=False)
        top = 1.1 * max(data.series[0][1])
        asked = about_chart(rng, data, Reading(False, 0, top), most=12)
        values += [q for q in asked if q.kind == "value"]
    assert len(values) > 30
    for question in values:
        value = question.check["value"]
        assert right(question.check, str(value * 1.04))
        assert not right(question.check, str(value * 1.06))


def test_what_cannot_be_read_is_not_asked():
    """A bar of a hundredth of the axis: no reader could tell it to within five percent."""
    data = ChartData(
        "t", "City", "Sales", ("Rome", "Oslo", "Lima"), (("", (1.0, 2.0, 100.0)),), "x"
    )
    for number in range(200):
        for question in about_chart(random.Random(number), data, Reading(False, 0, 120), most=12):
            assert question.kind != "table"
            if question.kind in ("value", "extreme"):  # which of Rome and Oslo is less, nobody sees
                assert question.answer in ("100", "Lima")
        labelled = about_chart(random.Random(number), data, Reading(True, 0, 120), most=12)
        assert labelled[0].kind == "table"


def test_the_same_chance_draws_the_same_bytes_in_another_process():
    same_in_another_process("chiasm.data.render.charts")


def test_the_users_own_settings_come_back():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    matplotlib.rcParams["font.size"] = 31
    try:
        first = draw(BY_NAME["bars"], 3).data
        assert matplotlib.rcParams["font.size"] == 31
    finally:
        matplotlib.rcParams["font.size"] = before
    assert draw(BY_NAME["bars"], 3).data == first
