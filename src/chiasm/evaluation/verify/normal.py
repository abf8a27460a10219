"""What the verifiers have in common: which part of a text is the answer, and when two texts are alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from chiasm.base.config import Settings


class Verifier(Settings):
    """Judges answers; its fields are those of the check that it was made from."""

    def right(self, answer: str) -> bool:
        """Return whether an answer in free words is right."""
        raise TypeError(f"{type(self).__name__} is only the form of a verifier")


_ALIKE = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff", None),
    }
)
_ENDS = " \t\r\n.,;:!?\"'*_()[]{}"
# Behind "Answer:" an "is" is the answer's own ("Answer: Is it late?"), and so is the sign of a number.
_MARKER = re.compile(
    r"\banswer\b(?:[^\w:]{0,9}(?:is|would be|must be)\b\W{0,9}?|\W{0,9}?)"
    r"(?=[\w(\[{<$\\]|[-+.−][\d.$\\])(.*)",
    re.I,
)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_LEAD = re.compile(
    r"^(?:(?:so|well|okay|ok|sure|indeed|(?:i|we) (?:think|believe|can see|see)|in the (?:picture|image)|"
    r"answer|(?:it|this|that|these|those|they|there|(?:the )?(?:answer|object|shape|colou?r|picture|image))"
    r"(?:'s|'re| is| are| was| were| shows?))[,:]? +(?:that )?)"
)
_ARTICLE = re.compile(r"^(?:an?|the) +(?=\S)")
NEGATION = re.compile(r"\b(?:not|never|neither|nor|cannot|without)\b|n't\b")
"""What turns a plain sentence into its opposite."""


def alike(text: str) -> str:
    """Return a text whose quotes, dashes and widths of letters are the plain ones."""
    return unicodedata.normalize("NFKC", text).translate(_ALIKE)


def plain(text: str) -> str:
    """Return a text in lower case, without marks around it and an article before it.

    Runs of white space, emphasis (`**`), underscores and hyphens between letters become one space.
    """
    text = re.sub(r"[*_\s]+|(?<=[^\W\d])-(?=[^\W\d])", " ", alike(text)).casefold()
    return _ARTICLE.sub("", text.strip(_ENDS))


def said(answer: str) -> str:
    r"""Return the part of a text that is the answer: behind "answer is", "Answer:", in \boxed{}, or all.

    Where several parts say so, all of them, one a line: what contradicts itself still does.
    """
    if found := _BOXED.findall(answer) or [match for match in _MARKER.findall(answer) if match]:
        return "\n".join(found)
    return answer


def short(answer: str) -> str:
    """Return `plain` of what is said, without the words that lead to it ("It is a ...")."""
    text = plain(said(answer))
    while (rest := _ARTICLE.sub("", _LEAD.sub("", text))) and rest != text:
        text = rest
    return text


def mentions(phrases: Iterable[str], text: str) -> tuple[list[tuple[int, str]], str]:
    """Find phrases as whole words in a plain text, longer ones first, each place once.

    Returns (where, phrase) in the order of the text, and the text with blanks in their places.
    """
    found: list[tuple[int, str]] = []
    for phrase in sorted(set(phrases), key=lambda p: (-len(p), p)):
        pattern = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)")
        found += [(match.start(), phrase) for match in pattern.finditer(text)]
        text = pattern.sub(lambda match: "\0" * len(match[0]), text)
    return sorted(found), text.replace("\0", " ")


def unfenced(answer: str) -> str:
    """Return what stands between the only pair of ``` of an answer, or all of it."""
    fenced = re.findall(r"```[\w-]*\n?(.*?)```", answer, re.S)
    return fenced[0] if len(fenced) == 1 else answer


def is_markup(text: str) -> bool:
    """Return whether a text's tags are closed, more or less: Python's parser takes minutes otherwise."""
    return text.count("<") <= text.count(">") + 100
