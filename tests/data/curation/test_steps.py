"""All steps by record: the same verdict whatever the neighbours, every reason reached, settings."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.curation.labelled import captions, clips, item, pictures, png, sentences
from tests.data.curation.matching import drawn, matching, planted
from tests.data.curation.test_describing import brightness, grey
from tests.data.curation.test_hooks import bright, face, flat, redness

from chiasm.base.config import Settings, as_record, from_record
from chiasm.base.errors import UserError
from chiasm.data.curation.alignment import AlignmentSettings, AlignmentShareSettings
from chiasm.data.curation.caption import CaptionSettings
from chiasm.data.curation.clips import ClipSettings
from chiasm.data.curation.describing import DescribingSettings
from chiasm.data.curation.hooks import FacesSettings, UnsafeSettings
from chiasm.data.curation.language import LanguageSettings
from chiasm.data.curation.ocr import ReadingSettings
from chiasm.data.curation.picture import PictureSettings
from chiasm.data.curation.step import Item, Tools, Verdict


def titles(pixels: Any) -> str:
    """A reader that finds words where a picture is bright below."""
    return "words that are written here" if pixels[-1].mean() > 128 else ""


def texts() -> list[Item]:
    return [item(text) for text, _ in [*captions(), *sentences()[::7]]]


def shown() -> list[Item]:
    wide = np.asarray(pictures(each=1)[5][0]).repeat(8, 0).repeat(8, 1)
    found = [item("A thing", pixels) for pixels, _ in pictures(each=2)]
    return [*found, item("A thing", wide), item("A thing", wide[:1000])]


def matched() -> list[Item]:
    rng = random.Random("clips")
    blue = [drawn("blue", "square", rng) for _ in range(3)]
    red = drawn("red", "circle", rng)
    pairs = [item(text, pixels) for pixels, text, _ in planted(24, 5)]
    clip, none = (
        item("a red circle", *blue, red, seconds=2.0),
        item("a red cross", *blue, seconds=2.0),
    )
    return [*pairs, clip, none]


def moving() -> list[Item]:
    found = [item("A film", *frames, seconds=s) for frames, s, _ in clips(each=1)]
    for each in found:
        if "overlaid_text" in each.caption:
            each.frames[0][-1] = 255
    text = [np.array(frame) for frame in clips(each=1)[0][0]]
    for frame in text:
        frame[-1] = 255
    return [*found, item("A film", *text, seconds=3.0)]


def faced() -> list[Item]:
    return [item("", face()), item("", grey(9)), item("", grey(9), face(), seconds=1.0)]


def described() -> list[Item]:
    return [item(text, grey(value)) for text in ("", "old words") for value in (0, 7, 255)]


def read() -> list[Item]:
    return [
        item(text, grey(value)) for text in ("A", "words that are written") for value in (0, 200)
    ]


TOOLS = Tools(read_text=titles, describe=brightness, unsafe=redness, faces=bright)
CASES: dict[str, tuple[list[Any], Any]] = {
    "language": ([LanguageSettings(), LanguageSettings(uncertain="drop")], texts),
    "caption": ([CaptionSettings(capitals="all"), CaptionSettings()], texts),
    "picture": ([PictureSettings(most=1100, bytes_per_pixel=0.05)], shown),
    "alignment": ([AlignmentSettings(least=0.7, least_frame=0.7, least_clip=0.7)], matched),
    "unsafe": ([UnsafeSettings()], lambda: [item("", flat(v)) for v in (0, 120, 128, 250)]),
    "faces": ([FacesSettings(), FacesSettings(mode="drop")], faced),
    "reading": ([ReadingSettings()], read),
    "describing": ([DescribingSettings(mode="join")], described),
    "clip": ([ClipSettings(text=0.5)], moving),
}


def built(settings: Any, tmp_path: Path) -> Any:
    if isinstance(settings, CaptionSettings):
        (tmp_path / "words").write_text("orange\n")
        settings = settings.model_copy(update={"forbidden": tmp_path / "words"})
    tools = matching() if settings.kind == "alignment" else TOOLS
    return settings.step(tools)


def told(verdict: Verdict) -> tuple[Any, ...]:
    frames = None if verdict.frames is None else [frame.tobytes() for frame in verdict.frames]
    return verdict.reason, verdict.note, verdict.caption, dict(verdict.facts), frames


@pytest.mark.parametrize("kind", CASES)
def test_neighbours_change_nothing(kind: str, tmp_path: Path) -> None:
    """Shuffled, in parts of any size, and alone: each item gets what it got among all."""
    several, make = CASES[kind]
    items = make()
    for settings in several:
        step = built(settings, tmp_path)
        whole = [told(verdict) for verdict in step(items)]
        assert len(whole) == len(items) and step([]) == []
        rng = random.Random(f"0/{kind}")
        order = rng.sample(range(len(items)), len(items))
        found: list[tuple[Any, ...]] = []
        while len(found) < len(order):
            part = order[len(found) : len(found) + rng.choice((1, 2, 5, 40))]
            found += [told(verdict) for verdict in step([items[i] for i in part])]
        assert found == [whole[i] for i in order]
        assert [told(verdict) for verdict in step(items)] == whole  # and nothing was changed


@pytest.mark.parametrize("kind", CASES)
def test_every_reason_is_reached_and_no_other(kind: str, tmp_path: Path) -> None:
    several, make = CASES[kind]
    found: set[str] = set()
    for settings in several:
        step = built(settings, tmp_path)
        assert step.name == kind == settings.kind
        verdicts = step(make())
        found |= {verdict.reason for verdict in verdicts} - {""}
        assert any(not verdict.reason for verdict in verdicts), "nothing is kept"
        types = {(name, type(v)) for each in verdicts for name, v in each.facts.items()}
        assert len({name for name, _ in types}) == len(types), "a fact has two types"
        assert {kind for _, kind in types} <= {str, int, float}
    assert found == set(step.reasons)
    assert all(said[0].islower() and said[-1] != "." for said in step.reasons.values())


@pytest.mark.parametrize("settings", [s for several, _ in CASES.values() for s in several])
def test_settings_go_to_plain_data_and_back(settings: Settings) -> None:
    assert from_record(type(settings), as_record(settings)) == settings
    for name, field in type(settings).model_fields.items():
        assert field.description and field.description.strip()[-1] == ".", f"{name} has no help"


def test_steps_look_only_where_they_must() -> None:
    assert not LanguageSettings().step(TOOLS).looks and not CaptionSettings().step(TOOLS).looks
    looking = (
        PictureSettings(),
        UnsafeSettings(),
        FacesSettings(),
        ReadingSettings(),
        ClipSettings(),
    )
    assert all(settings.step(TOOLS).looks for settings in looking)  # type: ignore[attr-defined]


def test_tools_that_are_missing_are_named() -> None:
    needing = (
        AlignmentSettings(),
        UnsafeSettings(),
        FacesSettings(),
        ReadingSettings(),
        DescribingSettings(),
    )
    for settings in needing:
        with pytest.raises(UserError, match=r"[Pp]ass a (function|two-tower model)"):
            settings.step(Tools())  # type: ignore[attr-defined]
    assert AlignmentShareSettings().step(Tools()).needs == ("alignment",)


def test_reading_the_settings_imports_nothing_heavy() -> None:
    names = "alignment caption clips describing hooks language ocr picture"
    script = f"import sys\nfor name in {names.split()}:\n    __import__('chiasm.data.curation.' + name)\n"
    heavy = "torch PIL py3langid rapidocr cv2 onnxruntime pyarrow daft"
    script += f"print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr + done.stdout


def test_toys_are_the_same_every_time() -> None:
    first, second = (b"".join(png(p) for p, _ in pictures(each=1)) for _ in range(2))
    assert first == second
