"""Captions by a model: in the place of the one that came, only where that is poor, or beside it.

picture ─► Tools.describe ─► "replace"    always
                             "when_poor"  where a fact of a step before is below a limit
                             "join"       both, one behind the other
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.step import Fact, Item, Pixels, Tools, Verdict

REASONS = {
    "not_described": "the model wrote nothing, and there is no caption to keep",
}


class DescribingSettings(Settings):
    """Let a model write captions."""

    kind: Literal["describing"] = "describing"
    """Synthetic captions."""
    mode: Literal["replace", "when_poor", "join"] = "when_poor"
    """Replace every caption, replace poor ones, or put the new one behind the old one."""
    fact: str = "words"
    """Which fact of a step before tells that a caption is poor ("words", "alignment")."""
    below: float = 4.0
    """A caption is poor when that fact is below this."""

    def step(self, tools: Tools) -> Describing:
        """Return the step; UserError without a model."""
        if tools.describe is None:
            raise UserError(
                "No model writes captions: pass a function as Tools.describe, or leave out the step "
                '"describing".'
            )
        return Describing(self, tools.describe)


@dataclass(frozen=True)
class Describing:
    """Writes the facts `described` (1 or 0) and `caption_before`, what the caption was."""

    settings: DescribingSettings
    describe: Callable[[Sequence[Pixels]], list[str]]
    name: str = "describing"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return REASONS

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Verdict:
        before = item.caption.strip()
        facts: dict[str, Fact] = {"described": 0, "caption_before": item.caption}
        if self.settings.mode == "when_poor" and not self._is_poor(item):
            return Verdict(facts=facts)
        # A video is described by the frame in its middle. One at a time: what a model says may
        # depend on how much it is asked at once.
        [said] = self.describe(item.frames[len(item.frames) // 2 :][:1])
        said = said.strip()
        if not said:
            return Verdict("" if before else "not_described", facts=facts)
        if self.settings.mode == "join" and before and said != before:
            end = "" if before[-1] in ".!?。！？" else "."
            said = f"{before}{end} {said}"
        return Verdict(note=said[:80], caption=said, facts={**facts, "described": 1})

    def _is_poor(self, item: Item) -> bool:
        if not item.caption.strip():
            return True
        if self.settings.fact not in item.facts:
            raise UserError(
                f'Captions are poor by the fact "{self.settings.fact}", which no step before "describing" '
                f"wrote: there are {', '.join(item.facts) or 'none'}."
            )
        value = item.facts[self.settings.fact]
        if value is None or isinstance(value, str | bytes):
            raise UserError(
                f'The fact "{self.settings.fact}" is no number: captions cannot be poor by it.'
            )
        return value < self.settings.below
