"""Pictures: planted junk found, what people show kept, at any size and shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data.curation.labelled import item, pictures, scores

from chiasm.data.curation.picture import (
    Pictures,
    PictureSettings,
    neighbours_alike,
    plain_share,
)
from chiasm.data.curation.step import Tools


def step(**changes: object) -> Pictures:
    return PictureSettings.model_validate(changes).step(Tools())


def test_planted_junk_is_found_and_pictures_are_kept() -> None:
    rows = pictures()
    verdicts = step()([item("", pixels) for pixels, _ in rows])
    precision, recall = scores([bool(v.reason) for v in verdicts], [bool(r) for _, r in rows])
    print(f"picture: precision {precision:.4f}, recall {recall:.4f} of {len(rows)}")
    assert precision >= 0.98 and recall >= 0.98
    assert {(r, v.reason) for v, (_, r) in zip(verdicts, rows, strict=True) if r} == {
        (r, r) for _, r in rows if r
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_other_draws_give_the_same_answers(seed: int) -> None:
    rows = pictures(each=5, seed=seed)
    verdicts = step()([item("", pixels) for pixels, _ in rows])
    assert [v.reason for v in verdicts] == [reason for _, reason in rows]


def test_a_large_file_of_nothing_and_a_huge_side() -> None:
    wide = np.asarray(Image.linear_gradient("L").resize((900, 700)).convert("RGB"))
    assert len(item("", wide).pair.shown.read()) < 0.02 * 900 * 700  # type: ignore[union-attr]
    assert [v.reason for v in step(bytes_per_pixel=0.5)([item("", wide)])] == ["too_few_bytes"]
    assert [v.reason for v in step(most=800)([item("", wide)])] == ["too_large"]
    [kept] = step()([item("", wide)])
    assert kept.reason == "" and kept.facts == {"width": 900, "height": 700}


def test_a_file_is_measured_where_it_lies(tmp_path: object) -> None:
    from pathlib import Path

    from chiasm.data.curation.step import Item
    from chiasm.data.pairs import Pair
    from chiasm.inputs.message import Picture

    pixels, _ = pictures(each=1)[0]
    path = Path(str(tmp_path)) / "a.png"
    Image.fromarray(pixels).save(path)
    from_file = Item(Pair("a", "", Picture(path=str(path)), "toys"), "", (pixels,))
    size = path.stat().st_size / pixels[:, :, 0].size
    assert [v.reason for v in step(bytes_per_pixel=size * 0.99)([from_file])] == [""]
    assert [v.reason for v in step(bytes_per_pixel=size * 1.01)([from_file])] == ["too_few_bytes"]


def test_a_video_is_blank_when_all_of_it_is() -> None:
    blank, scene = np.zeros((80, 80, 3), np.uint8), pictures(each=1)[0][0][:80, :80]
    kept, dropped = item("", blank, scene, seconds=2.0), item("", blank, blank, seconds=2.0)
    assert [v.reason for v in step()([kept, dropped])] == ["", "blank"]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_measures_hold_for_any_shape(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert 0 <= plain_share(pixels) <= 1
    assert -1 - 1e-9 <= neighbours_alike(pixels) <= 1 + 1e-9
    assert plain_share(np.full_like(pixels, seed)) == 1
    assert neighbours_alike(np.full_like(pixels, seed)) == 1
