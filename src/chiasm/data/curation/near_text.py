"""Captions and documents that say nearly the same.

of pairs:  near pictures ─► shingles of their captions alike? ─┐
of text:   MinHash, bands ─► shingles alike? ──────────────────┴─► one group, keep one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from chiasm.base.config import Settings
from chiasm.data.curation.components import Labels, apart, join
from chiasm.data.curation.duplicates import Keep, dropped, needed
from chiasm.data.curation.minhash import Nearness, bands, jaccard, near_texts
from chiasm.data.curation.near_pictures import PictureNearness, picture_pairs
from chiasm.data.curation.shingles import Unit, shingles
from chiasm.data.curation.step import Tools, Verdict


class NearTextSettings(Settings):
    """Drops what says nearly the same as something that stays."""

    kind: Literal["near_text"] = "near_text"
    of: Literal["pair", "text"] = "pair"
    """pair: only where the pictures are near too ("a red apple" may be said of many); text: of documents."""
    unit: Unit = "letters"
    """What a shingle is made of; letters suit captions and scripts without spaces."""
    shingle: PositiveInt = 4
    """Letters or words in a shingle."""
    threshold: float = Field(0.6, gt=0.0, le=1.0)
    """Jaccard similarity of the sets of shingles from which two texts are near."""
    permutations: int = Field(128, ge=1, le=4096)
    """Hash functions of MinHash (of text); more miss less and propose less in vain."""
    miss: float = Field(0.02, gt=0.0, lt=1.0)
    """Chance with which a pair just at the threshold may be missed (of text)."""
    near: PictureNearness = PictureNearness()
    """When two pictures show the same (of pair)."""
    keep: Keep = "longest"
    """What stays of a group: the first by key, the longest caption, the largest picture."""

    @model_validator(mode="after")
    def _can_be_found(self) -> NearTextSettings:
        bands(self.permutations, self.threshold, self.miss)
        return self

    def step(self, tools: Tools) -> NearText:
        """Return the step."""
        return NearText(self)


@dataclass(frozen=True)
class NearText:
    """Drops all but one of each group of near texts, or of near pairs."""

    settings: NearTextSettings
    name: str = "near_text"
    reasons: Mapping[str, str] = field(
        default_factory=lambda: {
            "near_text": "nearly the same is said (of the same picture) by one kept"
        }
    )

    @property
    def needs(self) -> tuple[str, ...]:
        pictures = ("thumb",) if self.settings.of == "pair" else ()
        return (*pictures, *needed(self.settings.keep))

    def __call__(self, table: Any) -> dict[int, Verdict]:
        given = self.settings
        captions = table["caption"].to_pylist()
        if given.of == "pair":
            labels = self._pairs(captions, table["thumb"].to_pylist())
        else:
            how = Nearness(
                given.unit, given.shingle, given.threshold, given.permutations, given.miss
            )
            labels = near_texts(captions, how)
        return dropped(table, labels, given.keep, "near_text")

    def _pairs(self, captions: list[str], thumbs: list[bytes | None]) -> Labels:
        given = self.settings
        pairs = picture_pairs(thumbs, given.near)
        alike = jaccard(shingles(captions, given.unit, given.shingle), pairs) >= given.threshold
        return join(apart(len(captions)), pairs[alike])
