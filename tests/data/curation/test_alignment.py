"""Alignment: wrong captions found by a model trained here, videos by frame and clip, the lowest share."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.data.curation.labelled import item, scores
from tests.data.curation.matching import drawn, matching, planted

from chiasm.base.errors import UserError
from chiasm.data.curation.alignment import (
    Alignment,
    AlignmentSettings,
    AlignmentShareSettings,
)
from chiasm.data.curation.step import Tools


def step(**changes: object) -> Alignment:
    return AlignmentSettings.model_validate(changes).step(matching())


def test_planted_wrong_captions_are_found() -> None:
    """The floor is chosen on one set and measured on another."""
    known, new = planted(150, 1), planted(240, 2)
    seen = step(least=-1.0)([item(text, pixels) for pixels, text, _ in known])
    found = np.array([float(v.facts["alignment"] or 0) for v in seen])
    wrong = np.array([w for _, _, w in known])
    floor = (np.quantile(found[wrong], 0.95) + np.quantile(found[~wrong], 0.02)) / 2
    verdicts = step(least=float(floor))([item(text, pixels) for pixels, text, _ in new])
    precision, recall = scores([bool(v.reason) for v in verdicts], [w for _, _, w in new])
    print(f"alignment: floor {floor:.3f}, precision {precision:.4f}, recall {recall:.4f}")
    assert precision >= 0.93 and recall >= 0.9


def test_a_video_needs_one_good_frame_and_a_good_whole() -> None:
    rng = random.Random("video")
    red = [drawn("red", "circle", rng) for _ in range(4)]
    blue = [drawn("blue", "square", rng) for _ in range(4)]
    texts = ("a red circle", "a red circle", "a green cross")
    clips = (red, [*blue[:3], red[0]], blue)
    items = [item(text, *frames, seconds=2.0) for text, frames in zip(texts, clips, strict=True)]
    verdicts = step(least_frame=0.7, least_clip=0.7)(items)
    assert [v.reason for v in verdicts] == ["", "unaligned_clip", "unaligned_frame"]
    for verdict in verdicts:
        clip, best = verdict.facts["alignment"], verdict.facts["alignment_frame"]
        assert isinstance(clip, float) and isinstance(best, float) and clip <= best + 1e-5


def test_batches_change_nothing_but_the_last_digits() -> None:
    items = [item(text, pixels) for pixels, text, _ in planted(20, 3)]
    one, many = step()(items), step(batch=7)(items)
    for a, b in zip(one, many, strict=True):
        assert a.facts["alignment"] == pytest.approx(b.facts["alignment"], abs=2e-5)


def test_a_missing_tower_is_named() -> None:
    whole = matching()
    with pytest.raises(UserError, match="no tower for texts"):
        AlignmentSettings().step(replace(whole, embed_texts=None))
    with pytest.raises(UserError, match="no tower for pictures"):
        AlignmentSettings().step(Tools())


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 1), (0.29, 2), (0.3, 3), (1.0, 10)])
def test_the_lowest_share_is_dropped(share: float, count: int) -> None:
    scores = [0.5, 0.1, None, 0.3, 0.1, 0.9, 0.2, 0.4, 0.6, 0.7, 0.8]
    table = pa.table({"key": [f"{i:02}" for i in range(11)], "alignment": scores})
    found = AlignmentShareSettings(share=share).step(Tools())(table)
    # Of the two equal ones, the later key goes first; what has no score is not counted.
    assert list(found) == sorted([4, 1, 6, 3, 7, 0, 8, 9, 10, 5][:count])
    assert {v.reason for v in found.values()} <= {"lowest_alignment"}
