"""Balancing: each question gets each of its answers equally often, and nothing else changes."""

import random
from collections import Counter

from chiasm.data.balance import Balance, asked_and_said
from chiasm.data.rows import BadSample
from chiasm.data.sources import Listed
from chiasm.testing import toy_picture, toy_sample

SKEWED = (
    [("red?", "no")] * 7 + [("red?", "yes")] + [("what?", "circle")] * 3 + [("what?", "box")] * 3
)


def lopsided(records=60):
    """Records of eight questions, drawn from a pool in which "red?" is nearly always answered no."""
    chance = random.Random(0)
    return Listed(
        "lopsided",
        tuple(
            tuple(
                toy_sample(*chance.choice(SKEWED), [toy_picture(number)], key=f"{number}/{place}")
                for place in range(8)
            )
            for number in range(records)
        ),
    )


def test_weights_give_every_answer_of_a_question_the_same_total():
    source = lopsided()
    balance = Balance(source)
    totals = Counter()
    for number in range(len(source)):
        for sample in source[number]:
            totals[asked_and_said(sample)] += balance.weight(sample)
    for asked in ("red?", "what?"):
        shares = [total for (question, _), total in totals.items() if question == asked]
        assert max(shares) - min(shares) < 1e-9
    assert abs(sum(totals.values()) - 60 * 8) < 1e-9


def test_what_is_drawn_is_far_more_even_than_what_there_is():
    source = lopsided(400)
    balance = Balance(source)
    drawn = Counter()
    for number in range(len(source)):
        record = source[number]
        for place in balance.draw(record, 1, random.Random(number)):
            drawn[asked_and_said(record[place])] += 1
    assert balance.pairs["red?", "no"] > 5 * balance.pairs["red?", "yes"]
    assert drawn["red?", "no"] < 2 * drawn["red?", "yes"]


def test_a_draw_has_no_sample_twice_and_repeats_with_its_seed():
    source = lopsided()
    balance = Balance(source)
    once = balance.draw(source[3], 5, random.Random("a"))
    assert len(set(once)) == 5
    assert once == balance.draw(source[3], 5, random.Random("a"))
    assert any(once != balance.draw(source[3], 5, random.Random(seed)) for seed in range(5))


def test_a_bad_record_is_passed_over():
    good = lopsided(3).records
    source = Listed("some bad", (*good, lambda: BadSample("bad_row", "row 4")))
    assert Balance(source).pairs == Balance(lopsided(3)).pairs
