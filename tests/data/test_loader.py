"""The loader: a pure function of seed and step, that refuses, counts, and never replaces."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.data.loader import PackingLoader, Step
from chiasm.data.rows import BadSample
from chiasm.data.settings import LoadSettings
from chiasm.data.sources import Listed
from chiasm.inputs.batch import IGNORED
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Sample, Text
from chiasm.testing import (
    toy_crossed_config,
    toy_picture,
    toy_pixels,
    toy_prefix_config,
    toy_renderer,
    toy_sample,
)

QUESTIONS = 5


def record(number, questions=QUESTIONS):
    picture = toy_picture(number)
    return tuple(
        toy_sample(f"q{number}.{n}?", f"a{number}.{n}", [picture], key=f"{number}/{n}")
        for n in range(questions)
    )


def source(count=7, **replaced):
    records = [record(number) for number in range(count)]
    for number, other in replaced.items():
        records[int(number[1:])] = other
    return Listed("toys", tuple(records))


def loader(of=None, config=None, pixels=toy_pixels, **settings):
    config = config or toy_crossed_config()
    defaults = {"records": 3, "questions": 2, "max_skipped": 0.5}
    seen = []
    made = PackingLoader(
        source() if of is None else of,
        toy_renderer(config),
        pixels,
        LoadSettings(**(defaults | settings)),
        refused=lambda key, reason: seen.append((key, reason)),
    )
    made.seen = seen
    return made


def words_of(batch, renderer):
    """The trained text of each sample of a packed batch."""
    targets, segments = batch.targets[0], batch.segments[0]
    texts = []
    for segment in segments.unique().tolist():
        learned = targets[(segments == segment) & (targets != IGNORED)]
        texts.append(renderer.tokenizer.decode([t for t in learned.tolist() if t != renderer.end]))
    return texts


def answers(made, step):
    parts = made.step(step).batches
    return [text for part in parts for text in words_of(part, made.renderer)]


def test_an_epoch_shows_every_record_once_and_the_epochs_differ():
    made = loader(source(6), records=2, questions=1)
    epochs = [[answers(made, 3 * e + s) for s in range(3)] for e in range(2)]
    for epoch in epochs:
        shown = Counter(text.split(".")[0] for step in epoch for text in step)
        assert shown == Counter({f"a{n}": 1 for n in range(6)})
    assert epochs[0] != epochs[1]


def test_questions_rotate_until_all_were_asked():
    made = loader(source(1), records=1, questions=2)
    asked = [text for step in range(5) for text in answers(made, step)]
    assert Counter(asked) == Counter({f"a0.{n}": 2 for n in range(QUESTIONS)})


def test_a_step_depends_on_seed_and_step_alone():
    one, other = loader(), loader()
    far = other.step(11).batches
    for step in (3, 0, 11):
        one.step(step)
    assert (one.step(11).batches[0].tokens == far[0].tokens).all()
    assert answers(loader(seed=1), 0) != answers(loader(seed=0), 0)


def test_a_stream_from_the_middle_is_the_tail_of_the_whole_stream():
    whole = [part.tokens for parts in loader().stream(0, 6) for part in parts]
    tail = [part.tokens for parts in loader().stream(4, 6) for part in parts]
    assert all((a == b).all() for a, b in zip(whole[-len(tail) :], tail, strict=True))


def test_pictures_are_prepared_on_one_thread_and_the_model_keeps_all_of_its_own():
    before, seen = torch.get_num_threads(), []

    def pixels(picture):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return toy_pixels(picture)

    def fresh():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    try:
        torch.set_num_threads(2)
        for _ in loader(pixels=pixels).stream(0, 3):
            assert torch.get_num_threads() == fresh() == 2
    finally:
        torch.set_num_threads(before)
    assert seen and all(name.startswith("loader") and count == 1 for name, count in seen)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_micro_batches_hold_the_same_samples_however_many(parts):
    assert sorted(answers(loader(parts=parts), 2)) == sorted(answers(loader(), 2))
    assert len(loader(parts=parts).step(2).batches) == parts


@pytest.mark.parametrize(
    "config", [toy_crossed_config(), toy_prefix_config()], ids=lambda c: c.kind
)
def test_questions_about_one_picture_share_it(config):
    (batch,) = loader(config=config).step(0).batches
    assert batch.pictures == 3 and len(batch.segments.unique()) == 6


def test_refused_samples_are_counted_with_reasons_and_never_replaced():
    def gone():
        return BadSample("bad_row", "rows.jsonl, row 1")

    def pixels(picture):
        if picture.key == toy_picture(2).key:
            raise MediaError("broken", "two.png")
        return toy_pixels(picture)

    long = tuple(
        toy_sample("q " * 400, f"a4.{n}", [toy_picture(4)], key=f"4/{n}") for n in range(5)
    )
    question = Sample((Message("user", (Text("and now?"),)),), "5/0")
    silent = (question, *record(5)[1:])
    made = loader(
        source(r1=gone, r4=long, r5=silent), pixels=pixels, records=7, max_tokens=200, questions=5
    )
    (batch,) = next(made.stream(0, 1))
    kept = words_of(batch, made.renderer)
    assert sorted({text.split(".")[0] for text in kept}) == ["a0", "a3", "a5", "a6"]
    assert len(kept) == made.used == 19
    assert made.skipped == {"bad_row": 1, "broken": 5, "too_long": 5, "no_target": 1}
    assert sorted(reason for _, reason in made.seen) == sorted(made.skipped.elements())


def test_what_is_held_back_joins_after_its_records_and_nothing_else_changes():
    hard = r"^q\d+\.[13]\?"
    made = loader(questions=5, later=hard, later_from=4)
    for step in range(3):
        rows = [text.split(".") for text in answers(made, step)]
        places = range(3 * step, 3 * step + 3)
        waiting = sum(place < 4 for place in places)
        shown = Counter(number for _, number in rows)
        assert shown["0"] == shown["2"] == shown["4"] == 3
        assert shown["1"] == shown["3"] == 3 - waiting
    assert answers(made, 2) == answers(loader(questions=5), 2)


def test_a_record_of_which_all_is_held_back_gives_nothing_and_is_no_fault():
    made = loader(later="q", later_from=3)
    assert made.step(0) == Step()
    assert len(answers(made, 1)) == 6


def test_a_pattern_that_is_none_is_told():
    with pytest.raises(UserError, match=r"later.*regular expression"):
        from_record(LoadSettings, {"later": "(not"})


def test_a_run_stops_when_too_much_is_refused():
    def gone():
        return BadSample("bad_row", "rows.jsonl, row 1")

    made = loader(Listed("toys", (record(0), *[gone] * 6)), max_skipped=0.1)
    with pytest.raises(UserError, match="were refused"):
        list(made.stream(0, 40))


def test_the_count_survives_a_checkpoint():
    made = loader()
    list(made.stream(0, 2))
    other = loader()
    other.restore(made.record())
    assert (other.used, other.skipped) == (made.used, made.skipped)


def test_an_empty_source_is_an_error():
    with pytest.raises(UserError, match="holds no record"):
        loader(Listed("nothing", ()))
