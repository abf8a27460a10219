"""Answers of one word or phrase: words, yes or no, a letter or its text."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from chiasm.evaluation.verify.normal import NEGATION, Verifier, mentions, plain, said, short


class Words(Verifier):
    """{"how": "words", "accept": ["red", "crimson"], "among": ["red", "crimson", "blue", ...]}

    Without `among`, right is one of the accepted texts and nothing else, whatever its case, article
    and final full stop, also behind "It is" or "Answer:". With `among`, any sentence is right that names
    accepted things of that list and no other one, and denies nothing.
    """

    how: Literal["words"] = "words"
    accept: tuple[str, ...] = Field(min_length=1)
    """All right answers: variants of one answer."""
    among: tuple[str, ...] = ()
    """Everything that could be named instead, the accepted ones included or not."""

    def right(self, answer: str) -> bool:
        """Return whether the accepted thing and no other is named."""
        accepted = {plain(text) for text in self.accept}
        if short(answer) in accepted or plain(said(answer)) in accepted:
            return True
        if not self.among:
            return False
        text = plain(said(answer))
        named, rest = mentions(accepted | {plain(other) for other in self.among}, text)
        return bool(named) and {name for _, name in named} <= accepted and not NEGATION.search(rest)


_YES = {"yes", "yeah", "yep", "yup", "true", "correct", "affirmative"}
_NO = {"no", "nope", "nah", "false", "incorrect", "untrue", "negative", "none"}
_BRIEF = re.compile(
    r"(?:it|they|there|that|this|he|she) (?:is|are|does|do|did|has|have|was|were|can)( not|n't)?"
)


class YesNo(Verifier):
    """{"how": "yes_no", "value": true}

    Right is a text that says yes (true, correct) where the value is true, or no (false, nope) where it
    is false, and never both; "Yes, it is not" is both. "It is" and "There isn't" count, too.
    """

    how: Literal["yes_no"] = "yes_no"
    value: bool
    """Whether yes is right."""

    def right(self, answer: str) -> bool:
        """Return whether the text says yes or no, as it should, and not both."""
        text = re.sub(r"\bnot (?:true|correct|right)\b", "untrue", plain(said(answer)))
        if brief := _BRIEF.fullmatch(text):
            return self.value is (brief[1] is None)
        words = set(re.findall(r"\w+", text))
        denied = bool(words & _NO)
        affirmed = bool(words & _YES)
        if affirmed:
            return self.value and not denied and not NEGATION.search(text)
        return denied and not self.value


class Choice(Verifier):
    """{"how": "choice", "options": ["a cat", "a dog"], "value": "B"}

    Right is the letter ("B", "(b)", "Option B."), the option's text, or both where they agree.
    """

    how: Literal["choice"] = "choice"
    options: tuple[str, ...] = Field(min_length=2, max_length=26)
    """Texts of the options A, B, C ..."""
    value: str = Field(pattern="^[A-Z]$")
    """The right one's letter."""

    @model_validator(mode="after")
    def _is_an_option(self) -> Choice:
        if ord(self.value) - ord("A") >= len(self.options):
            raise ValueError(f"value is {self.value}, but there are {len(self.options)} options")
        texts = [plain(option) for option in self.options]
        if len(set(texts)) < len(texts):
            raise ValueError("two options are the same")
        return self

    def right(self, answer: str) -> bool:
        """Return whether the right option and no other is chosen."""
        texts = [plain(option) for option in self.options]
        text = said(answer).strip()
        match = re.match(
            r"(?:option |choice |letter )?[(\[*]*([A-Za-z])(?:[)\]*.:]+\s*|\s*$)", text, re.I
        )
        if match is None:
            match = re.match(r"(?:option|choice|letter) ([A-Za-z])\b", text, re.I)
        chosen: set[int] = set()
        if match and (number := ord(match[1].upper()) - ord("A")) < len(texts):
            chosen.add(number)
            text = text[match.end() :]
            if re.search(r"\b[B-Z]\b", text):  # another letter
                return False
        if short(text) in texts:
            return {texts.index(short(text)), *chosen} == {ord(self.value) - ord("A")}
        named, rest = mentions(texts, plain(text))
        chosen |= {texts.index(name) for _, name in named}
        return chosen == {ord(self.value) - ord("A")} and not NEGATION.search(rest)
