"""Texts as rows of n-grams, all at once: what near-duplicates and diversity are counted in.

    "A red Apple!" ─► fold ─► letters "a red apple" ─┐
                         └──► words   a│red│apple  ──┴─► grams(2) ─► uint64, one row per text

Case, compatibility forms (Unicode's NFKC) and punctuation never make a difference. An n-gram is known
by a 64-bit hash of it; among a billion different n-grams, the chance that any two share one is 0.03.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]
Unit: TypeAlias = Literal["letters", "words"]

SPACE = np.uint64(32)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_POINTS = 0x110000
_LETTERLIKE = "LMNS"
"""Classes of characters that words are made of: letters, marks, numbers and symbols (emoji)."""


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths: row i is `values[starts[i]:starts[i + 1]]`."""

    values: Hashes
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Hashes:
        return self.values[self.starts[index] : self.starts[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The row that each value belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)


def mixed(values: Hashes) -> Hashes:
    """Return hashes whose every bit depends on every bit (the finaliser of splitmix64; Vigna 2015)."""
    out = values + _ODD
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return out ^ (out >> np.uint64(31))


def folded(text: str) -> str:
    """Return a text without differences of case and compatibility form, single spaces between its words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles(texts: Sequence[str], unit: Unit, n: int) -> Rows:
    """Return each text's n-grams of letters or words, in order, with repetitions.

    A text of fewer than n units is one shingle; one without letters, numbers and symbols has none.
    """
    return grams(tokens(texts, unit), n)


def tokens(texts: Sequence[str], unit: Unit) -> Rows:
    """Return each text's letters (a single space between words) or hashes of its words."""
    points = _points(texts)
    ends = np.flatnonzero(points == ord("\n"))
    text_of = np.zeros(len(points), np.int64)
    text_of[ends[:-1] + 1] = 1
    np.cumsum(text_of, out=text_of)
    inside = _letterlike(points)
    before = np.concatenate(([False], inside[:-1]))
    if unit == "words":
        return _words(points, inside, np.flatnonzero(inside & ~before), text_of, len(texts))
    keep = inside | before  # a word and the one separator behind it
    letters = np.where(inside, points, np.uint32(SPACE))[keep].astype(np.uint64)
    owner = text_of[keep]
    last = np.concatenate((owner[1:] != owner[:-1], [True]))[: len(owner)]
    trailing = last & (letters == SPACE)
    return _rows(letters[~trailing], owner[~trailing], len(texts))


def grams(rows: Rows, n: int) -> Rows:
    """Return the n-grams of each row of tokens; a row of fewer than n tokens, but some, has one."""
    if n < 1:
        raise ValueError("an n-gram has at least one token")
    owner, lengths = rows.owners, rows.lengths
    if not len(owner):
        return rows
    hashes = np.zeros(len(owner), np.uint64)
    length = lengths[owner]
    place = np.arange(len(owner)) - rows.starts[:-1][owner]
    for step in range(min(n, len(owner))):
        there = place + step < length
        shifted = np.zeros_like(hashes)
        shifted[: len(owner) - step] = rows.values[step:]
        hashes = np.where(there, hashes * _ODD + shifted + np.uint64(1), hashes)
    whole = (place + n <= length) | ((place == 0) & (length < n))
    return _rows(mixed(hashes[whole]), owner[whole], len(rows))


def _points(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Folded code points of all texts, a newline after each."""
    joined = "".join(text.replace("\n", " ") + "\n" for text in texts)
    folded_text = unicodedata.normalize("NFKC", joined).casefold()
    return np.frombuffer(folded_text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _letterlike(points: NDArray[np.uint32]) -> NDArray[np.bool_]:
    table = np.zeros(_POINTS, bool)
    table[points] = True
    present = np.flatnonzero(table)
    table[present] = [unicodedata.category(chr(point))[0] in _LETTERLIKE for point in present]
    return table[points]


def _words(
    points: NDArray[np.uint32],
    inside: NDArray[np.bool_],
    first: NDArray[np.int64],
    text_of: NDArray[np.int64],
    count: int,
) -> Rows:
    """Hashes of words: sums of their letters, each mixed with its place, so that order counts."""
    if not len(first):
        return _rows(np.zeros(0, np.uint64), np.zeros(0, np.int64), count)
    word_of = np.zeros(len(points), np.int64)
    word_of[first[1:]] = 1
    np.cumsum(word_of, out=word_of)
    place = (np.arange(len(points)) - first[word_of]).astype(np.uint64)
    each = mixed(points.astype(np.uint64) | (place << np.uint64(32)))
    each[~inside] = 0
    return _rows(mixed(np.add.reduceat(each, first)), text_of[first], count)


def _rows(values: Hashes, owner: NDArray[np.int64], count: int) -> Rows:
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=count), out=starts[1:])
    return Rows(values, starts)
