"""Tables: a reader finds every cell in its place, and answers in both notations are the table."""

import random

import pytest

pytest.importorskip("matplotlib")

from tests.data.render.reader import needs_reader, opened, read, recall
from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.data.render.tables import KINDS, about, cells
from chiasm.evaluation.verify import right

[TABLES] = KINDS
REAL = [{"Town": f"Town {n}", "Founded": 1200 + 7 * n, "Area": 3.5 * n + 1} for n in range(40)]


def check(number):
    """Read three rows where the truth says that they lie: which share of their words is read."""
    drawn = draw(TABLES, number)
    image, truth = opened(drawn), drawn.truth
    if drawn.style == "table/lined":  # lines between cells are read as letters: blank them
        for row in truth["boxes"]:
            for left, top, right_, bottom in row:
                for box in (
                    (left - 1, top, left + 2, bottom),
                    (right_ - 1, top, right_ + 2, bottom),
                ):
                    image.paste(image.getpixel((left + 3, top + 3)), box)
    rows = [truth["head"], *truth["rows"]]
    shares = []
    for cells_, boxes in zip(rows[1:4], truth["boxes"][1:4], strict=True):
        strip = image.crop((boxes[0][0] + 2, boxes[0][1] + 2, boxes[-1][2] - 1, boxes[0][3] - 1))
        shares.append(recall(" ".join(cells_), read(strip, 7)))
    return shares


@needs_reader
def test_a_reader_finds_the_cells():
    shares = [share for number in range(3) for share in check(number)]
    assert sum(shares) / len(shares) > 0.95, shares


@needs_reader
@pytest.mark.soak
def test_a_reader_finds_the_cells_of_many():
    shares = [share for number in range(3, 60) for share in check(number)]
    assert sum(shares) / len(shares) > 0.95, shares


def test_every_question_has_one_answer():
    for number in range(40):
        every_answer_is_right_and_others_are_wrong(draw(TABLES, number))


def test_a_changed_cell_is_wrong():
    for number in range(20):
        question = draw(TABLES, number).questions[0]
        cell = question.check["rows"][-1][-1]
        assert question.answer.count(cell) >= 1
        head, _, tail = question.answer.rpartition(cell)
        assert not right(question.check, f"{head}{cell}9{tail}")


def test_heads_over_several_columns_are_asked_for_in_html():
    found = [d for n in range(40) if (d := draw(TABLES, n)).truth["groups"]]
    assert found
    for drawn in found:
        assert 'colspan="' in drawn.questions[0].answer
        assert right(drawn.questions[0].check, drawn.questions[0].answer)


def test_real_tables_are_shown_as_they_are():
    shown = [cells(random.Random(n), {"tables": {"towns": REAL}}) for n in range(30)]
    real = [table for table in shown if table.source == "towns"]
    assert 5 < len(real) < 30
    for table in real:
        for name, *values in table.rows:
            row = next(row for row in REAL if row["Town"] == name)
            assert values == [f"{row[column]:.6g}" for column in table.head[1:]]


def test_tables_without_numbers_or_names_are_passed_over():
    odd = {"empty": [], "words": [{"a": "x"}] * 6, "same": [{"a": "x", "b": n} for n in range(9)]}
    assert {cells(random.Random(n), {"tables": odd}).source for n in range(40)} == {"invented"}


def test_yes_is_right_as_often_as_no():
    said = []
    for number in range(400):
        rng = random.Random(number)
        said += [q.answer for q in about(rng, cells(rng, {})) if q.check["how"] == "yes_no"]
    assert len(said) > 250
    assert 0.4 < said.count("Yes") / len(said) < 0.6


def test_the_same_chance_draws_the_same_bytes_in_another_process():
    same_in_another_process("chiasm.data.render.tables")
