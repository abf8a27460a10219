"""Documents: what a reader that knows nothing of them reads, is their text."""

import random

import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("typst")

from tests.data.render.reader import needs_reader, opened, read, recall
from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.data.render import documents, paper, typeset
from chiasm.data.render.sheet import Ink, Page
from chiasm.evaluation.verify.text import distance

KINDS = {kind.name: kind for kind in (*documents.KINDS, *typeset.KINDS)}


def error_rate(truth, seen):
    truth = " ".join(truth.split())
    return distance(truth, seen) / len(truth)


def by_columns(drawn):
    """Read the title, the left and the right column one after another, where the truth says they are."""
    image, lines = opened(drawn), [box for _, box in drawn.truth["lines"]]
    title, body = lines[0], lines[1:]
    left = min(box[0] for box in body)
    sides = [[b for b in body if (b[0] == left) == first] for first in (True, False)]
    texts = [read(image.crop((0, title[1] - 6, image.width, title[3] + 4)), 7)]
    for side in sides:
        edges = list(zip(*side, strict=True))
        box = (min(edges[0]) - 8, min(edges[1]) - 4, max(edges[2]) + 8, max(edges[3]) + 6)
        texts.append(read(image.crop(box)))
    return " ".join(texts)


def check(kind, number):
    drawn = draw(KINDS[kind], number)
    text = drawn.truth["text"]
    if kind == "columns":
        assert error_rate(text, by_columns(drawn)) <= 0.05, (kind, number)
    elif (
        kind == "forms" or drawn.style == "article/two"
    ):  # frames and columns: words wherever they stand
        seen = read(opened(drawn), 11 if kind == "forms" else 3)
        assert recall(text, seen) >= 0.9, (kind, number, seen, text)
    else:
        assert error_rate(text, read(opened(drawn))) <= 0.05, (kind, number)


SINGLE = sorted(set(KINDS) - {"documents"})


@needs_reader
@pytest.mark.parametrize("kind", SINGLE)
def test_a_reader_reads_the_text(kind):
    check(kind, 0)


@needs_reader
@pytest.mark.soak
@pytest.mark.parametrize("kind", SINGLE)
def test_a_reader_reads_many_texts(kind):
    for number in range(1, 25):
        check(kind, number)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_question_has_one_answer(kind):
    for number in range(6):
        every_answer_is_right_and_others_are_wrong(draw(KINDS[kind], number))


def test_a_receipt_adds_up():
    for number in range(30):
        fields = draw(KINDS["receipts"], number).truth["fields"]
        spent = sum(cost * count for _, count, cost in fields["items"])
        assert fields["subtotal"] == pytest.approx(spent)
        assert fields["total"] == pytest.approx(fields["subtotal"] + fields["tax"])


def test_every_line_lies_inside_the_picture_and_has_ink():
    for kind in sorted({"pages", "columns", "lists", "letters", "forms", "receipts"}):
        for number in range(3):
            drawn = draw(KINDS[kind], number)
            image = opened(drawn)
            for text, (left, top, right, bottom) in drawn.truth["lines"]:
                assert 0 <= left < right <= image.width, (kind, number, text)
                assert 0 <= top < bottom <= image.height
                darkest, lightest = image.crop((left, top, right, bottom)).getextrema()
                assert lightest - darkest > 90


def test_ticks_are_there_as_often_as_not():
    asked = [
        question.answer
        for number in range(160)
        for question in draw(KINDS["forms"], number).questions
        if question.kind == "tick"
    ]
    assert len(asked) == 160
    assert 60 <= asked.count("Yes") <= 100


def test_given_texts_are_drawn_and_unwritable_ones_passed_over():
    given = {"texts": ["Call me Ishmael. " * 20, "\u4f60\u597d " * 40]}
    sources = []
    for number in range(12):
        drawn = draw(KINDS["pages"], number, given)
        sources += drawn.truth["fields"]["sources"]
        assert "\u4f60" not in drawn.truth["text"]
        every_answer_is_right_and_others_are_wrong(drawn)
    assert set(sources) == {"texts", "invented"}


def test_typst_reads_no_markup_in_given_texts():
    odd = "a #b *c* _d_ $e$ `f` <g> @h = i ~ j // k /* l */ [m] \\n 'o' \"p\" -- q 1. r + s " * 3
    drawn = draw(KINDS["articles"], 1, {"texts": [odd]})
    assert drawn.data.startswith(b"\x89PNG")
    for number in range(2, 8):
        assert draw(KINDS["articles"], number, {"texts": [odd]}).truth["text"]


def test_words_are_written_where_their_width_says():
    letters = paper.font("serif", 15)
    image = Image.new("L", (400, 40), 255)
    end = paper.write(image, (10, 8), "Seven words stand here, all of them", letters)
    assert end == 10 + paper.width("Seven words stand here, all of them", letters)
    ink = image.point(lambda tone: 255 if tone < 128 else 0).getbbox()
    assert 10 <= ink[0] <= 13 and end - 4 <= ink[2] <= end + 1


def test_wrapping_keeps_every_word_and_the_width():
    letters = paper.font("mono", 13)
    rng = random.Random(4)
    text = " ".join("x" * rng.randint(1, 14) for _ in range(200))
    lines = paper.wrapped(text, letters, 180)
    assert " ".join(lines) == text
    assert all(paper.width(line, letters) <= 180 or " " not in line for line in lines)


def test_a_page_says_what_stands_side_by_side_in_one_line():
    page = Page(Ink("sans", 13, 255, 0), 300, 10)
    page.line("Total", 10)
    page.line("9.50", 290, end="right")
    page.down()
    page.text("Thank you")
    assert page.said() == "Total 9.50\nThank you"
    assert page.lines[1][1][2] == 290


@pytest.mark.parametrize("module", ["chiasm.data.render.documents", "chiasm.data.render.typeset"])
def test_the_same_chance_draws_the_same_bytes_in_another_process(module):
    same_in_another_process(module)
