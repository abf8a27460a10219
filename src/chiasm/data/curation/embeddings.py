"""Pictures that a model finds alike: neighbours by the cosine of their embeddings, one kept of each group.

    pixels ─► embed_pictures (passed in) ─► embedding ─► blocks of E Eᵀ ≥ threshold ─► groups ─► keep one

Llama 3 does it with SSCD embeddings of 512 numbers (The Llama 3 Herd of Models, section 7.1.1); with
CLIP, pictures of one thing are alike that show it differently: take a high threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.components import Edges, Labels, apart, join
from chiasm.data.curation.duplicates import Keep, dropped, needed
from chiasm.data.curation.step import Item, Pixels, Tools, Verdict

Floats = NDArray[np.float32]

ROWS, COLUMNS = 1024, 8192
"""Embeddings that are compared at a time: 32 MB of cosines."""
ROUNDS = 10
"""Rounds of k-means."""


class EmbeddingSettings(Settings):
    """Has a model look at every picture, for near_embeddings."""

    kind: Literal["embedding"] = "embedding"

    def step(self, tools: Tools) -> Embedding:
        """Return the step; UserError without a model."""
        if tools.embed_pictures is None:
            raise UserError(
                "Embeddings of pictures need a model: pass one as Tools(embed_pictures=...), "
                "or leave this step out."
            )
        return Embedding(tools.embed_pictures)


@dataclass(frozen=True)
class Embedding:
    """Writes `embedding`: the unit vector of a picture as float16 bytes; videos get none."""

    embed: Any
    name: str = "embedding"
    reasons: Mapping[str, str] = field(default_factory=dict)
    looks: bool = True

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        still = [number for number, item in enumerate(items) if item.frames and not item.times]
        out = [Verdict(facts={"embedding": None}) for _ in items]
        if still:
            pictures: list[Pixels] = [items[number].frames[0] for number in still]
            for number, vector in zip(still, self.embed(pictures), strict=True):
                data = np.asarray(vector, np.float16).tobytes()
                out[number] = Verdict(facts={"embedding": data})
        return out


class NearEmbeddingsSettings(Settings):
    """Drops pictures that a model finds like one that stays."""

    kind: Literal["near_embeddings"] = "near_embeddings"
    threshold: float = Field(0.97, gt=0.0, le=1.0)
    """Cosine from which two pictures are alike."""
    clusters: NonNegativeInt = 0
    """Compare only within so many clusters (k-means): faster for millions, misses some; 0 compares all."""
    seed: int = 0
    """Decides where the clusters begin."""
    keep: Keep = "longest"
    """What stays of a group: the first by key, the longest caption, the largest picture."""

    def step(self, tools: Tools) -> NearEmbeddings:
        """Return the step."""
        return NearEmbeddings(self)


@dataclass(frozen=True)
class NearEmbeddings:
    """Drops all but one of each group of pictures that a model finds alike."""

    settings: NearEmbeddingsSettings
    name: str = "near_embeddings"
    reasons: Mapping[str, str] = field(
        default_factory=lambda: {"near_embedding": "a picture that a model finds alike is kept"}
    )

    @property
    def needs(self) -> tuple[str, ...]:
        return ("embedding", *needed(self.settings.keep))

    def __call__(self, table: Any) -> dict[int, Verdict]:
        given = self.settings
        column = table["embedding"].to_pylist()
        rows = np.array([row for row, one in enumerate(column) if one is not None], np.int64)
        labels = apart(len(column))
        if len(rows):
            joined = b"".join(one for one in column if one is not None)
            vectors = np.frombuffer(joined, np.float16).reshape(len(rows), -1).astype(np.float32)
            labels[rows] = rows[vector_groups(vectors, given.threshold, given.clusters, given.seed)]
        return dropped(table, labels, given.keep, "near_embedding")


def vector_groups(vectors: Floats, threshold: float, clusters: int = 0, seed: int = 0) -> Labels:
    """Return labels [N] of groups of vectors [N, D] joined by pairs with a cosine >= threshold."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    labels = apart(len(units))
    for members in _clusters(units, clusters, seed) if clusters else [labels]:
        for pairs in _alike(units[members], threshold):
            labels = join(labels, members[pairs])
    return labels


def _alike(units: Floats, threshold: float) -> Iterator[Edges]:
    """Pairs (i, j), i < j, of a block."""
    for top in range(0, len(units), ROWS):
        for left in range(top, len(units), COLUMNS):
            cosines = units[top : top + ROWS] @ units[left : left + COLUMNS].T
            pairs = np.argwhere(cosines >= threshold) + np.array((top, left))
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def _clusters(units: Floats, count: int, seed: int) -> list[NDArray[np.int64]]:
    """Members of each cluster of k-means on the sphere."""
    chance = np.random.default_rng(seed)
    centres = units[chance.choice(len(units), min(count, len(units)), replace=False)]
    for _ in range(ROUNDS):
        nearest = _nearest(units, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, units)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    nearest = _nearest(units, centres)
    return [np.flatnonzero(nearest == cluster) for cluster in range(len(centres))]


def _nearest(units: Floats, centres: Floats) -> NDArray[np.int64]:
    blocks = range(0, len(units), ROWS)
    return np.concatenate([(units[at : at + ROWS] @ centres.T).argmax(axis=1) for at in blocks])
