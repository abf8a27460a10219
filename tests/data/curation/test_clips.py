"""Videos: planted still, flickering, blank, titled, short and long ones found; moving ones kept."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.curation.labelled import clips, item, scores

from chiasm.base.errors import UserError
from chiasm.data.curation.clips import Clips, ClipSettings, differences
from chiasm.data.curation.ocr import rapid_reader
from chiasm.data.curation.step import KEPT, Tools


def step(**changes: object) -> Clips:
    return ClipSettings.model_validate(changes).step(Tools())


def test_planted_clips_are_found_and_moving_ones_are_kept() -> None:
    rows = [row for row in clips(each=8) if row[2] != "overlaid_text"]
    verdicts = step()([item("", *frames, seconds=seconds) for frames, seconds, _ in rows])
    precision, recall = scores([bool(v.reason) for v in verdicts], [bool(r) for *_, r in rows])
    print(f"clip: precision {precision:.4f}, recall {recall:.4f} of {len(rows)}")
    assert precision >= 0.97 and recall >= 0.97
    assert [v.reason for v in verdicts if v.reason] == [r for *_, r in rows if r]


def test_overlaid_text_is_found_by_a_real_reader() -> None:
    rows = [row for row in clips(each=1, seed=4) if row[2] in ("", "overlaid_text")]
    read = ClipSettings(text=0.4, text_frames=1).step(Tools(read_text=rapid_reader()))
    verdicts = read([item("", *frames, seconds=seconds) for frames, seconds, _ in rows])
    assert [v.reason for v in verdicts] == [reason for *_, reason in rows]
    assert {v.facts["text_share"] for v in verdicts} == {0.0, 1.0}


@pytest.mark.parametrize(("texts", "share"), [("yyyn", 0.75), ("nnnn", 0.0), ("yn", 0.5)])
def test_the_share_of_frames_with_text_decides(texts: str, share: float) -> None:
    """Each frame is read by its number, which its brightness tells."""
    frames = [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(len(texts))]
    for frame in frames:
        frame[:32] += 60

    def read(pixels: np.ndarray) -> str:  # type: ignore[type-arg]
        return "text " * 9 if texts[pixels[-1, 0, 0] // 40] == "y" else "no"

    for limit, reason in ((share - 0.01, "overlaid_text"), (share, "")):
        if limit >= 0:
            made = ClipSettings(text=limit, cut=0.9).step(Tools(read_text=read))
            [verdict] = made([item("", *frames, seconds=2.0)])
            assert (verdict.reason, verdict.facts["text_share"]) == (reason, share)


def test_facts_and_pictures() -> None:
    frames = next(frames for frames, _, reason in clips(each=1) if not reason)
    video, picture = step()([item("", *frames, seconds=2.5), item("", frames[0])])
    assert picture == KEPT
    assert video.facts["seconds"] == 2.5 and video.facts["cuts"] == 0
    assert isinstance(video.facts["motion"], float) and video.facts["motion"] > 0.02
    [one] = step()([item("", frames[0], seconds=2.5)])  # one frame only: nothing can move
    assert one.reason == "still"


def test_a_cut_is_counted() -> None:
    frames = [row[0] for row in clips(each=1) if not row[2]]
    [verdict] = step(cut=0.02)([item("", *frames[0][:4], *frames[2][:4], seconds=2.0)])
    assert isinstance(verdict.facts["cuts"], int) and verdict.facts["cuts"] >= 1


def test_differences_have_a_known_size() -> None:
    black, white = np.zeros((64, 48, 3), np.uint8), np.full((64, 48, 3), 255, np.uint8)
    half = black.copy()
    half[:32] = 255
    found = differences([black, white, half, half])
    assert found.shape == (3, 1024)
    assert np.allclose(found.mean(axis=1), [1, 0.5, 0], atol=1e-6)


def test_a_missing_reader_is_named() -> None:
    with pytest.raises(UserError, match=r"Tools\.read_text"):
        step(text=0.5)
