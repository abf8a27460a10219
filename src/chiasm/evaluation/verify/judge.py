"""The table of verifiers, and the one function that asks them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chiasm.base.config import from_record
from chiasm.base.errors import UserError, did_you_mean
from chiasm.evaluation.verify.element import Element
from chiasm.evaluation.verify.graphs import Graph
from chiasm.evaluation.verify.latex import Latex
from chiasm.evaluation.verify.lists import Names, Sequence
from chiasm.evaluation.verify.normal import Verifier
from chiasm.evaluation.verify.numbers import Number
from chiasm.evaluation.verify.places import Box, Point
from chiasm.evaluation.verify.tables import Table
from chiasm.evaluation.verify.text import Text
from chiasm.evaluation.verify.words import Choice, Words, YesNo

VERIFIERS: Mapping[str, type[Verifier]] = MappingProxyType(
    {
        "words": Words,
        "yes_no": YesNo,
        "number": Number,
        "choice": Choice,
        "names": Names,
        "sequence": Sequence,
        "point": Point,
        "box": Box,
        "table": Table,
        "graph": Graph,
        "latex": Latex,
        "text": Text,
        "element": Element,
    }
)
"""What a check's "how" can be."""

LONGEST = 50_000
"""Characters of an answer; a longer one is wrong, because nobody asked for a book."""


def right(check: Mapping[str, Any], answer: str) -> bool:
    """Return whether an answer in free words is right; raises UserError for a malformed check."""
    judge = verifier(check)
    return len(answer) <= LONGEST and judge.right(answer)


def verifier(check: Mapping[str, Any]) -> Verifier:
    """Return the verifier that a check describes; raises UserError for a malformed one."""
    how = check.get("how") if isinstance(check, Mapping) else None
    if not isinstance(how, str) or how not in VERIFIERS:
        near = did_you_mean(how, VERIFIERS) if isinstance(how, str) else ""
        raise UserError(
            f'A check must say "how" it is done, one of {", ".join(VERIFIERS)}, not {how!r}.{near}'
        )
    return from_record(VERIFIERS[how], check, f'The check "{how}"')
