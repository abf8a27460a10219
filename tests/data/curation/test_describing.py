"""Synthetic captions: where they are wanted, from the right frame, with the old caption kept as a fact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tests.data.curation.labelled import item

from chiasm.base.errors import UserError
from chiasm.data.curation.describing import Describing, DescribingSettings
from chiasm.data.curation.step import Item, Pixels, Tools


def brightness(frames: Sequence[Pixels]) -> list[str]:
    """A describer that says something true."""
    said = {0: "", 255: "A white field"}
    return [said.get(int(frame.mean()), f"A grey of {int(frame.mean())}") for frame in frames]


def grey(value: int) -> Pixels:
    return np.full((4, 4, 3), value, np.uint8)


def step(**changes: object) -> Describing:
    return DescribingSettings.model_validate(changes).step(Tools(describe=brightness))


def with_facts(caption: str, value: int, **facts: float) -> Item:
    made = item(caption, grey(value))
    made.facts.update(facts)
    return made


def test_every_caption_can_be_replaced() -> None:
    [verdict] = step(mode="replace")([item("old", grey(7))])
    assert verdict.caption == "A grey of 7"
    assert verdict.facts == {"described": 1, "caption_before": "old"}


def test_only_poor_captions_are_replaced() -> None:
    items = [with_facts("a", 7, words=1), with_facts("b", 7, words=9), with_facts("", 7)]
    verdicts = step()(items)
    assert [v.caption for v in verdicts] == ["A grey of 7", None, "A grey of 7"]
    assert [v.facts["described"] for v in verdicts] == [1, 0, 1]
    scored = step(fact="alignment", below=0.3)(
        [with_facts("a", 7, alignment=0.29), with_facts("b", 7, alignment=0.3)]
    )
    assert [v.caption for v in scored] == ["A grey of 7", None]


def test_both_can_be_joined() -> None:
    texts = ("A wall", "A wall!", "", "A white field")
    verdicts = step(mode="join")([item(text, grey(255)) for text in texts])
    expected = ["A wall. A white field", "A wall! A white field", "A white field", "A white field"]
    assert [v.caption for v in verdicts] == expected


def test_a_video_is_described_by_its_middle() -> None:
    [verdict] = step(mode="replace")([item("", grey(1), grey(2), grey(3), seconds=1.0)])
    assert verdict.caption == "A grey of 2"


def test_a_model_that_says_nothing_changes_nothing() -> None:
    kept, dropped = step(mode="replace")([item("old", grey(0)), item(" ", grey(0))])
    assert (kept.reason, kept.caption) == ("", None)
    assert dropped.reason == "not_described"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UserError, match=r"Tools\.describe"):
        DescribingSettings().step(Tools())
    with pytest.raises(UserError, match='"words", which no step before'):
        step()([item("old", grey(7))])
    with pytest.raises(UserError, match='"language" is no number'):
        step(fact="language")([with_facts("a", 7, language="en")])  # type: ignore[arg-type]
