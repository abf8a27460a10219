"""Text as it grows: whole characters, and nothing of a stop text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.inference.utterance import Utterance
from chiasm.testing import toy_tokenizer

TOKENIZER = toy_tokenizer()


def pieces_of(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], Utterance]:
    utterance = Utterance(TOKENIZER, stop)
    pieces = [utterance.push(token) for token in TOKENIZER.encode(text)]
    return [*pieces, utterance.finish()], utterance


def test_characters_come_whole() -> None:
    pieces, utterance = pieces_of("né 🦊!")
    assert [piece for piece in pieces if piece] == ["n", "é", " ", "🦊", "!"]
    assert utterance.text == "né 🦊!" and not utterance.stopped


def test_a_character_that_never_ends_is_shown_as_such() -> None:
    utterance = Utterance(TOKENIZER)
    assert [utterance.push(token) for token in TOKENIZER.encode("🦊")[:2]] == ["", ""]
    assert utterance.finish() == "\ufffd"


texts = st.text(alphabet="abé🦊\n", max_size=12)


@given(texts, st.lists(st.text(alphabet="abé🦊\n", min_size=1, max_size=3), max_size=2))
def test_the_text_ends_before_the_first_stop(text: str, stop: list[str]) -> None:
    pieces, utterance = pieces_of(text, tuple(stop))
    found = [text.index(s) for s in stop if s in text]
    # Read character by character, the stop that is complete first counts.
    ends = [text.index(s) + len(s) for s in stop if s in text]
    expected = text
    if found:
        seen = text[: min(ends)]
        expected = text[: min(seen.index(s) for s in stop if s in seen)]
    assert "".join(pieces) == utterance.text == expected
    assert utterance.stopped == bool(found)


def test_what_may_become_a_stop_text_is_held_back() -> None:
    pieces, utterance = pieces_of("a\nb", ("\n\n",))
    assert pieces == ["a", "", "\nb", ""]
    pieces, utterance = pieces_of("a\n", ("\n\n",))
    assert pieces == ["a", "", "\n"] and utterance.text == "a\n"


def test_nothing_comes_after_a_stop() -> None:
    pieces, utterance = pieces_of("one. two. three", (". ",))
    assert "".join(pieces) == "one" and utterance.stopped
    assert utterance.push(97) == "" and utterance.finish() == ""


@pytest.mark.parametrize("stop", [("ab", "abc"), ("abc", "ab")])
def test_the_order_of_stop_texts_does_not_matter(stop: tuple[str, ...]) -> None:
    assert "".join(pieces_of("xxabc", stop)[0]) == "xx"
