"""Records of several sources in one row: read, decoded, or refused with the reason that belongs to them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.curation.pipeline_toys import (
    AloneSettings,
    BrightSettings,
    LengthSettings,
    ToyRecipe,
    toy,
)

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.output import side
from chiasm.data.curation.recipe import Recipe, names, origin, placed, stages, what
from chiasm.data.curation.records import Reader, Refused, changed, concept, encoded
from chiasm.data.curation.step import Item, Tools
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample
from chiasm.inputs.message import Picture, Shown, Video
from chiasm.inputs.video import FrameRule


def gif(count: int, side: int = 6) -> bytes:
    """An animation whose frame i is grey of 20 i, shown for 100 (i + 1) ms."""
    frames = [Image.new("L", (side, side), 20 * number) for number in range(count)]
    buffer = io.BytesIO()
    durations = [100 * (number + 1) for number in range(count)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations)
    return buffer.getvalue()


@dataclass(frozen=True)
class One:
    """A source of one record, made when it is read."""

    make: Callable[[], Pair]
    name: str = "one"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Pair:
        return self.make()


def reader(make: Callable[[], Pair], **settings: object) -> Reader:
    return Reader(Recipe(sources=("it",), **settings), lambda name: One(make))  # type: ignore[arg-type]


def pair(shown: Shown, caption: str = "Something.", **notes: str) -> Pair:
    return Pair("one/1", caption, shown, "one", "MIT", notes)


def test_a_video_is_seen_by_chosen_frames_with_their_times() -> None:
    found = reader(
        lambda: pair(Video(Picture(data=gif(4)))), frames=FrameRule(by="stride", stride=2)
    )
    try:
        read = found.read(0)
        item = Item(read.pair, "")
        found.decode(item)
    finally:
        found.close()
    assert [int(frame.mean()) for frame in item.frames] == [0, 40]
    assert item.times == (0.0, 0.3) and item.seconds == 1.0
    assert read.sha256 == sha256(gif(4)).hexdigest()


def raises(error: Exception) -> Callable[[], Pair]:
    def make() -> Pair:
        raise error

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (raises(BadSample("no_text", "there")), "no_text"),
        (raises(UserError("The licence file is lost.")), "refused"),
        (lambda: pair(Picture(path="nowhere/at/all.png")), "missing"),
        (lambda: pair(Video((Picture(data=gif(1)), Picture(data=gif(1))))), "frame_list"),
        (lambda: pair(Picture(data=gif(1)), "half \ud83d a face"), "bad_text"),
        (lambda: pair(Picture(data=gif(1)), page="half \ud83d a face"), "bad_text"),
    ],
)
def test_what_cannot_be_read_is_refused(make: Callable[[], Pair], reason: str) -> None:
    with pytest.raises(Refused) as why:
        reader(make).read(0)
    assert (why.value.part, why.value.reason) == ("read", reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"no picture", "not_a_picture"), (gif(3)[:40], "broken")],
)
def test_what_cannot_be_decoded_is_refused(data: bytes, reason: str) -> None:
    found = reader(lambda: pair(Picture(data=data)))
    with pytest.raises(Refused) as why:
        found.decode(Item(found.read(0).pair, ""))
    found.close()
    assert (why.value.part, why.value.reason) == ("decode", reason)


def test_what_a_source_says_is_all_of_its_fingerprint() -> None:
    came = reader(lambda: pair(Picture(data=gif(1)))).read(0).came
    others = (
        pair(Picture(data=gif(2))),
        pair(Picture(data=gif(1)), "Else."),
        pair(Picture(data=gif(1)), author="somebody"),
    )
    assert len({came, *(reader(lambda p=p: p).read(0).came for p in others)}) == 4  # type: ignore[misc]
    named = pair(Picture(data=gif(1)), concept="dog")
    assert concept(reader(lambda: named).read(0)) == "dog"


def test_a_changed_picture_loses_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    again = changed(pair(Picture(data=gif(1), path="a.jpg")), encoded(pixels))
    assert isinstance(again.shown, Picture) and again.shown.path == "a.png"
    with Image.open(io.BytesIO(again.shown.read())) as opened:
        assert np.array_equal(np.asarray(opened), pixels)


def test_positions_lead_into_the_sources_one_behind_the_other() -> None:
    found = Reader(Recipe(sources=("toy:a:3:0:1", "toy:b:0:0:1", "toy:c:2:0:1")), toy)
    assert [found.where(position) for position in range(len(found))] == [
        "a#0",
        "a#1",
        "a#2",
        "c#0",
        "c#1",
    ]


# ---- settings ----------------------------------------------------------------------------------


def test_steps_that_look_at_records_alone_share_a_stage() -> None:
    kinds = (LengthSettings, BrightSettings, AloneSettings, AloneSettings, LengthSettings)
    steps = [kind().step(Tools()) for kind in kinds]
    found = stages(steps)
    assert [(each.number, each.first, len(each.steps), each.whole) for each in found] == [
        (0, 0, 2, False),
        (1, 2, 1, True),
        (2, 3, 1, True),
        (3, 4, 1, False),
    ]
    assert names(steps) == ["length", "bright", "alone", "alone 2", "length 2"]
    assert [each.whole for each in stages(steps[2:3])] == [False, True]  # somebody must read first


class WithFile(Settings):
    """A step's settings that name a file."""

    words: Path | None = None


class FileRecipe(Recipe):
    """A recipe of such steps."""

    steps: tuple[WithFile, ...] = ()


def test_what_is_in_a_file_counts_and_not_its_name(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "words.txt").write_text(text)
    told = [what(FileRecipe(steps=(WithFile(words=tmp_path / n / "words.txt"),))) for n in "abc"]
    assert told[0] == told[1] != told[2] and str(tmp_path) not in str(told)
    folders = [what(FileRecipe(model=tmp_path / name)) for name in "abc"]
    assert folders[0] == folders[1] != folders[2]
    near = placed(FileRecipe(steps=(WithFile(words=Path("words.txt")),)))
    assert near.steps[0].words == Path.cwd() / "words.txt"
    how = what(ToyRecipe(workers=3, engine="ray", address="there", shard_records=7))
    assert how == what(ToyRecipe())


def test_an_origin_notices_other_files(tmp_path: Path) -> None:
    source = toy("toy:a:3:0:1")
    (tmp_path / "x.txt").write_text("one")
    before = origin(str(tmp_path), source)
    assert before == origin(str(tmp_path), source) and before.records == 3
    (tmp_path / "x.txt").write_text("longer")
    assert origin(str(tmp_path), source) != before
    assert origin("data:openmoji", source).files == ""


def test_the_share_of_test_is_kept_and_a_seed_draws_another() -> None:
    concepts = [f"concept {number}" for number in range(4000)]
    drawn = [side(1, 0.2, each) == "test" for each in concepts]
    assert abs(sum(drawn) / len(drawn) - 0.2) < 0.02
    # A larger share takes none back; another seed draws anew.
    more = [side(1, 0.3, each) == "test" for each in concepts]
    assert all(later or not now for now, later in zip(drawn, more, strict=True))
    assert [side(2, 0.2, each) == "test" for each in concepts] != drawn
    assert not any(side(1, 0.0, each) == "test" for each in concepts)
