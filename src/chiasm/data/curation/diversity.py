"""Captions that say something rare stay; of those that say what all say, some.

    resample   n-gram in f captions: stays with p = √(T / f); a caption stays when any of its n-grams does
    rarity     mean inverse document frequency of a caption's n-grams (TF-IDF); the rarest share stays

The first is what Llama 3 did (The Llama 3 Herd of Models, section 7.1.1; after MetaCLIP, Xu et al. 2023),
the second what is commonly told of it. Each decides by an item's key and the seed, never by its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.shingles import Hashes, Rows, grams, tokens
from chiasm.data.curation.step import Tools, Verdict

Floats = NDArray[np.float64]

CHUNK = 65_536
"""Captions whose words are hashed at a time."""


class ResampleSettings(Settings):
    """Keeps captions with rare n-grams, and of the others the fewer, the more frequent what they say is."""

    kind: Literal["resample"] = "resample"
    words: PositiveInt = 2
    """n-grams of 1 to so many words."""
    threshold: float = Field(100.0, gt=0.0)
    """T: an n-gram of fewer captions keeps each of them; one of f captions keeps each by √(T / f)."""
    least: PositiveInt = 5
    """n-grams of fewer captions count for nothing (names, slips of the pen) when no vocabulary is given."""
    vocabulary: Path | None = None
    """Text file of the n-grams that count, one a line, best from good writing, or null: the captions' own."""
    seed: int = 0
    """Decides which frequent captions stay."""

    def step(self, tools: Tools) -> Resample:
        """Return the step."""
        return Resample(self)


@dataclass(frozen=True)
class Resample:
    """Drops captions of which no n-gram was drawn; a caption without any n-gram that counts is kept."""

    settings: ResampleSettings
    name: str = "resample"
    needs: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(
        default_factory=lambda: {"common": "all that the caption says is said by many others"}
    )

    def __call__(self, table: Any) -> dict[int, Verdict]:
        given = self.settings
        rows = caption_grams(table["caption"].to_pylist(), given.words)
        known = None if given.vocabulary is None else _vocabulary(given.vocabulary, given.words)
        chances = keeping(rows, given.threshold, given.least, known)
        drawn = draws(table["key"].to_pylist(), f"{given.seed}/resample")
        lost = np.flatnonzero(drawn >= chances)
        return {int(row): Verdict("common", f"kept with chance {chances[row]:.2f}") for row in lost}


class RaritySettings(Settings):
    """Keeps the captions with the rarest n-grams."""

    kind: Literal["rarity"] = "rarity"
    words: PositiveInt = 2
    """n-grams of 1 to so many words."""
    keep: float = Field(0.8, gt=0.0, le=1.0)
    """The share of captions that stays."""
    by: Literal["top", "draw"] = "top"
    """top: those of the greatest score; draw: drawn without replacement, with the score as weight."""
    seed: int = 0
    """Decides what is drawn."""

    def step(self, tools: Tools) -> Rarity:
        """Return the step."""
        return Rarity(self)


@dataclass(frozen=True)
class Rarity:
    """Drops the captions of the least TF-IDF score; equal scores are told apart by key."""

    settings: RaritySettings
    name: str = "rarity"
    needs: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(
        default_factory=lambda: {"common": "the caption's words are those of many others"}
    )

    def __call__(self, table: Any) -> dict[int, Verdict]:
        given = self.settings
        scores = rarity(caption_grams(table["caption"].to_pylist(), given.words))
        drawn = draws(table["key"].to_pylist(), f"{given.seed}/rarity")
        # Efraimidis, Spirakis 2006: the greatest u^(1/w) are a draw by weight without replacement.
        order = scores if given.by == "top" else np.log(drawn) / np.maximum(scores, 1e-9)
        ranked = np.lexsort((drawn, order))
        lost = np.sort(ranked[: len(ranked) - round(len(ranked) * given.keep)])
        return {int(row): Verdict("common", f"score {scores[row]:.2f}") for row in lost}


def caption_grams(captions: Sequence[str], words: int) -> Rows:
    """Return the n-grams of 1 to `words` words of each caption, each once, ascending."""
    values, owners = [], []
    for at in range(0, len(captions), CHUNK):
        single = tokens(captions[at : at + CHUNK], "words")
        for n in range(1, words + 1):
            rows = grams(single, n)
            whole = single.lengths >= n  # not the one shingle of a text that is too short
            keep = whole[rows.owners]
            values.append(rows.values[keep])
            owners.append(rows.owners[keep] + at)
    if not values:
        return Rows(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    each, owner = np.concatenate(values), np.concatenate(owners)
    order = np.lexsort((each, owner))
    each, owner = each[order], owner[order]
    first = np.ones(len(each), bool)
    first[1:] = (each[1:] != each[:-1]) | (owner[1:] != owner[:-1])
    starts = np.concatenate(([0], np.cumsum(np.bincount(owner[first], minlength=len(captions)))))
    return Rows(each[first], starts)


def counted(rows: Rows) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
    """Return the different n-grams, in how many captions each is, and which one each value is."""
    known, which, counts = np.unique(rows.values, return_inverse=True, return_counts=True)
    return known, counts, which


def keeping(rows: Rows, threshold: float, least: int, known: Hashes | None = None) -> Floats:
    """Return with which chance each caption is kept, 1 - Π (1 - min(1, √(T / f))) over its n-grams.

    To draw each n-gram on its own and keep the caption if any was drawn is the same. n-grams of fewer
    than `least` captions, or outside `known` where it is given, do not count; without any, it is 1.
    """
    names, counts, which = counted(rows)
    valid = counts >= least if known is None else np.isin(names, known)
    missed = np.where(valid, 1 - np.minimum(1.0, np.sqrt(threshold / counts)), 1.0)
    with np.errstate(divide="ignore"):
        sums = np.bincount(rows.owners, np.log(missed)[which], minlength=len(rows))
    some = np.bincount(rows.owners, valid[which], minlength=len(rows)) > 0
    return np.where(some, 1 - np.exp(sums), 1.0)


def rarity(rows: Rows) -> Floats:
    """Return each caption's mean of log((1 + N) / (1 + f)) + 1 over its n-grams; 0 for one without."""
    _, counts, which = counted(rows)
    inverse = np.log((1 + len(rows)) / (1 + counts)) + 1
    sums = np.bincount(rows.owners, inverse[which], minlength=len(rows))
    return sums / np.maximum(rows.lengths, 1)


def draws(keys: Sequence[str], seed: str) -> Floats:
    """Return a number in (0, 1) for each key that depends on it and the seed alone."""
    start = blake2b(seed.encode(), digest_size=8)
    whole = bytearray()
    for key in keys:
        one = start.copy()
        one.update(b"/" + key.encode("utf-8", "surrogatepass"))
        whole += one.digest()
    return (np.frombuffer(bytes(whole), "<u8") / 2.0**64 + 2.0**-65).clip(2.0**-65, 1 - 2.0**-53)


def _vocabulary(path: Path, words: int) -> Hashes:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The vocabulary {path} cannot be read ({error}): give a UTF-8 file of n-grams."
        ) from None
    single = tokens(lines, "words")
    found = [grams(single, n).values[_rows_of(single, n)] for n in range(1, words + 1)]
    return np.unique(np.concatenate(found))


def _rows_of(single: Rows, n: int) -> NDArray[np.bool_]:
    """Which n-grams are a whole line of n words."""
    return (single.lengths == n)[grams(single, n).owners]
