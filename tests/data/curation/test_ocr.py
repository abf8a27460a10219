"""Text in pictures: read for real, added once, cut between words, never twice."""

from __future__ import annotations

import sys

import numpy as np
import pydantic
import pytest
from PIL import Image, ImageDraw, ImageFont
from tests.data.curation.labelled import item

from chiasm.base.errors import UserError
from chiasm.data.curation.ocr import Reading, ReadingSettings, in_lines, rapid_reader
from chiasm.data.curation.step import Pixels, Tools


def page(*lines: str, size: int = 26) -> Pixels:
    image = Image.new("RGB", (440, 40 * len(lines) + 20), "white")
    for row, line in enumerate(lines):
        font = ImageFont.load_default(size=size)
        ImageDraw.Draw(image).text((12, 12 + 40 * row), line, fill="black", font=font)
    return np.asarray(image)


def step(said: str, **changes: object) -> Reading:
    """A step whose reader finds `said` in every picture."""
    return ReadingSettings.model_validate(changes).step(Tools(read_text=lambda pixels: said))


BLANK = np.zeros((8, 8, 3), np.uint8)


def test_a_real_reader_reads_words_and_keeps_their_spaces() -> None:
    read = rapid_reader()
    shown = page("The quick brown fox", "jumps over 13 lazy dogs")
    assert read(shown) == "The quick brown fox\njumps over 13 lazy dogs"
    [verdict] = ReadingSettings().step(Tools(read_text=read))([item("A page", shown)])
    expected = "A page\nText in the picture: The quick brown fox\njumps over 13 lazy dogs"
    assert verdict.caption == expected


@pytest.mark.soak
def test_a_real_reader_reads_pictures_of_any_shape() -> None:
    """RapidOCR itself fails on the second of these."""
    read = rapid_reader()
    for height, width in ((1, 1), (3000, 20), (2500, 8), (1, 900), (40, 4000)):
        assert read(np.full((height, width, 3), 255, np.uint8)) == ""


def test_text_is_added_once_and_lines_of_a_video_once_each() -> None:
    frames = iter(("first line\nlogo", "logo\nsecond line", "logo"))
    reader = ReadingSettings().step(Tools(read_text=lambda pixels: next(frames)))
    [verdict] = reader([item("A film", BLANK, BLANK, BLANK, seconds=1.0)])
    assert verdict.facts == {"text": "first line\nlogo\nsecond line"}
    assert verdict.caption == "A film\nText in the picture: first line\nlogo\nsecond line"


def test_what_the_caption_holds_is_not_said_twice() -> None:
    [verdict] = step("STOP")([item('A sign that says "Stop"', BLANK)])
    assert verdict.caption is None and verdict.facts == {"text": "STOP"}
    [verdict] = step("one two three four five")([item("two four", BLANK)])
    assert verdict.caption is not None
    for nothing in ("", "  \n ", "..", "a"):
        [verdict] = step(nothing)([item("A wall", BLANK)])
        assert verdict.caption is None and verdict.facts == {"text": ""}


def test_the_form_is_the_users() -> None:
    [verdict] = step("see {caption} or {0}", format="[{text}] {caption}")(
        [item("A {text} b", BLANK)]
    )
    assert verdict.caption == "[see {caption} or {0}] A {text} b"
    for wrong in ("{text}", "{caption} {text} {text}", "nothing"):
        with pytest.raises(pydantic.ValidationError, match="once each"):
            ReadingSettings(format=wrong)


@pytest.mark.parametrize(
    ("most", "kept"), [(100, "alpha beta gamma"), (12, "alpha beta..."), (3, "alp...")]
)
def test_long_text_is_cut_between_words(most: int, kept: str) -> None:
    [verdict] = step("alpha beta gamma", most=most, format="{caption}|{text}")([item("c", BLANK)])
    assert verdict.caption == f"c|{kept}" and verdict.facts == {"text": "alpha beta gamma"}


def test_pieces_become_lines() -> None:
    def box(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]

    pieces = [
        (box(200, 12, 260, 30), "right"),
        (box(0, 60, 90, 80), "second line"),
        (box(0, 10, 60, 30), "left"),
        (box(100, 8, 160, 26), "middle"),
    ]
    assert in_lines(pieces) == "left middle right\nsecond line" == in_lines(pieces[::-1])
    assert in_lines([]) == ""


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"chiasm\[ocr\]"):
        ReadingSettings().step(Tools())
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'chiasm\[ocr\]'"):
        rapid_reader()
