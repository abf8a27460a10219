"""Near pictures: hashes, alignment, and precision and recall on a labelled set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.curation import planted

from chiasm.data.curation.align import differences
from chiasm.data.curation.duplicates import ExactSettings
from chiasm.data.curation.hamming import neighbours
from chiasm.data.curation.near_pictures import NearPicturesSettings, PictureHashSettings
from chiasm.data.curation.near_text import NearTextSettings
from chiasm.data.curation.step import Item, Tools
from chiasm.data.curation.thumbs import SIDE, hashes, thumb

TOOLS = Tools()


@pytest.fixture(scope="module")
def labelled():
    return planted.labelled()


@pytest.fixture(scope="module")
def whole(labelled):
    return planted.table(labelled, PictureHashSettings().step(TOOLS))


def drawn(number, change=None):
    pixels = planted.drawn(number, "near")
    return pixels if change is None else np.ascontiguousarray(change(pixels))


def apart(one, other):
    return float(differences(np.stack((thumb(one), thumb(other))), np.array([0]), np.array([1]))[0])


# ---- the labelled set ----------------------------------------------------------------------------


def test_planted_near_duplicates_are_found_and_others_are_not(labelled, whole):
    """What the issue asks: recall 0.95 at precision 0.98. Here both are 1; of real pictures, docs/lab.md."""
    recall, precision, missed, wrong = planted.judged(
        labelled, NearPicturesSettings().step(TOOLS)(whole)
    )
    assert recall >= 0.95, missed
    assert precision >= 0.98, wrong


@pytest.mark.parametrize("what", [*planted.CHANGES, "caption edited"])
def test_every_sort_of_planted_duplicate_is_found(labelled, whole, what):
    lost = NearPicturesSettings(keep="first").step(TOOLS)(whole)
    by_key = {one.key: number for number, one in enumerate(labelled)}
    pairs = [(n, by_key[one.origin]) for n, one in enumerate(labelled) if one.what == what]
    assert len(pairs) == 40
    assert sum(one in lost or other in lost for one, other in pairs) >= 0.95 * len(pairs)


def test_pairs_are_near_where_picture_and_caption_are(labelled, whole):
    """A changed picture keeps its caption here, or a changed caption its picture: both are near pairs."""
    found = NearTextSettings().step(TOOLS)(whole)
    recall, precision, missed, wrong = planted.judged(labelled, found)
    assert recall >= 0.95, missed
    assert precision >= 0.98, wrong


def test_near_pictures_of_other_captions_and_near_captions_of_other_pictures_are_no_near_pairs():
    red, blue = drawn(0), drawn(3)
    rows = [
        planted.Planted("a", "a red apple on a table", red, ""),
        planted.Planted("b", "a red apple on the table", blue, ""),
        planted.Planted("c", "what my uncle gave to me", red, ""),
        planted.Planted("d", "a red apple on the table!", planted.resized(red, _Half()), ""),
    ]
    found = NearTextSettings().step(TOOLS)(planted.table(rows, PictureHashSettings().step(TOOLS)))
    assert {row: verdict.note for row, verdict in found.items()} == {0: "like d"}


class _Half:
    def choice(self, _):
        return 0.5


def test_the_largest_picture_stays():
    small, large = drawn(0, lambda p: planted.resized(p, _Half())), drawn(0)
    rows = [planted.Planted("a", "", small, ""), planted.Planted("b", "long", large, "")]
    whole = planted.table(rows, PictureHashSettings().step(TOOLS))
    assert set(NearPicturesSettings().step(TOOLS)(whole)) == {0}
    assert set(NearPicturesSettings(keep="first").step(TOOLS)(whole)) == {1}


def test_the_result_is_the_same_whatever_else_there_is(labelled, whole):
    """Rows in other company, and hashes in another order, make the same groups."""
    step = NearPicturesSettings(keep="first").step(TOOLS)
    half = [row for row, one in enumerate(labelled) if one.origin < "set/8"]
    part = step(whole.take(half))
    assert {half[row] for row in part} == {
        row for row in step(whole) if labelled[row].origin < "set/8"
    }


# ---- hashes --------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2), max_size=20),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_neighbours_are_those_of_comparing_all_with_all(rows, radius, chance):
    for _ in range(len(rows)):  # and some that are near
        row = list(chance.choice(rows))
        for bit in chance.sample(range(64), chance.randint(0, 12)):
            row[0] ^= 1 << bit
        rows.append(row)
    values = np.array(rows, np.uint64).reshape(-1, 2)
    expected = {
        (i, j)
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if any(
            (one ^ two).bit_count() <= radius
            for whole, parts in ((rows[i][0], rows[j]), (rows[j][0], rows[i]))
            for one in parts
            for two in (whole,)
        )
    }
    found = [tuple(map(int, pair)) for pairs in neighbours(values, radius) for pair in pairs]
    assert set(found) == expected and len(found) == len(expected)


def test_hashes_bear_brightness_and_see_another_picture():
    thumbs = np.stack([thumb(drawn(number)) for number in range(12)])
    darker = (thumbs * 0.8).astype(np.uint8)
    first, second = hashes(thumbs)[:, 0], hashes(darker)[:, 0]
    assert np.bitwise_count(first ^ second).max() <= 4
    assert np.bitwise_count(first[:, None] ^ first)[~np.eye(12, dtype=bool)].min() > 4


def test_a_video_has_no_hash_and_is_like_nothing():
    step = PictureHashSettings().step(TOOLS)
    one = planted.item(planted.Planted("a", "", drawn(0), ""))
    video = Item(one.pair, "", one.frames * 2, (0.0, 1.0), 2.0)
    still, moving = step([one, video])
    assert moving.facts == {"phash": None, "thumb": None, "area": None}
    assert len(still.facts["thumb"]) == SIDE * SIDE * 3
    assert -(2**63) <= still.facts["phash"] < 2**63


# ---- alignment -----------------------------------------------------------------------------------


def test_what_is_the_same_but_for_place_and_light_differs_little():
    for number in range(9):
        plain = drawn(number)
        assert apart(plain, plain) == 0
        assert apart(plain, drawn(number, lambda p: p[5:, 3:])) < 0.25
        assert apart(plain, drawn(number, lambda p: (p * 0.9).astype(np.uint8))) < 0.25
        framed = drawn(number, lambda p: np.pad(p, ((2, 2), (2, 2), (0, 0))))
        assert apart(plain, framed) < 0.25


def test_one_thing_in_another_colour_differs():
    for number in range(9):
        sibling = planted.drawn(number, "near", changed=True)
        assert apart(drawn(number), sibling) > 0.25 or np.array_equal(drawn(number), sibling)


# ---- equal bytes ---------------------------------------------------------------------------------


def test_equal_pictures_are_dropped_with_equal_captions_or_with_any():
    red, blue = drawn(0), drawn(3)
    said = [("A red\tapple", red), ("a  RED apple", red), ("another", red), ("a red apple", blue)]
    rows = [planted.Planted(str(n), *both, "") for n, both in enumerate(said)]
    whole = planted.table(rows)
    same = ExactSettings().step(TOOLS)
    assert {row: (v.reason, v.note) for row, v in same(whole).items()} == {
        1: ("same_pair", "like 0")
    }
    loose = ExactSettings(captions="any").step(TOOLS)
    assert {row: v.reason for row, v in loose(whole).items()} == {1: "same_pair", 2: "same_picture"}
    assert set(same.reasons) < set(loose.reasons)
