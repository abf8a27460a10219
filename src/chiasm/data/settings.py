"""What can be chosen about the data of a run; readable without torch, for the command line's help."""

from __future__ import annotations

import re

from pydantic import NonNegativeInt, PositiveInt, field_validator

from chiasm.base.config import Settings


class LoadSettings(Settings):
    """How much a step sees."""

    records: PositiveInt = 8
    """Records (samples that share their pictures) per step."""
    questions: PositiveInt = 8
    """Samples taken from a record each time it is seen; the next ones when it is seen again."""
    balance: bool = False
    """Draw samples so that each question has each of its answers equally often (reads the source once)."""
    later: str | None = None
    """Samples whose question this regular expression finds are held back at first, or null for none."""
    later_from: NonNegativeInt = 0
    """How many records are seen before they join."""
    parts: PositiveInt = 1
    """Micro-batches that a step is cut into."""
    workers: PositiveInt = 1
    """Pictures that are decoded at once, each in a process of its own."""
    ahead: PositiveInt = 1
    """Steps that are prepared while the model works on one."""
    max_tokens: PositiveInt = 1024
    """A longer sample is refused and counted, never cut."""
    max_skipped: float = 0.01
    """The run stops when a larger share of its samples was refused."""
    seed: int = 0
    """Decides the order and nothing else."""

    @field_validator("later")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
        return value
