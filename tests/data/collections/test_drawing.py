"""Drawings: the size that is asked for, the fonts of nobody's system, a reason for what cannot be drawn."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest
from tests.data.collections.toys import SQUARE, pixels

from chiasm.base.errors import UserError
from chiasm.data.collections import drawing
from chiasm.data.collections.drawing import rasterised, read, trimmed
from chiasm.data.rows import BadSample


def svg(inside: str, head: str = 'viewBox="0 0 100 100"') -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{inside}</svg>'.encode()


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ('viewBox="0 0 100 400"', (64, 256)),
        ('width="20mm" height="10mm"', (256, 128)),
        ('width="9pt" height="9pt"', (256, 256)),
        ('width="100000" height="100000"', (256, 256)),
    ],
)
def test_the_longer_side_is_as_asked(head: str, size: tuple[int, int]) -> None:
    assert pixels(rasterised(svg("<rect/>", head), "x")).size == size
    half = pixels(rasterised(svg("<rect/>", head), "x", 128)).size
    assert half == tuple(each // 2 for each in size)


def test_text_is_drawn_in_a_font_that_comes_along() -> None:
    text = svg('<text x="5" y="60" font-size="40" font-family="Nobody\'s Sans">Hi</text>')
    assert pixels(rasterised(text, "x")).getchannel("A").getbbox() is not None
    assert rasterised(text, "x") == rasterised(text, "x")


@pytest.mark.parametrize("damaged", [b"", b"<svg", b"\xff\xd8\xff", b"<html/>"])
def test_what_is_no_drawing_has_a_reason(damaged: bytes) -> None:
    with pytest.raises(BadSample, match="the drawing cannot be rendered") as caught:
        rasterised(damaged, "file.svg")
    assert caught.value.reason == "bad_drawing" and "\n" not in str(caught.value)


def test_a_file_that_went_away_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(BadSample, match="cannot be read"):
        read(tmp_path / "lost.svg")


def test_other_encodings_are_read() -> None:
    told = '<?xml version="1.0" encoding="iso-8859-1"?><svg xmlns="http://www.w3.org/2000/svg" '
    whole = told + 'viewBox="0 0 9 9"><title>é</title><rect width="9" height="9"/></svg>'
    assert pixels(rasterised(whole.encode("latin-1"), "x")).getpixel((9, 9)) == (0, 0, 0, 255)


@pytest.mark.parametrize(
    "box", [(0, 0, 100, 100), (70, 80, 20, 10), (10, 20, 30, 40), (95, 0, 5, 100)]
)
def test_trimming_leaves_the_drawing(box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    rect = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#00f"/>'
    image = pixels(trimmed(svg(rect), "x"))
    assert 0.9 * 256 < max(image.size) <= 260
    assert abs(image.width / image.height - width / height) < 0.1 * width / height
    assert image.getpixel((image.width // 2, image.height // 2)) == (0, 0, 255, 255)


def test_a_speck_is_enlarged_to_a_limit() -> None:
    image = pixels(trimmed(svg('<rect x="1" y="2" width="3" height="4"/>'), "x"))
    assert 2048 * 0.04 <= max(image.size) <= 2048 * 0.04 + 2


def test_a_drawing_beside_its_page_has_a_reason() -> None:
    with pytest.raises(BadSample, match="nothing is drawn"):
        trimmed(svg('<rect x="200" width="9" height="9"/>'), "x")


def test_without_the_renderer_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = util.find_spec
    monkeypatch.setattr(
        drawing, "find_spec", lambda name: None if name == "resvg_py" else real(name)
    )
    with pytest.raises(UserError, match=r"pip install 'chiasm\[render\]'") as caught:
        rasterised(SQUARE.encode(), "x")
    assert not isinstance(caught.value, BadSample)
