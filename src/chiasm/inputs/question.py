"""A question whose answer can be judged: what is asked, what is right, and how an answer is checked.

    Question ── text, answer ──► a conversation to learn from
             └─ check ─────────► chiasm.evaluation.verify: is this other answer right, too?

A check is plain data, {"how": "number", "value": 7, ...}: it travels in a Parquet column from whoever
draws a picture to whoever judges an answer, and neither room has to know the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """One question about a picture or a video, its answer in words, and how an answer is checked."""

    text: str
    answer: str
    check: Mapping[str, Any]
    """What `chiasm.evaluation.verify` needs: {"how": name of a verifier, ...what that one needs}."""
    kind: str
    """What is asked for, such as "count" or "colour": reports are grouped by it."""
