"""Changes: one thing and one thing only, known to be wrong, grammar kept, told exactly."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.data.dialogue.lexicon import DIRECTIONS, GROUPS, OBJECTS, plural
from chiasm.data.dialogue.perturb import FINDERS, changes, perturb

# (right text, kind, a wrong text that must be among the changes)
WANTED = [
    ("Two red cars stand left of the tree.", "colour", "Two blue cars stand left of the tree."),
    ("Two red cars stand to the left.", "number", "Three red cars stand to the left."),
    ("Two red cars stand to the left.", "object", "Two red buses stand to the left."),
    ("Two red cars stand to the left.", "direction", "Two red cars stand to the right."),
    ("An orange box is full.", "colour", "A red box is full."),
    ("A red box is full.", "colour", "An orange box is full."),
    ("A dog sleeps.", "object", "An elephant sleeps."),
    ("An elephant sleeps.", "object", "A dog sleeps."),
    ("Yes, there is a red circle.", "negation", "No, there is no red circle."),
    ("No, there is no blue square.", "negation", "Yes, there is a blue square."),
    ("No, there is no orange square.", "negation", "Yes, there is an orange square."),
    ("There are three cats.", "negation", "There are not three cats."),
    ("The sky is blue.", "negation", "The sky is not blue."),
    ("The sky is not blue.", "negation", "The sky is blue."),
    ("It isn't raining.", "negation", "It is raining."),
    ("The man has a hat.", "negation", "The man does not have a hat."),
    ("yes", "negation", "no"),
    ("No", "negation", "Yes"),
    ("7", "number", "8"),
    ("1", "number", "2"),
    ("1,234,567 people", "number", "2,234,567 people"),
    ("It costs 12.50 euros.", "number", "It costs 22.50 euros."),
    ("In 1984 it began.", "number", "In 1985 it began."),
    ("A cat sits on top of a box.", "direction", "A cat sits underneath a box."),
    ("A man stands in front of a house.", "direction", "A man stands behind a house."),
    ("north", "direction", "south"),
    ("The line rises.", "direction", "The line falls."),
    ("BLUE", "colour", "Red"),
]
# (text, kind): a rule that fires here would say the same in other words, or break the sentence
UNTOUCHED = [
    ("He left the house.", "direction"),
    ("All right, that is fine.", "direction"),
    ("Over 30 people came.", "direction"),
    ("She ate an orange.", "colour"),
    ("The orange on the table is round.", "colour"),
    ("One of them is late.", "number"),
    ("The ratio is 3:4.", "number"),
    ("Room B12 is here.", "number"),
    ("There is no red circle.", "colour"),
    ("There are no dogs.", "object"),
    ("It is not to the left of the tree.", "direction"),
    ("A dog and another dog.", "object"),
    ("Nothing is here.", "negation"),
    ("Nobody can see it.", "negation"),
    ("A quiet street at dusk.", "number"),
]


@pytest.mark.parametrize("text, kind, wrong", WANTED)
def test_a_text_can_be_made_wrong_in_this_way(text: str, kind: str, wrong: str) -> None:
    assert wrong in {change.text for change in FINDERS[kind](text)}


@pytest.mark.parametrize("text, kind", UNTOUCHED)
def test_a_text_is_left_alone_where_a_change_would_not_be_wrong(text: str, kind: str) -> None:
    assert list(FINDERS[kind](text)) == []


words = st.sampled_from(
    [
        *("a", "an", "the", "two", "seven", "12", "3.5", "1,200", "red", "orange", "grey", "gray"),
        *("dogs", "apple", "left", "to the left", "above", "in front of", "is", "are", "not", "no"),
        *("there is a", "yes,", "box", "tree.", "Yes,", "There", "has a", "behind", "square"),
    ]
)


@given(st.lists(words, min_size=1, max_size=9).map(" ".join))
def test_every_change_is_one_change_and_says_which(text: str) -> None:
    for change in changes(text):
        assert change.text != text and change.kind in FINDERS
        if change.kind == "negation":
            continue
        assert text[change.start : change.start + len(change.before)] == change.before
        tail = text[change.start + len(change.before) :]
        assert change.text.endswith(change.after + tail)
        # Before it nothing but an article may differ.
        lead = change.text[: len(change.text) - len(change.after + tail)]
        bare = re.compile(r"\b([Aa])n? $")
        assert bare.sub(r"\1 ", lead) == bare.sub(r"\1 ", text[: change.start])
        assert {"grey", "gray"} != {change.before.lower(), change.after.lower()}


@given(st.lists(words, min_size=1, max_size=9).map(" ".join), st.integers(0, 99))
def test_what_is_drawn_is_one_of_the_changes_and_the_same_each_time(text: str, seed: int) -> None:
    drawn = perturb(text, Random(seed))
    assert drawn == perturb(text, Random(seed))
    assert drawn in changes(text) if changes(text) else drawn is None
    only = perturb(text, Random(seed), ["colour"])
    assert only is None or only.kind == "colour"


def test_numbers_move_further_than_any_readers_tolerance() -> None:
    for number in ("7", "25", "99", "100", "847", "9999", "12.5", "0.31", "3,000"):
        value = float(number.replace(",", ""))
        for change in FINDERS["number"](f"The value is {number} units."):
            other = float(change.after.replace(",", ""))
            assert abs(other - value) >= 0.1 * value - 1e-9
            assert ("," in number) <= ("," in change.after or other < 1000)


def test_opposites_are_opposites_both_ways_and_groups_share_no_word() -> None:
    assert all(DIRECTIONS[DIRECTIONS[word]] == word for word in DIRECTIONS)
    nouns = [noun for group in GROUPS for noun in group]
    assert len(nouns) == len(set(nouns))
    assert all(word not in others for word, others in OBJECTS.items())
    assert [plural(n) for n in ("bus", "cherry", "monkey", "man", "dress", "torch")] == [
        *("buses", "cherries", "monkeys", "men", "dresses", "torches")
    ]
