"""Numbers in free text: digits, words, thousands, percent, units."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal, NamedTuple

from pydantic import Field

from chiasm.evaluation.verify.normal import NEGATION, Verifier, alike, said

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_ONES.split())}
_TENS = {word: 10 * value for value, word in enumerate(_DECADES.split(), start=2)}
_SCALE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ALONE: dict[str, Fraction] = {
    **dict.fromkeys(("no", "none", "nothing", "never", "nobody"), Fraction(0)),
    **{"once": Fraction(1), "twice": Fraction(2), "thrice": Fraction(3)},
    **{"half": Fraction(1, 2), "dozen": Fraction(12)},
}
_BEHIND = {"k": 10**3, "K": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9}
_UNITS: dict[str, tuple[str, Fraction]] = {
    **{"mm": ("length", Fraction(1, 1000)), "cm": ("length", Fraction(1, 100))},
    **{"m": ("length", Fraction(1)), "km": ("length", Fraction(1000))},
    **{
        "mg": ("mass", Fraction(1, 1000)),
        "g": ("mass", Fraction(1)),
        "kg": ("mass", Fraction(1000)),
    },
    **{
        "ms": ("time", Fraction(1, 1000)),
        "s": ("time", Fraction(1)),
        "h": ("time", Fraction(3600)),
    },
    **{"min": ("time", Fraction(60)), "%": ("share", Fraction(1, 100))},
    **{sign: (sign, Fraction(1)) for sign in "$€£¥°"},
}
_LONG = {
    **{"percent": "%", "per cent": "%", "metres": "m", "meters": "m", "metre": "m", "meter": "m"},
    **{"seconds": "s", "second": "s", "minutes": "min", "hours": "h", "kilograms": "kg"},
    **{"grams": "g", "kilometres": "km", "kilometers": "km", "centimetres": "cm", "dollars": "$"},
    **{"centimeters": "cm", "euros": "€", "pounds": "£", "degrees": "°", "usd": "$", "eur": "€"},
}
_DIGITS = (
    r"(?P<sign>(?<![\w.])-\s?|(?<![\w.])\+|(?:minus|negative)\s+)?(?P<money>[$€£¥]\s?)?"
    r"(?P<digits>(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?!\d|\.\d)|(?<![\w.])\.\d+)"
    r"(?P<power>[eE][-+]?\d{1,2}(?!\w))?(?P<over>/\d+(?![\w/]))?"
    r"(?:\s?(?P<behind>(?-i:k|K|M|mn|B|bn))(?!\w)|\s(?P<scale>hundred|thousand|million|billion|trillion)\b)?"
)
_WORD = "|".join([*_SMALL, *_TENS, *_SCALE])
_WORDS = (
    rf"(?P<minus>(?:minus|negative)\s+)?(?<![\w-])(?P<words>(?:an?\s+(?=(?:hundred|thousand|million|billion)))?"
    rf"(?:{_WORD})(?:[\s-]+(?:and\s+)?(?:{_WORD}))*(?:\s+point(?:\s+(?:{'|'.join(_SMALL)}))+)?)(?![\w-])"
)
_LONE = rf"(?<![\w-])(?P<lone>{'|'.join(_ALONE)})(?![\w-])"
_UNIT = re.compile(
    rf"\s*(?:({'|'.join(sorted(_LONG, key=len, reverse=True))}|mm|cm|km|mg|kg|ms|min|m|g|s|h)(?!\w)"
    r"|([%$€£¥°]))"
)
_NUMBER = re.compile(f"(?:{_DIGITS})|(?:{_WORDS})|(?:{_LONE})", re.I)
_LONGEST = 40
"""Characters of a number; a longer one is only known to be another one than ours."""
_ORDINAL = re.compile(r"\b\d+(?:st|nd|rd|th)\b", re.I)
_PRONOUN = re.compile(r"\b(?:the|this|that|each|every|which|another)\s+(?:[a-z]+\s+)?one\b", re.I)
_VAGUE = re.compile(r"\b(?:(?:more|less|fewer|greater|other) than|at (?:least|most)|up to)\b", re.I)


class Found(NamedTuple):
    """A number of a text, and the unit that stands at it ("" for none)."""

    value: Fraction
    unit: str


class Number(Verifier):
    """{"how": "number", "value": 7.5, "relative": 0.05, "absolute": 0, "unit": "%", "asked": [2019]}

    Right is a text with this number, in digits ("1,250", "1.25k", "5e3", "3/4") or words ("twenty-five",
    "none", "twice"), and no other: 5, 5.0 and "five" are the same. A difference up to `absolute` or up
    to `relative` times the value is allowed. Where the unit is "%", "45" and "45 %" are right for 45;
    where it is none, "45 %" is 0.45. A unit of length, mass or time is converted; another kind is wrong.
    """

    how: Literal["number"] = "number"
    value: float
    """The right number."""
    relative: float = Field(0.0, ge=0)
    """Allowed difference as a share of the value."""
    absolute: float = Field(0.0, ge=0)
    """Allowed difference."""
    unit: str = ""
    """What the value is measured in."""
    asked: tuple[float, ...] = ()
    """Numbers that the question names: an answer may repeat them ("In 2019 it was 7.5")."""

    def right(self, answer: str) -> bool:
        """Return whether this number, and no other one, is named."""
        text = said(answer)
        if text.count("=") == 1:
            text = text.partition("=")[2]
        found = numbers(text)
        if _VAGUE.search(text) or NEGATION.search(alike(text).casefold().replace("never", "")):
            return False
        kept = [one for one in found if float(one.value) not in self.asked] or found
        return bool(kept) and all(self._close(one) for one in kept) and len(set(kept)) == 1

    def _close(self, found: Found) -> bool:
        value = found.value
        if not self.unit:
            value = value / 100 if found.unit == "%" else value
        elif found.unit and found.unit != self.unit:
            ours, theirs = _UNITS.get(self.unit), _UNITS.get(found.unit)
            if ours is None or theirs is None or ours[0] != theirs[0]:
                return False
            value = value * theirs[1] / ours[1]
        allowed = max(self.absolute, self.relative * abs(self.value))
        # A float of the check is not quite the decimal that it stands for.
        slack = 1e-9 * max(1.0, abs(self.value))
        return abs(float(value) - self.value) <= allowed + slack


def numbers(text: str) -> list[Found]:
    """Return all numbers of a text in their order, as exact fractions.

    Ordinals ("2nd") and "the red one" are no numbers; neither are digits inside words ("Q3").
    """
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})", "", text)
    text = _PRONOUN.sub(" ", _ORDINAL.sub(" ", alike(text)))
    found = []
    for match in _NUMBER.finditer(text):
        if (value := _value(match)) is None:
            continue
        unit = _UNIT.match(text, match.end())
        named = (match["money"] or "").strip()
        if unit:
            named = named or unit[2] or _LONG.get(unit[1].lower(), unit[1])
        found.append(Found(value, named))
    return found


def _value(match: re.Match[str]) -> Fraction | None:
    if match["lone"]:
        return _ALONE[match["lone"].lower()]
    if match["words"]:
        value = _of_words(match["words"].lower())
        return -value if match["minus"] else value
    if len(match[0]) > _LONGEST:
        return Fraction(10**_LONGEST)
    value = Fraction(match["digits"].replace(",", "") + (match["power"] or ""))
    if match["over"]:
        if (below := int(match["over"][1:])) == 0:
            return None
        value /= below
    value *= _BEHIND.get(match["behind"] or "", 1)
    value *= _SCALE.get((match["scale"] or "").lower(), 1)
    return -value if match["sign"] and not match["sign"].startswith("+") else value


def _of_words(text: str) -> Fraction:
    whole, _, rest = text.partition(" point ")
    total = part = 0
    for word in re.findall(r"[a-z]+", whole):
        if word == "hundred":
            part = min((part or 1) * 100, 10**_LONGEST)
        elif word in _SCALE:
            total, part = total + (part or 1) * _SCALE[word], 0
        else:
            part += _SMALL.get(word, _TENS.get(word, 0))
    digits = "".join(str(_SMALL[word]) for word in rest.split())
    return Fraction(total + part) + (Fraction(int(digits), 10 ** len(digits)) if digits else 0)
