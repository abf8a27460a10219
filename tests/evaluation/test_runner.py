"""Each sample is asked once and counted once, whatever the batches, limits and damages."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.toys import Listed, asked, counting, look, seen, shade, shades, task

from chiasm.base.errors import UserError
from chiasm.evaluation.runner import blank_picture, run
from chiasm.evaluation.task import Prompt, Task
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Picture, Sample, Text, Video

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


@given(SIZES, st.integers(1, 20))
def test_each_sample_once_for_any_batch_size(sizes: list[int], batch: int) -> None:
    answer, batches = counting()
    result = run(task(sizes), answer, batch=batch, quiet=True)
    wanted = [f"{i}/{n}" for i, size in enumerate(sizes) for n in range(size)]
    assert [row.key for row in result.rows] == wanted
    assert sum(map(len, batches)) == len(wanted)
    assert max(map(len, batches)) <= batch
    assert result.total.right == result.total.count == len(wanted)
    assert not result.refused


@given(SIZES, st.integers(1, 20), st.integers(1, 60))
def test_a_limit_is_exact_and_always_the_same_samples(
    sizes: list[int], batch: int, limit: int
) -> None:
    first = run(task(sizes), look, limit=limit, batch=batch, quiet=True)
    again = run(task(sizes), look, limit=limit, batch=3, quiet=True)
    keys = [row.key for row in first.rows]
    assert len(keys) == len(set(keys)) == min(limit, sum(sizes))
    assert keys == [row.key for row in again.rows]
    assert first.total.accuracy == 1.0


def test_a_limit_does_not_only_take_the_front_of_the_source() -> None:
    rows = run(task([2] * 100), look, limit=20, quiet=True).rows
    assert max(row.place[0] for row in rows) > 50


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        run(task([1]), look, limit=limit, quiet=True)


@given(SIZES, st.integers(1, 20))
def test_questions_about_one_picture_stay_in_one_batch(sizes: list[int], batch: int) -> None:
    """A picture is encoded once for a batch; a record is cut only where it must be."""
    answer, batches = counting()
    run(task(sizes), answer, batch=batch, quiet=True)
    held = Counter(shade for part in batches for shade in {seen(p)[0] for p in part})
    for number, size in enumerate(sizes):
        assert held[number] == -(-size // batch)


def test_full_batches() -> None:
    answer, batches = counting()
    run(task([3] * 40), answer, batch=10, quiet=True)
    assert [len(part) for part in batches] == [9] * 13 + [3]


# ---- damage ------------------------------------------------------------------------------------


def test_a_damaged_record_is_reported_and_nothing_stands_in_for_it() -> None:
    records = list(shades([2, 2, 2]).records)
    records[1] = None
    result = run(Task("toy", Listed(records)), look, quiet=True)
    assert [row.key for row in result.rows] == ["0/0", "0/1", "2/0", "2/1"]
    assert result.refused == (("shades/1", "record 1 is damaged."),)
    assert result.total.count == 4


def fussy(prompts: Sequence[Prompt]) -> list[str]:
    """Cannot use the picture of shade 3, as an engine that decodes a whole batch."""
    if any(3 in seen(prompt) for prompt in prompts):
        raise MediaError("broken", "3.png")
    return look(prompts)


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_a_picture_that_cannot_be_used_costs_only_its_own_questions(batch: int) -> None:
    result = run(task([2, 3, 1, 4, 2, 2]), fussy, batch=batch, quiet=True)
    assert sorted(key for key, _ in result.refused) == ["3/0", "3/1", "3/2", "3/3"]
    assert all("3.png is damaged" in why for _, why in result.refused)
    assert result.total.right == result.total.count == 10


def test_nothing_that_can_be_asked_is_an_error() -> None:
    with pytest.raises(UserError, match="No sample of shades could be asked: record 0 is damaged"):
        run(Task("toy", Listed([None])), look, quiet=True)
    with pytest.raises(UserError, match="holds no record"):
        run(task([0]), look, quiet=True)


def test_a_sample_without_an_answer_is_refused_by_its_key() -> None:
    lonely = Sample((Message("user", (Text("?"),)),), "lonely")
    records = [(lonely, asked(0, 5, Picture(data=shade(0))))]
    result = run(Task("toy", Listed(records)), look, quiet=True)
    assert [key for key, _ in result.refused] == ["lonely"]
    assert [row.place for row in result.rows] == [(0, 1)]


def test_an_answerer_that_loses_an_answer_is_found_out() -> None:
    with pytest.raises(ValueError, match="4 prompts were answered by 3 texts"):
        run(task([4]), lambda prompts: look(prompts)[1:], quiet=True)


# ---- which pictures are shown ------------------------------------------------------------------


@given(SIZES, st.integers(1, 20))
def test_blank_shows_everybody_the_same_grey_picture(sizes: list[int], batch: int) -> None:
    answer, batches = counting()
    result = run(task(sizes), answer, images="blank", batch=batch, quiet=True)
    assert all(seen(prompt) == [122] for part in batches for prompt in part)
    assert result.total.count == sum(sizes)
    assert blank_picture() is blank_picture()


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12).filter(lambda s: sum(map(bool, s)) > 1))
def test_shuffled_shows_each_record_the_picture_of_one_other(sizes: list[int]) -> None:
    records = [record for record in shades(sizes).records if record]
    answer, batches = counting()
    result = run(Task("toy", Listed(records)), answer, images="shuffled", quiet=True)
    shown = [seen(prompt) for part in batches for prompt in part]
    own = [int(row.truth.split()[0]) for row in result.rows]
    assert len(shown) == sum(sizes)
    assert all(
        len(pictures) == 1 and pictures != [mine] for pictures, mine in zip(shown, own, strict=True)
    )
    # A record's questions are shown one picture, and every picture is shown to one record.
    pairs = {(mine, other) for (other,), mine in zip(shown, own, strict=True)}
    assert len(pairs) == len({other for _, other in pairs}) == len(records)
    assert result.total.right == 0


def test_shuffled_skips_what_is_equal_or_cannot_be_read() -> None:
    """Rows about one picture may be records of their own, as in Parquet files."""
    same = [(asked(0, n, Picture(data=shade(0))),) for n in range(5)]
    other = (asked(7, 0, Picture(data=shade(7))),)
    answer, batches = counting()
    run(Task("toy", Listed([*same, None, other])), answer, images="shuffled", quiet=True)
    assert [seen(p) for part in batches for p in part] == [[7]] * 5 + [[0]]


def test_shuffled_fills_samples_of_several_pictures_and_leaves_texts_alone() -> None:
    pair = Message("user", tuple(Picture(data=shade(i)) for i in (1, 2)))
    reply = Message("assistant", (Text("x"),))
    text = Message("user", (Text("no picture"),))
    records = [
        (Sample((pair, reply)),),
        (Sample((text, reply)),),
        *([record] for record in shades([1] * 9).records[4:]),
    ]
    records = [tuple(r) if isinstance(r[0], Sample) else r[0] for r in records]
    answer, batches = counting(lambda prompts: ["x"] * len(prompts))
    run(Task("toy", Listed(records)), answer, images="shuffled", quiet=True)
    shown = [seen(p) for part in batches for p in part]
    assert len(shown[0]) == 2 and not {1, 2} & set(shown[0])
    assert shown[1] == []


def test_videos_are_made_blank_and_shuffled_like_pictures() -> None:
    """Each kind is replaced by its own kind, in its place."""

    def shown(i: int) -> tuple[Video, Picture]:
        frames = (Picture(data=shade(i)), Picture(data=shade(i + 1)))
        return Video(frames), Picture(data=shade(50 + i))

    reply = Message("assistant", (Text("x"),))
    records = [(Sample((Message("user", (*shown(i), Text("?"))), reply)),) for i in range(3)]
    answer, batches = counting(lambda prompts: ["x"] * len(prompts))
    toy = Task("toy", Listed(records))
    run(toy, answer, images="blank", quiet=True)
    given = [prompt[-1].parts for batch in batches for prompt in batch]
    assert given == [(Video(blank_picture()), blank_picture(), Text("?"))] * 3
    batches.clear()
    run(toy, answer, images="shuffled", quiet=True)
    given = [prompt[-1].parts[:2] for batch in batches for prompt in batch]
    assert sorted(map(repr, given)) == sorted(repr(shown(i)) for i in range(3))
    assert all(other != shown(i) for i, other in enumerate(given))


def test_shuffled_needs_another_picture() -> None:
    with pytest.raises(UserError, match="no other pictures"):
        run(task([3]), look, images="shuffled", quiet=True)


# ---- results -----------------------------------------------------------------------------------


def test_shares_add_up_and_the_record_is_json() -> None:
    toy = task([3, 4, 2])
    result = run(toy, lambda prompts: ["0 1"] * len(prompts), quiet=True)
    shares = result.shares()
    assert (shares.total.right, shares.total.count) == (1.0, 9)
    assert {k: (s.right, s.count) for k, s in shares.kinds.items()} == {
        "even": (0, 5),
        "odd": (1, 4),
    }
    assert shares.truths["0 1"].right == 1.0
    assert result.shares("zero").total.right == 1.0
    for groups in (shares.kinds, shares.truths):
        assert sum(s.count for s in groups.values()) == 9
    record = json.loads(json.dumps(result.record(), allow_nan=False))
    assert record["accuracy"] == pytest.approx(1 / 9)
    assert record["baselines"]["zero"]["kinds"]["even"]["right"] == 1.0
    assert record["samples"][1] == {
        "key": "0/1",
        "place": [0, 1],
        "question": "shade and 1?",
        "truth": "0 1",
        "answer": "0 1",
        "score": 1.0,
        "kind": "odd",
        "baselines": {"zero": 0.0},
    }


def test_a_score_may_lie_between_right_and_wrong() -> None:
    half = replace(task([2, 2]), score=lambda answer, sample: 0.25)
    assert run(half, look, quiet=True).total.accuracy == 0.25


def test_progress_is_told_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    run(task([1, 2]), look)
    assert "toy, right 2/2  accuracy 1" in capsys.readouterr().out
    run(task([1, 2]), look, quiet=True)
    assert capsys.readouterr().out == ""
