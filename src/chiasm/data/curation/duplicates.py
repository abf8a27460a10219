"""One of each: what is dropped of groups of equal or similar items, and the items that are equal.

labels 0 1 1 0 4 ──► {0, 3} {1, 2} {4} ──► keep the best of each, drop the others: "like KEY"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from chiasm.base.config import Settings
from chiasm.data.curation.components import Labels, groups, kept_of
from chiasm.data.curation.shingles import folded
from chiasm.data.curation.step import Tools, Verdict

Keep: TypeAlias = Literal["first", "longest", "largest"]
"""What stays of a group: the first by key, the longest caption, or the largest picture (then the longest
caption); the first of those that are as good."""


class ExactSettings(Settings):
    """Drops pictures that came before, by their bytes."""

    kind: Literal["exact"] = "exact"
    captions: Literal["same", "any"] = "same"
    """Drop a picture that came before with the same caption (but for case and spaces), or with any."""

    def step(self, tools: Tools) -> Exact:
        """Return the step."""
        return Exact(self)


@dataclass(frozen=True)
class Exact:
    """Drops all but the first of equal pictures."""

    settings: ExactSettings
    name: str = "exact"
    needs: tuple[str, ...] = ()

    @property
    def reasons(self) -> Mapping[str, str]:
        found = {"same_pair": "the same picture with the same caption came before"}
        if self.settings.captions == "any":
            found["same_picture"] = "the same picture came before with another caption"
        return found

    def __call__(self, table: Any) -> dict[int, Verdict]:
        first: dict[tuple[str, str], str] = {}
        pictures: dict[str, str] = {}
        out = {}
        columns = (table[name].to_pylist() for name in ("key", "caption", "sha256"))
        for row, (key, caption, digest) in enumerate(zip(*columns, strict=True)):
            if not digest:
                continue
            pair = (str(digest), folded(caption))
            if pair in first:
                out[row] = Verdict("same_pair", f"like {first[pair]}")
            elif self.settings.captions == "any" and pair[0] in pictures:
                out[row] = Verdict("same_picture", f"like {pictures[pair[0]]}")
            first.setdefault(pair, key)
            pictures.setdefault(pair[0], key)
        return out


def dropped(table: Any, labels: Labels, keep: Keep, reason: str) -> dict[int, Verdict]:
    """Return a verdict for every row but the kept one of each group of a table in the order of its keys."""
    keys = table["key"].to_pylist()
    worth = _worth(table, keep)
    out = {}
    for group in groups(labels):
        best = kept_of(group, worth)
        for row in map(int, group):
            if row != best:
                out[row] = Verdict(reason, f"like {keys[best]}")
    return dict(sorted(out.items()))


def needed(keep: Keep) -> tuple[str, ...]:
    """Return the facts that `dropped` reads."""
    return ("area",) if keep == "largest" else ()


def _worth(table: Any, keep: Keep) -> list[Sequence[int]]:
    if keep == "first":
        return []
    lengths = [len(caption) for caption in table["caption"].to_pylist()]
    if keep == "longest":
        return [lengths]
    return [[area or 0 for area in table["area"].to_pylist()], lengths]
