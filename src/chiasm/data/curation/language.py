"""Which language a caption is written in, many captions at once.

    bytes ──► py3langid's automaton ──► features and counts ──► one sum of table rows per text ──► softmax
              all texts, byte by byte                            embedding_bag

The model is py3langid's (Naive Bayes over byte n-grams, Lui and Baldwin 2011), and so are the results; its
own loop in Python over the bytes of one text is what is replaced.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError, did_you_mean
from chiasm.data.curation.step import Fact, Item, Share, Tools, Verdict
from chiasm.data.curation.words import words_of

REASONS = {
    "other_language": "the caption is, with enough confidence, in no language that is wanted",
    "short": "the caption has too few words to tell its language",
    "uncertain": "the caption's language cannot be told with enough confidence",
}
_AT_ONCE = 2048  # texts whose scores are held together


class LanguageSettings(Settings):
    """Keep captions in the languages that are wanted."""

    kind: Literal["language"] = "language"
    """Language identification."""
    languages: tuple[str, ...] = ("en",)
    """Which languages to keep, by their ISO 639 codes."""
    words: NonNegativeInt = 5
    """A caption of fewer words is not judged: nobody can tell the language of "a taxi"."""
    confidence: Share = 0.95
    """A caption is judged when one side is so likely: the wanted languages together, or the best other."""
    uncertain: Literal["keep", "drop"] = "keep"
    """What happens to captions that are not judged, being too short or of uncertain language."""

    def step(self, tools: Tools) -> Language:
        """Return the step; UserError without py3langid, or for a language that it does not know."""
        known = _model().languages
        if not self.languages:
            raise UserError('`languages` names no language to keep: write for instance ["en"].')
        for language in self.languages:
            if language not in known:
                raise UserError(
                    f'Captions in "{language}" cannot be identified: use ISO 639 codes of two or three '
                    f"letters, such as en, de or zh.{did_you_mean(language, known)}"
                )
        return Language(self)


@dataclass(frozen=True)
class Language:
    """Drops captions in other languages; writes the facts `language` and `language_confidence`."""

    settings: LanguageSettings
    name: str = "language"
    looks: bool = False

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        model, s = _model(), self.settings
        wanted = np.isin(model.columns, s.languages)
        verdicts: list[Verdict] = []
        for start in range(0, len(items), _AT_ONCE):
            part = items[start : start + _AT_ONCE]
            likely = model.probabilities([item.caption for item in part]).astype(np.float64)
            ours, other = likely[:, wanted].sum(axis=1), likely[:, ~wanted].max(axis=1)
            verdicts += [
                self._judge(item, said, float(one), float(two))
                for item, said, one, two in zip(part, model.best(likely), ours, other, strict=True)
            ]
        return verdicts

    def _judge(self, item: Item, said: tuple[str, float], ours: float, other: float) -> Verdict:
        """Weigh the wanted languages together against the best other one.

        Against one, not all: neighbours such as Portuguese and Galician share what is likely.
        """
        s, (language, confidence) = self.settings, said
        wanted = ours / (ours + other)
        facts: dict[str, Fact] = {"language": language, "language_confidence": round(confidence, 4)}
        long = len(words_of(item.caption)) >= s.words
        reason = ""
        if long and 1 - wanted >= s.confidence:
            reason = "other_language"
        elif s.uncertain == "drop" and not long:
            reason = "short"
        elif s.uncertain == "drop" and wanted < s.confidence:
            reason = "uncertain"
        return Verdict(reason, f"{language}, {confidence:.2f}", facts=facts)


def identify(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return for each text its ISO 639 code and how sure that is, 0 to 1.

    As py3langid's `classify` with normalised probabilities; "und" does not occur. A text without any
    known feature (digits only) gets the first language with 1/142.

    Raises UserError without py3langid.
    """
    model = _model()
    found: list[tuple[str, float]] = []
    for start in range(0, len(texts), _AT_ONCE):
        found += model.best(model.probabilities(texts[start : start + _AT_ONCE]))
    return found


@dataclass(frozen=True)
class _Model:
    """py3langid's numbers as arrays: an automaton over bytes, and a table [features, languages]."""

    columns: tuple[str, ...]
    """The language of each column; a language written in two scripts has two."""
    follow: NDArray[np.int32]
    """The next state, at `row[state] + byte`."""
    row: NDArray[np.int32]
    feature: NDArray[np.int32]
    """The feature that is seen on entering a state, or -1."""
    table: Any
    """Tensor [features, columns] of log probabilities."""
    prior: NDArray[np.float32]
    aliases: tuple[tuple[int, int], ...]
    """Columns of one language: the first one, and another."""

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self.columns)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return [N, columns]; each row sums to 1 and depends on its own text alone."""
        import torch
        from torch.nn import functional as F

        data = [_bytes(text) for text in texts]
        if not data:
            return np.zeros((0, len(self.columns)), np.float32)
        texts_of, features, counts = self._counts(data)
        begins = torch.from_numpy(np.searchsorted(texts_of, np.arange(len(data))))
        weights = torch.from_numpy(np.log1p(counts.astype(np.float32)))
        scores = F.embedding_bag(
            torch.from_numpy(features), self.table, begins, mode="sum", per_sample_weights=weights
        ).numpy()
        seen = np.zeros((len(data), 1), np.float32)
        seen[texts_of] = 1  # a text without features has no prior either: all languages are equal
        scores = scores + seen * self.prior
        # The temperature that keeps long and short texts comparable: the root of the length.
        scores /= np.sqrt([[len(piece) or 1] for piece in data], dtype=np.float32)
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        for first, other in self.aliases:
            likely[:, first] += likely[:, other]
            likely[:, other] = 0
        found: NDArray[np.float32] = likely
        return found

    def best(self, likely: NDArray[Any]) -> list[tuple[str, float]]:
        """Return the most likely language of each row, and how likely it is."""
        places = likely.argmax(axis=1) if len(likely) else ()
        return [(self.columns[p], float(row[p])) for p, row in zip(places, likely, strict=True)]

    def _counts(self, data: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return (text, feature, how often), sorted by the first two."""
        lengths = np.fromiter((len(piece) for piece in data), np.int64, len(data))
        order = np.argsort(-lengths, kind="stable")  # those still to be read are always the first
        begins = (np.cumsum(lengths) - lengths)[order]
        flat = np.frombuffer(b"".join(data), np.uint8)
        reading = np.searchsorted(-lengths[order], -np.arange(1, lengths.max() + 1), side="right")
        state = np.zeros(len(data), np.int32)
        keys = [np.zeros(0, np.int64)]
        for place, count in enumerate(reading):
            now = self.follow[self.row[state[:count]] + flat[begins[:count] + place]]
            state[:count] = now
            feature = self.feature[now]
            seen = np.flatnonzero(feature >= 0)
            keys.append(order[seen] * np.int64(len(self.table)) + feature[seen])
        key = np.sort(np.concatenate(keys))
        first = np.flatnonzero(np.diff(key, prepend=-1))
        counts = np.diff(first, append=len(key))
        texts_of, features = np.divmod(key[first], len(self.table))
        return texts_of, features, counts


def _bytes(text: str) -> bytes:
    """The bytes that py3langid reads: composed, and in small letters where all are capitals."""
    text = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", text).encode("utf8", "surrogatepass")


@cache
def _model() -> _Model:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "Languages are identified by py3langid, which is not installed: pip install 'chiasm[data]'."
        ) from None
    import torch

    theirs = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    columns = tuple(theirs.nb_classes)
    return _Model(
        columns,
        np.asarray(theirs.tk_nextmove, dtype=np.int32),
        np.asarray(theirs.tk_row, dtype=np.int32) << 8,
        np.asarray(theirs.tk_output, dtype=np.int32),
        torch.from_numpy(np.asarray(theirs.nb_ptc, dtype=np.float32)),
        np.asarray(theirs.nb_pc, dtype=np.float32),
        tuple(
            (columns.index(name), i) for i, name in enumerate(columns) if i != columns.index(name)
        ),
    )
