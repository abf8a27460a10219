"""Charts by Vega-Lite: the same truth as matplotlib's, measured in the pixels."""

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

pytest.importorskip("matplotlib")
pytest.importorskip("vl_convert")

from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.data.render.vega import KINDS

[VEGA] = KINDS


def test_bars_are_as_long_as_the_data_says():
    """Bars begin at zero, so lengths are to one another as the values are."""
    seen = 0
    for number in range(14):
        drawn = draw(VEGA, number)
        kind, truth = drawn.truth["type"], drawn.truth
        if kind not in ("vega-bar", "vega-across"):
            continue
        picture = np.asarray(Image.open(io.BytesIO(drawn.data)).convert("RGB")).astype(int)
        ink = ImageColor.getrgb(truth["specification"]["config"]["bar"]["color"])
        mask = np.abs(picture - np.array(ink)).max(axis=2) < 4
        mask = mask.T if kind == "vega-across" else mask
        held = np.flatnonzero(np.diff(np.r_[0, (mask.sum(axis=0) > 4).astype(int), 0]))
        lengths = [mask[:, (a + b) // 2].sum() for a, b in zip(held[::2], held[1::2], strict=True)]
        values = np.array([float(row[1]) for row in truth["rows"][1:]])
        assert len(lengths) == len(values)
        assert np.abs(np.array(lengths) / max(lengths) - values / values.max()).max() < 0.02
        seen += 1
    assert seen >= 3


def test_every_question_has_one_answer():
    for number in range(10):
        every_answer_is_right_and_others_are_wrong(draw(VEGA, number))


def test_the_same_chance_draws_the_same_bytes_in_another_process():
    same_in_another_process("chiasm.data.render.vega")
