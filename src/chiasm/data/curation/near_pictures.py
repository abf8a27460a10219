"""Pictures that show the same: resized, saved again, cropped or framed a little.

pixels ─► picture_hash ─► phash, thumb, area ─► hashes within some bits? ─► aligned, still different?
           (a step)          (facts)              near pairs proposed         no: one group, keep one
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from chiasm.base.config import Settings
from chiasm.data.curation.align import differences
from chiasm.data.curation.components import Edges, Labels, apart, join
from chiasm.data.curation.duplicates import Keep, dropped, needed
from chiasm.data.curation.hamming import neighbours
from chiasm.data.curation.step import Item, Tools, Verdict
from chiasm.data.curation.thumbs import SIDE, hashes, thumb

MANY = 4096
"""Pairs after which groups are joined, so that pairs of one group need not be compared."""


class PictureHashSettings(Settings):
    """Finds out what near_pictures and near_text compare."""

    kind: Literal["picture_hash"] = "picture_hash"

    def step(self, tools: Tools) -> PictureHash:
        """Return the step."""
        return PictureHash()


@dataclass(frozen=True)
class PictureHash:
    """Writes `phash` (64 bits as a signed number), `thumb` (32 x 32 RGB bytes) and `area` (pixels).

    Drops nothing. Videos get none of it, and are never near anything.
    """

    name: str = "picture_hash"
    reasons: Mapping[str, str] = field(default_factory=dict)
    looks: bool = True

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        still = [number for number, item in enumerate(items) if item.frames and not item.times]
        out = [Verdict(facts={"phash": None, "thumb": None, "area": None}) for _ in items]
        if not still:
            return out
        thumbs = np.stack([thumb(items[number].frames[0]) for number in still])
        signed = hashes(thumbs)[:, 0].view(np.int64).tolist()
        for number, small, value in zip(still, thumbs, signed, strict=True):
            height, width, _ = items[number].frames[0].shape
            facts = {"phash": value, "thumb": small.tobytes(), "area": height * width}
            out[number] = Verdict(facts=facts)
        return out


class PictureNearness(Settings):
    """When two pictures show the same."""

    bits: int = Field(7, ge=0, le=16)
    """Bits of 64 in which the hashes of a pair may differ; more find more, slower."""
    difference: float = Field(0.3, ge=0.0)
    """How different the worst part of two aligned thumbs may be, in parts of the pictures' contrast."""


class NearPicturesSettings(Settings):
    """Drops pictures that show the same as one that stays, whatever their captions."""

    kind: Literal["near_pictures"] = "near_pictures"
    near: PictureNearness = PictureNearness()
    """When two pictures show the same."""
    keep: Keep = "largest"
    """What stays of a group: the first by key, the longest caption, the largest picture."""

    def step(self, tools: Tools) -> NearPictures:
        """Return the step."""
        return NearPictures(self)


@dataclass(frozen=True)
class NearPictures:
    """Drops all but one of each group of pictures that show the same."""

    settings: NearPicturesSettings
    name: str = "near_pictures"
    reasons: Mapping[str, str] = field(
        default_factory=lambda: {"near_picture": "nearly the same picture is kept"}
    )

    @property
    def needs(self) -> tuple[str, ...]:
        return ("thumb", *needed(self.settings.keep))

    def __call__(self, table: Any) -> dict[int, Verdict]:
        labels = picture_groups(table["thumb"].to_pylist(), self.settings.near)
        return dropped(table, labels, self.settings.keep, "near_picture")


def picture_groups(thumbs: Sequence[bytes | None], near: PictureNearness) -> Labels:
    """Return labels [N] of groups of thumbs joined by near pairs; None is like nothing."""
    rows, small = _stacked(thumbs)
    labels = apart(len(rows))
    for pairs in _proposed(small, near.bits):
        for at in range(0, len(pairs), MANY):
            some = pairs[at : at + MANY]
            some = some[labels[some[:, 0]] != labels[some[:, 1]]]
            labels = join(labels, _near(small, some, near.difference))
    whole = apart(len(thumbs))
    whole[rows] = rows[labels]
    return whole


def picture_pairs(thumbs: Sequence[bytes | None], near: PictureNearness) -> Edges:
    """Return all near pairs (i, j), i < j, [E, 2]; among n equal thumbs there are n (n - 1) / 2."""
    rows, small = _stacked(thumbs)
    found = [_near(small, pairs, near.difference) for pairs in _proposed(small, near.bits)]
    return rows[np.unique(np.concatenate(found or [np.zeros((0, 2), np.int64)]), axis=0)]


def _proposed(small: NDArray[np.uint8], bits: int) -> Iterator[Edges]:
    return neighbours(hashes(small), bits) if len(small) else iter(())


def _near(small: NDArray[np.uint8], pairs: Edges, most: float) -> Edges:
    """Those of the pairs that are near, one laid on the other or the other on the one."""
    near = differences(small, pairs[:, 0], pairs[:, 1]) <= most
    rest = pairs[~near]
    near[~near] = differences(small, rest[:, 1], rest[:, 0]) <= most
    return pairs[near]


def _stacked(thumbs: Sequence[bytes | None]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Which thumbs there are, and those: [N, S, S, 3]."""
    rows = np.array([row for row, one in enumerate(thumbs) if one is not None], np.int64)
    joined = b"".join(one for one in thumbs if one is not None)
    return rows, np.frombuffer(joined, np.uint8).reshape(-1, SIDE, SIDE, 3)
