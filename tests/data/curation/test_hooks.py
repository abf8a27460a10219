"""Hooks: the worst frame decides, faces are blurred beyond recognition and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from tests.data.curation.labelled import item, noise_source

from chiasm.base.errors import UserError
from chiasm.data.curation.hooks import FacesSettings, UnsafeSettings, blur
from chiasm.data.curation.step import Pixels, Tools


def redness(frames: Sequence[Pixels]) -> list[float]:
    """A model in the place of one that knows: how red a picture is."""
    return [float(frame[:, :, 0].mean()) / 255 for frame in frames]


def bright(frame: Pixels) -> list[tuple[int, int, int, int]]:
    """A finder of faces that finds the bright rectangle, and one thing outside the picture."""
    rows, columns = np.nonzero(frame.min(axis=2) > 200)
    found = [(-5, -5, 3, 3)]
    if len(rows):
        found.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return found


def face(size: int = 40) -> Pixels:
    """A dark picture with a bright checkerboard of one pixel a square in it."""
    pixels = np.full((100, 120, 3), 30, np.uint8)
    board = np.indices((size, size)).sum(axis=0) % 2 * 50 + 205
    pixels[30 : 30 + size, 50 : 50 + size] = board[:, :, None]
    return pixels


def flat(red: int) -> Pixels:
    return np.full((8, 8, 3), (red, 0, 0), np.uint8)


def test_the_worst_frame_decides() -> None:
    step = UnsafeSettings(most=0.6).step(Tools(unsafe=redness))
    items = [item("", flat(100)), item("", flat(10), flat(250), seconds=1.0), item("", flat(153))]
    verdicts = step(items)
    assert [v.reason for v in verdicts] == ["", "unsafe", ""]
    assert [v.facts["unsafe"] for v in verdicts] == [0.3922, 0.9804, 0.6]


def test_faces_are_noted_dropped_or_blurred() -> None:
    tools, dark = Tools(faces=bright), np.full((100, 120, 3), 30, np.uint8)
    items = [
        item("", face()),
        item("", dark),
        item("", dark, face(), seconds=1.0),
        item("", face(8)),
    ]
    found = {
        mode: [v.reason for v in FacesSettings(mode=mode).step(tools)(items)]  # type: ignore[arg-type]
        for mode in ("note", "drop", "blur")
    }
    assert found["note"] == ["", "", "", ""]
    assert found["drop"] == ["faces", "", "faces", ""]
    assert found["blur"] == ["", "", "faces_in_video", ""]
    verdicts = FacesSettings().step(tools)(items)
    assert [v.facts["faces"] for v in verdicts] == [1, 0, 1, 0]  # the last is too small to matter
    assert json.loads(str(verdicts[0].facts["face_boxes"])) == [[[50, 30, 90, 70]]]
    assert [v.frames is not None for v in verdicts] == [True, False, False, False]


def test_blurred_pixels_cannot_be_told_and_others_stay() -> None:
    before = face()
    copy = before.copy()
    [verdict] = FacesSettings().step(Tools(faces=bright))([item("", before)])
    assert verdict.frames is not None
    after = verdict.frames[0]
    assert np.array_equal(before, copy) and after.shape == before.shape and after.dtype == np.uint8
    steps = [int(abs(np.diff(p[30:70, 50:90].astype(int), axis=1)).max()) for p in (before, after)]
    assert steps[0] == 50 and steps[1] <= 20
    inside = np.zeros(before.shape[:2], bool)
    inside[25:75, 45:95] = True
    assert np.array_equal(before[~inside], after[~inside])


def test_different_faces_of_the_same_mean_become_the_same() -> None:
    """What the box filter leaves is six spots a side: patterns inside a spot are gone."""
    one = face(48)
    other = one.copy()
    other[30:78, 50:98] = 460 - other[30:78, 50:98].astype(int)  # the checkerboard turned round
    box = [(50, 30, 98, 78)]
    grown = (slice(36, 72), slice(56, 92))
    difference = np.abs(blur(one, box)[grown].astype(int) - blur(other, box)[grown].astype(int))
    assert difference.max() <= 8 < np.abs(one[grown].astype(int) - other[grown].astype(int)).min()


def test_boxes_at_borders_and_of_any_shape() -> None:
    pixels = noise_source(0, "blur").integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for box in ((0, 0, 1, 1), (29, 19, 30, 20), (0, 0, 30, 20), (3, 0, 4, 20)):
        assert not np.array_equal(blur(pixels, [box]), pixels)
    assert np.array_equal(blur(pixels, []), pixels)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(UserError, match=r"Tools\.unsafe"):
        UnsafeSettings().step(Tools())
    with pytest.raises(UserError, match=r"Tools\.faces"):
        FacesSettings().step(Tools())
