"""A right answer made wrong by one small, meaningful change, and a note of what was changed.

    "Two red cars stand left of the tree."
      number     Three red cars stand left of the tree.
      colour     Two blue cars ...
      object     Two red buses ...
      direction  ... stand right of the tree.
      negation   There is no car.        There is a car.   (where a rule is sure of the grammar)

Of a sentence that denies something only the denial is changed: "no red car" made "no blue car" may
stay true.

Llama 3 trains its reward model on such negatives (paper, section 7.5.4: "numbers or visual text").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from chiasm.data.dialogue.lexicon import COLOURS, DIRECTIONS, NUMBERS, OBJECTS, SAME

_VOWEL = re.compile(r"[aeiou]", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One way to make a text wrong."""

    kind: str
    before: str
    """The words that were changed."""
    after: str
    """What stands in their place."""
    start: int
    """Where they stood in the right text, in characters."""
    text: str
    """The whole wrong text."""


def changes(text: str) -> list[Change]:
    """Return every single change that is known to make a text wrong, in the order of the text."""
    found = [change for finder in FINDERS.values() for change in finder(text)]
    return sorted(found, key=lambda c: (c.start, c.kind, c.after))


def perturb(text: str, chance: Random, kinds: Sequence[str] = ()) -> Change | None:
    """Return one change of a text, its kind drawn first; None where no rule applies.

    Raises KeyError for a kind that is not in FINDERS.
    """
    ways = [list(FINDERS[kind](text)) for kind in kinds or FINDERS]
    ways = [way for way in ways if way]
    return chance.choice(chance.choice(ways)) if ways else None


# ---- words -------------------------------------------------------------------------------------


def _replaced(kind: str, text: str, start: int, before: str, after: str) -> Change:
    """One word for another: capitals kept, and "a" or "an" before it made to fit."""
    if before[:1].isupper():
        after = after[:1].upper() + after[1:]
    lead, tail = text[:start], text[start + len(before) :]
    if article := re.search(r"\b([Aa])n?( )$", lead):
        n = "n" if _VOWEL.match(after) else ""
        lead = lead[: article.start()] + article[1] + n + article[2]
    return Change(kind, before, after, start, lead + after + tail)


_DENIAL = re.compile(r"\b(no|not|none|never|nothing|nobody|without|neither|nor)\b|n['’]t\b", re.I)


def _affirmed(pattern: str, text: str) -> Iterator[re.Match[str]]:
    """What a pattern finds in the sentences that deny nothing."""
    start = 0
    for stop in (*re.finditer(r"[.!?](?=\s|$)", text), None):
        end = len(text) if stop is None else stop.end()
        if not _DENIAL.search(text, start, end):
            yield from re.compile(pattern, re.IGNORECASE).finditer(text, start, end)
        start = end


def _once(word: str, text: str) -> bool:
    """A word that stands twice cannot be changed in one place without a contradiction."""
    return len(re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)) == 1


def _numbers(text: str) -> Iterator[Change]:
    digits = r"(?<![\w.,/:-])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w:/]|[.,]\d)"
    places = [match.span() for match in _PLACE.finditer(text)]
    for found in _affirmed(digits, text):
        if any(start <= found.start() < stop for start, stop in places):
            continue
        alone, year = not re.search(r"[A-Za-z]", text), bool(_DATED.search(text[: found.start()]))
        for after in _other_numbers(found[0], alone, year):
            yield Change(
                "number",
                found[0],
                after,
                found.start(),
                text[: found.start()] + after + text[found.end() :],
            )
    # "one" is left out: it may be a pronoun, and its noun stands in the singular.
    for found in _affirmed(r"\b(" + "|".join(NUMBERS[2:]) + r")\b", text):
        place = NUMBERS.index(found[0].lower())
        for other in (place - 1, place + 1, place + 2):
            if 2 <= other < len(NUMBERS):
                yield _replaced("number", text, found.start(), found[0], NUMBERS[other])


_PLACE = re.compile(r"[(\[]\s*-?[\d.]+(?:\s*,\s*-?[\d.]+)+\s*[)\]]")
"""A point or a box: how far one of its numbers may move, nobody knows who has not seen the thing."""
_DATED = re.compile(r"\b(?:in|since|until|before|after|by|from|year|of) $", re.IGNORECASE)
"""What stands before a year; without it "1779" may be an amount."""


def _other_numbers(number: str, alone: bool, dated: bool) -> Iterator[str]:
    """Other numbers written in the same way, at least a tenth away: no reader's tolerance takes them."""
    whole, point, decimals = number.replace(",", "").partition(".")
    value = int(whole + decimals)
    is_year = dated and len(number) == 4 and number.isdigit() and 1500 <= value < 2100
    size = 10 ** (len(str(value)) - 1)
    steps = {1, 2, 3, 10} if is_year else {1, 2, 3, size // 10, size // 2, size, 2 * size}
    for other in sorted({value + sign * step for step in steps for sign in (-1, 1)}):
        near = other == value or (not is_year and 10 * abs(other - value) < value)
        # To and from 1, a noun behind it would have to change its number.
        if other < 0 or near or (not alone and not point and 1 in (value, other)):
            continue
        digits = str(other).rjust(len(decimals) + 1, "0")
        cut = len(digits) - len(decimals)
        yield (f"{int(digits[:cut]):,}" if "," in number else digits[:cut]) + point + digits[cut:]


def _colours(text: str) -> Iterator[Change]:
    for found in _affirmed(r"\b(" + "|".join(COLOURS) + r")\b", text):
        word = found[0].lower()
        if not _once(word, text) or (word == "orange" and _is_fruit(found, text)):
            continue
        same = next((group for group in SAME if word in group), frozenset({word}))
        for other in COLOURS:
            if other not in same and other != "gray" and not re.search(rf"\b{other}\b", text, re.I):
                yield _replaced("colour", text, found.start(), found[0], other)


def _is_fruit(found: re.Match[str], text: str) -> bool:
    """ "an orange." and "the orange on the table" are fruit; "an orange car" is not."""
    before, after = text[: found.start()], text[found.end() :]
    noun = re.match(r" (?!on\b|in\b|is\b|and\b|at\b|with\b|of\b|to\b|that\b|was\b)\w", after)
    return bool(re.search(r"\b(an|the|one|this|that) $", before, re.I)) and not noun


def _directions(text: str) -> Iterator[Change]:
    words = sorted(DIRECTIONS, key=len, reverse=True)
    for found in _affirmed(r"\b(" + "|".join(words) + r")\b", text):
        word = found[0].lower()
        if _once(word, text) and _is_place(word, found, text):
            yield _replaced("direction", text, found.start(), found[0], DIRECTIONS[word])


def _is_place(word: str, found: re.Match[str], text: str) -> bool:
    """Whether "left", "right" and such mean a place: "he left", "all right", "over 30" do not."""
    before, after = text[: found.start()], text[found.end() :]
    if word in ("left", "right"):
        # An answer of one word is one, too.
        alone = not re.search(r"\w", before + after)
        beside = re.search(
            r"\b(the|to|upper|lower|top|bottom|its|far|my|your|his|her) $", before, re.I
        )
        ahead = re.match(r"( |-)(side|hand|of|corner|edge|half|part|end|arm|leg|eye)\b", after)
        return alone or bool(beside or ahead)
    if word in ("over", "under", "above", "below", "more", "fewer", "up", "down", "top", "last"):
        return not re.match(r" (\d|than\b|to\b|of the time|year|week|month|night)", after)
    return True


def _objects(text: str) -> Iterator[Change]:
    for found in _affirmed(r"\b[A-Za-z]+\b", text):
        for other in OBJECTS.get(found[0].lower(), ()):
            if _once(found[0], text) and not re.search(rf"\b{other}\b", text, re.IGNORECASE):
                yield _replaced("object", text, found.start(), found[0], other)


# ---- yes and no --------------------------------------------------------------------------------

_NEGATIONS: tuple[tuple[str, str], ...] = (
    # (what stands there, what stands there instead); the first rule that finds something is taken
    (r"\b(is|are|was|were|can|will|does|do|did) not\b", r"\1"),
    (r"\b(is|are|was|were|does|do|did)n['’]t\b", r"\1"),
    (r"\b([Tt]here (?:is|was)) no (?=[aeiou])", r"\1 an "),
    (r"\b([Tt]here (?:is|was)) no ", r"\1 a "),
    (r"\b([Tt]here (?:are|were)) no ", r"\1 "),
    (r"\b([Tt]here (?:is|was)) an? ", r"\1 no "),
    (r"\b([Tt]here (?:are|were)) (?=(?:" + "|".join(NUMBERS) + r"|\d+)\b)", r"\1 not "),
    (r"\b([Tt]here (?:are|were)) (?:some |many |several )?", r"\1 no "),
    (r"\b(is|are|was|were|can|will)\b", r"\1 not"),
    (r"\bhas (?=an?\b|two\b|three\b|four\b|five\b|\d)", "does not have "),
    (r"\bcontains\b", "does not contain"),
    (r"\bshows\b", "does not show"),
)


def _negations(text: str) -> Iterator[Change]:
    """Turn the first sentence around: its yes or no, and its verb, so that both still agree."""
    end = re.search(r"[.!?](\s|$)", text)
    cut = end.end() if end else len(text)
    first, rest = text[:cut], text[cut:]
    lead = re.match(r"(yes|no)\b[,.!]?\s*", first, re.IGNORECASE)
    said = first[lead.end() :] if lead else first
    turned = _turned(said)
    if lead is None:
        if turned is not None:
            yield Change("negation", said.strip(), turned.strip(), 0, turned + rest)
        return
    flip = {"yes": "no", "no": "yes", "Yes": "No", "No": "Yes", "YES": "NO", "NO": "YES"}
    word = lead[1]
    if word in flip and (turned is not None or not said.strip()):
        other = flip[word] + lead[0][len(word) :] + (turned or "")
        if not rest.strip() or turned is not None:
            yield Change("negation", first.strip(), other.strip(), 0, other + rest)


def _turned(sentence: str) -> str | None:
    """A sentence with its verb negated, or its negation taken away; None where no rule is sure."""
    if re.search(r"\b(never|nothing|nobody|none|neither|nor)\b|\?", sentence, re.IGNORECASE):
        return None
    for pattern, instead in _NEGATIONS:
        turned, count = re.subn(pattern, instead, sentence, count=1)
        if count:
            # "does not contain" less "not" leaves "does contain", which is right English, if stiff.
            return turned
    return None


FINDERS: MappingProxyType[str, Callable[[str], Iterator[Change]]] = MappingProxyType(
    {
        "number": _numbers,
        "colour": _colours,
        "object": _objects,
        "direction": _directions,
        "negation": _negations,
    }
)
"""Every kind of change, with the function that finds all of them in a text."""
