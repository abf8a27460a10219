"""Text that was read off a picture, with a share of wrong characters allowed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chiasm.evaluation.verify.normal import Verifier, alike, unfenced


class Text(Verifier):
    """{"how": "text", "text": "Total 12.50", "errors": 0.05, "case": true, "spaces": false}

    Right is the text with at most `errors` times its length characters inserted, missing or changed
    (the character error rate, Levenshtein's distance over the length of the true text). Typographic
    quotes and dashes count as plain ones; ``` and quotes around the whole do not count.
    """

    how: Literal["text"] = "text"
    text: str = Field(min_length=1)
    """What stands there, lines in reading order."""
    errors: float = Field(0.0, ge=0, lt=1)
    """Highest character error rate."""
    case: bool = True
    """Whether capital letters matter."""
    spaces: bool = False
    """Whether line breaks and runs of spaces matter; otherwise each counts as one space."""

    def right(self, answer: str) -> bool:
        """Return whether the answer is the text, but for the allowed errors."""
        ours, theirs = self._normal(self.text), self._normal(unfenced(answer))
        if len(theirs) > 1 and theirs[0] == theirs[-1] == '"' and not ours.startswith('"'):
            theirs = theirs[1:-1]
        allowed = int(self.errors * len(ours) + 1e-9)
        if abs(len(ours) - len(theirs)) > allowed:
            return False
        return ours == theirs or distance(ours, theirs) <= allowed

    def _normal(self, text: str) -> str:
        text = alike(text).strip()
        text = text if self.spaces else " ".join(text.split())
        return text if self.case else text.casefold()


def distance(one: str, other: str) -> int:
    """Return Levenshtein's distance: the fewest characters to insert, remove or change.

    A whole column of the table is one integer, a bit a row. Source: H. Hyyrö, "A bit-vector algorithm
    for computing Levenshtein and Damerau edit distances" (2003), figure 3.
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for number, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << number
    whole, last = (1 << len(one)) - 1, 1 << len(one) - 1
    up, down, score = whole, 0, len(one)
    for letter in other:
        equal = places.get(letter, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        right, left = down | (whole & ~(diagonal | up)), diagonal & up
        score += bool(right & last) - bool(left & last)
        right = (right << 1 | 1) & whole
        up, down = (left << 1 & whole) | (whole & ~(diagonal | right)), diagonal & right
    return score
