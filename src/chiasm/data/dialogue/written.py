"""Questions and answers that a language model writes from a caption, and which of them are used.

    caption ─► prompt ─► an LLM (passed in) ─► "Q: ... A: ..." ─► checked ─► Sample
                                                   └─ a reason, counted

The model has not seen the picture: an answer that says more than the caption is invented, and refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import PositiveInt

from chiasm.base.config import Settings
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Message, Sample, Text

Ask: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
"""Prompts to what a language model says to each."""

REASONS = {
    "no_pair": "the model wrote no question with an answer",
    "no_question": "what it asked is no question",
    "leak": "the question speaks of the caption or the description, which nobody sees",
    "not_in_caption": "the answer says something that the caption does not",
    "given_away": "the answer stands in the question already",
    "too_long": "the answer is longer than was allowed",
    "repeated": "the same question was asked before",
}
"""Why what a model wrote is not used."""

PROMPT = """Description: "Two girls ride a yellow bicycle in the park."
Q: Who rides the bicycle?
A: two girls
Q: What colour is the bicycle?
A: yellow
Q: Where is the bicycle?
A: in the park

Description: "A teapot."
Q: What is shown?
A: a teapot

Description: "{caption}"

Write up to {count} short questions in the same form about this last description only. Each answer stands \
in it."""
"""Two worked examples: a small model that is shown one form repeats its words as an answer."""

_MARK = r"^\W*(?:\d+[.)]\W*)?(?:{})\W*\d*\W*?[:.][\s*_]*(.+?)\s*"
_LINES = re.compile(
    _MARK.format("Q|Question") + r"\n+" + _MARK.format("A|Answer") + "$",
    re.MULTILINE | re.IGNORECASE,
)
_OF_NOBODY = re.compile(r"\b(caption|description|described|mentioned|text says)\b", re.IGNORECASE)
_SMALL = (
    "a an the and or of in on at to is are was were it its this that there with for by from as be has "
    "have yes no picture image photo shown shows showing one"
)
_FREE = frozenset(_SMALL.split())
"""Words that an answer may hold although the caption does not."""


class WrittenSettings(Settings):
    """What is asked of the model, and what is taken from it."""

    kind: Literal["written"] = "written"
    """Names these settings."""
    count: PositiveInt = 3
    """Questions asked for each caption."""
    words: PositiveInt = 12
    """Longest answer, in words."""
    grounded: bool = True
    """Refuse an answer with words that the caption does not hold."""
    batch: PositiveInt = 16
    """Captions given to the model at once."""


@dataclass
class Written:
    """What came of some captions."""

    samples: list[Sample] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """How many questions (or whole replies, for "no_pair") were refused, by reason."""


def prompt(caption: str, count: int) -> str:
    """Return what the model is told: the caption on one line, and what to write about it."""
    # A quotation mark within the caption would end it.
    return PROMPT.format(caption=" ".join(caption.split()).replace('"', "'"), count=count)


def write(pairs: Sequence[Pair], ask: Ask, settings: WrittenSettings | None = None) -> Written:
    """Let a model write questions about pairs from their captions.

    Every question is either a sample or counted in `refused`.
    """
    settings = settings or WrittenSettings()
    made = Written()
    for start in range(0, len(pairs), settings.batch):
        lot = pairs[start : start + settings.batch]
        prompts = [prompt(pair.caption, settings.count) for pair in lot]
        for pair, reply in zip(lot, ask(prompts), strict=True):
            _take(pair, reply, settings, made)
    return made


def _take(pair: Pair, reply: str, settings: WrittenSettings, made: Written) -> None:
    found = list(read(reply))
    if not found:
        made.refused["no_pair"] += 1
    seen: set[str] = set()
    for number, (question, answer) in enumerate(found):
        if reason := fault(question, answer, pair.caption, settings, seen):
            made.refused[reason] += 1
            continue
        seen.add(question.lower())
        asked = Message("user", (pair.shown, Text(question)))
        said = Message("assistant", (Text(answer),))
        made.samples.append(Sample((asked, said), f"{pair.key}/written/{number}"))


def read(reply: str) -> Iterator[tuple[str, str]]:
    """Yield the (question, answer) pairs of a reply."""
    for question, answer in _LINES.findall(reply):
        yield question.strip().strip('"'), answer.strip().strip('"')


def fault(
    question: str, answer: str, caption: str, settings: WrittenSettings, seen: set[str]
) -> str:
    """Return the reason why a question is not used, a key of REASONS; empty when it is."""
    said = _content(answer)
    held = _content(caption)
    checks = {
        "no_question": not question.endswith("?") or len(question.split()) < 3 or not answer,
        "leak": bool(_OF_NOBODY.search(question) or _OF_NOBODY.search(answer)),
        "too_long": len(answer.split()) > settings.words,
        "repeated": question.lower() in seen,
        "given_away": bool(said) and said <= _content(question),
        "not_in_caption": settings.grounded and not said <= held,
    }
    return next((reason for reason, found in checks.items() if found), "")


def _content(text: str) -> frozenset[str]:
    """The words that say something, without endings of number."""
    words = re.findall(r"[^\W_]+", text.lower())
    return frozenset(re.sub(r"(?<=[^s]{2})s$", "", word) for word in words if word not in _FREE)
