"""Whether a caption is a sentence that somebody wrote about a picture, or what a machine left behind.

    caption ─► repaired capitals ─► words, characters, repetition, letters ─► Verdict
                                     file names, addresses, markup, boilerplate

The rules are of the kind that Gopher (Rae et al. 2021, table A1) uses for web pages, at a caption's length.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.step import Item, Share, Tools, Verdict
from chiasm.data.curation.words import words_of
from chiasm.inputs.message import Video

REASONS = {
    "empty": "the caption has no letters",
    "too_few_words": "the caption has fewer words than wanted",
    "too_long": "the caption has more words or characters than wanted",
    "file_name": "the caption is the name of a file or the number that a camera gave",
    "address": "the caption is mostly a web or mail address",
    "markup": "the caption holds tags or code of the page that it comes from",
    "boilerplate": "the caption belongs to the page, not to the picture (click to enlarge)",
    "few_letters": "too small a share of the caption's characters are letters",
    "repetition": "too large a share of the caption repeats itself",
    "shouting": "the caption is all capitals, or holds rows of exclamation marks or symbols",
    "forbidden_word": "the caption holds a word of the list of forbidden ones",
}

_SUFFIX = (
    r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|svg|raw|cr2|nef|avif|mp4|mov|avi|webm|mkv|psd|pdf)"
)
_CAMERA = (
    r"(?:img|dsc[fn]?|pict?|pxl|vid|mvi|gopr|dji|p|image|photo|picture|foto|scan|screenshot|screen shot|"
    r"untitled|unnamed|download|file|capture|thumb(?:nail)?|whatsapp image|bild|figure|fig|slide|"
    r"shutterstock|istock|gettyimages|adobestock|default|banner|logo|icon|avatar|placeholder|"
    r"new project|copy of)"
)
_FILE_NAME = re.compile(
    rf"""^\W*(?:
      \S*{_SUFFIX}                                    # IMG_2039.JPG, any/path.png
    | [\w\- ().,]+{_SUFFIX}                           # my holiday (2).jpg
    | {_CAMERA}[\W_]*(?:\d[\d\W_]*(?:at|am|pm|x|copy|final|small|large|edited|wa\d+)?[\d\W_]*)+  # DSC 0001
    | (?:untitled|unnamed|download|placeholder|thumbnail|default|image|photo|picture|screenshot|logo|banner)
    | [0-9a-f]{{12,}}(?:[-_][0-9a-z]+)*               # a hash
    | (?=\S*\d)(?=\S*_)[\w\-]{{6,}}                   # holiday_beach_03: one word, underscores and digits
    | [a-z0-9]+(?:[-_][a-z0-9]+)*[-_]\d{{2,4}}x\d{{2,4}}   # red-bus-300x200
    )\W*$""",
    re.IGNORECASE | re.VERBOSE,
)
_ADDRESS = re.compile(
    r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}@[\w-]{1,63}\.\w{1,24}|"
    r"\b(?:[\w-]{1,63}\.){1,4}(?:com|org|net|info|biz|io|co\.uk|de|fr|ru|cn)\b(?:/\S*)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"</?[a-z][^<>]{0,500}>|&(?:[a-z]{2,8}|#\d{2,5}|#x[0-9a-f]{2,4});|\[/?(?:url|img|b|caption)[^\[\]]{0,200}\]|"
    r"\{\{.{0,100}?\}\}|<%.{0,100}?%>|\$\{\w{1,40}\}|%[a-z_]{1,40}%|(?:\w%[0-9a-f]{2}\w{0,40}){2}|"
    r"\w\(\)\s?;|\bfunction\s?\(|\bvar \w{1,40}\s?=|\{[^{};:]{0,80}:[^{};]{0,80};[^{}]{0,200}\}|"
    r"\[object Object\]",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"""\b(?:
      (?:click|tap|press)\s+(?:here\s+)?(?:(?:on\s+)?(?:the\s+)?(?:image|picture|photo)\s+)?(?:to|for)\s+
        (?:an?\s+|the\s+)?(?:enlarge|zoom|view|open|play|see|larger|bigger|full|download|expand|close|more)
    | click\s+here | (?:view|see)\s+(?:full\s+size|larger|original|image\s+in\s+full) | read\s+more
    | (?:image|photo|picture|video)\s+(?:may\s+contain|unavailable|loading|coming\s+soon)
    | (?:image|photo|picture|video)\s+not\s+(?:available|found)
    | no\s+(?:image|photo|picture|description|caption)(?:\s+(?:available|provided|found))?
    | (?:photo|image|picture)\s+(?:credit|courtesy|by|source|via)\s*:
    | all\s+rights\s+reserved | free\s+(?:shipping|download|returns) | add\s+to\s+(?:cart|basket|wishlist)
    | (?:buy|shop|order|subscribe|sign\s+up|log\s+in|register)\s+(?:now|today|here)
    | (?:share|follow\s+us|like\s+us|pin\s+it)\s+on\s+(?:facebook|twitter|pinterest|instagram)
    | share\s+this | related\s+(?:posts|articles|products) | previous\s+(?:post|image)|next\s+(?:post|image)
    | out\s+of\s+stock | in\s+stock | terms\s+(?:of\s+use|and\s+conditions) | cookies?\s+policy
    | lorem\s+ipsum | enable\s+javascript | your\s+browser\s+does\s+not
    | stock\s+(?:photo|image|vector|illustration|footage)s?
    | royalty[\s-]free | high[\s-]res(?:olution)?\s+(?:stock|download)
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_SPAM = re.compile(r"[!?]{3,}|([^\w\s.])\1{3,}|(?:[★☆♥❤►▶✓✔➤»«●■◆~*=#|<>^]\s*){4,}")
_LONGEST_NAME = 260  # characters of a file's name with its folders
_SAME = re.compile(r"([^\W\d])\1{4,}")
_SENTENCE = re.compile(r"(^\W*|[.!?]\s+)(\w)")


class CaptionSettings(Settings):
    """Keep captions that read as somebody's words about a picture."""

    kind: Literal["caption"] = "caption"
    """Caption quality."""
    words: PositiveInt = 2
    """Fewest words."""
    most_words: PositiveInt = 256
    """Most words."""
    most_characters: PositiveInt = 2000
    """Most characters."""
    letters: Share = 0.5
    """Smallest share of letters among the characters that are no spaces."""
    repeated: Share = 0.4
    """Largest share of the words that stand in repeated runs of words."""
    forbidden: Path | None = None
    """A text file of words and phrases, one a line, that no caption may hold; null for none."""
    capitals: Literal["leave", "videos", "all"] = "leave"
    """Whose capitals are repaired where a caption is all capitals or all small: nobody's, videos', all."""

    def step(self, tools: Tools) -> Caption:
        """Return the step; UserError when the list of forbidden words cannot be read."""
        if self.forbidden is None:
            return Caption(self)
        try:
            lines = self.forbidden.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"Cannot read forbidden words from {self.forbidden} ({error}): give a text file, one a line."
            ) from None
        return Caption(self, tuple(words for line in lines if (words := _folded(line))))


@dataclass(frozen=True)
class Caption:
    """Drops what is no caption; writes the facts `words`, `letters`, `repeated`."""

    settings: CaptionSettings
    forbidden: tuple[str, ...] = ()
    """Words and phrases, in small letters, one space between words."""
    name: str = "caption"
    looks: bool = False

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Verdict:
        s, text = self.settings, item.caption.strip()
        video = isinstance(item.pair.shown, Video)
        if s.capitals == "all" or (s.capitals == "videos" and video):
            text = repair_capitals(text)
        words = words_of(text)
        letters, repeated = letter_share(text), repetition(words)
        facts = {
            "words": len(words),
            "letters": round(letters, 4),
            "repeated": round(repeated, 4),
        }
        caption = text if text != item.caption else None
        tests: dict[str, Callable[[], bool]] = {
            "empty": lambda: letters == 0,
            "too_long": lambda: len(words) > s.most_words or len(text) > s.most_characters,
            "file_name": lambda: len(text) < _LONGEST_NAME and bool(_FILE_NAME.match(text)),
            "address": lambda: _share_of(_ADDRESS, text) > 0.4,
            "markup": lambda: bool(_MARKUP.search(text)),
            "boilerplate": lambda: bool(_BOILERPLATE.search(html.unescape(text))),
            "too_few_words": lambda: len(words) < s.words,
            "few_letters": lambda: letters < s.letters,
            "repetition": lambda: repeated > s.repeated or bool(_SAME.search(text)),
            "shouting": lambda: is_shouted(text),
            "forbidden_word": lambda: self._is_forbidden(text),
        }
        reason = next((reason for reason, holds in tests.items() if holds()), "")
        return Verdict(reason, text[:80], caption, facts=facts)

    def _is_forbidden(self, text: str) -> bool:
        said = f" {_folded(text)} "
        return any(f" {words} " in said for words in self.forbidden)


def repair_capitals(text: str) -> str:
    """Return a text that is all capitals, or has none, with capitals where sentences begin.

    A text of mixed case is returned as it is, and so are single words: they may be names. Names and
    abbreviations inside sentences that were all capitals cannot be told and become small.
    """
    letters = [c for c in text if c.isalpha() and c.lower() != c.upper()]
    if len(words_of(text)) < 2 or len(letters) < 4:
        return text
    if not (all(c.isupper() for c in letters) or all(c.islower() for c in letters)):
        return text
    text = _SENTENCE.sub(lambda found: found[1] + found[2].upper(), text.lower())
    return re.sub(r"\bi(?=\b(?:['’]|\W|$))", "I", text)


def letter_share(text: str) -> float:
    """Return the share of letters and the signs that belong to them among what is no space."""
    marks = [c for c in text if not c.isspace()]
    return sum(c.isalpha() or _joins(c) for c in marks) / len(marks) if _any_letter(marks) else 0.0


def _any_letter(marks: list[str]) -> bool:
    return any(c.isalpha() for c in marks)


def _joins(character: str) -> bool:
    """Vowel signs of scripts such as Devanagari are no letters by themselves."""
    import unicodedata

    return unicodedata.category(character) in ("Mn", "Mc")


def repetition(words: Sequence[str]) -> float:
    """Return the largest share of the words that stand in runs which come again and again.

    Runs of two or three words count when they come three times ("New York, New York" does not), runs of
    five when they come twice; of one word what goes beyond four times counts: "the" may come often.
    """
    said = [word.lower() for word in words]
    if len(said) < 4:
        return 0.0
    shares = [sum(count - 4 for count in Counter(said).values() if count > 4) / len(said)]
    for n, times in ((2, 3), (3, 3), (5, 2)):
        runs = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
        count = Counter(runs)
        covered = {i + k for i, run in enumerate(runs) if count[run] >= times for k in range(n)}
        shares.append(len(covered) / len(said))
    return max(shares)


def is_shouted(text: str) -> bool:
    """Whether a text of three words or more is all capitals, or any text holds rows of symbols."""
    letters = [c for c in text if c.isalpha() and c.lower() != c.upper()]
    capitals = sum(c.isupper() for c in letters)
    loud = len(words_of(text)) >= 3 and len(letters) >= 8 and capitals > 0.8 * len(letters)
    return loud or bool(_SPAM.search(text))


def _share_of(pattern: re.Pattern[str], text: str) -> float:
    return sum(len(found[0]) for found in pattern.finditer(text)) / max(1, len(text))


def _folded(text: str) -> str:
    return " ".join(word.casefold() for word in words_of(text))
