"""Neighbours by embedding: groups are those of all pairs, and only a model that is passed in looks."""

import numpy as np
import pytest
from tests.data.curation import planted

from chiasm.base.errors import UserError
from chiasm.data.curation import embeddings
from chiasm.data.curation.components import apart, join
from chiasm.data.curation.embeddings import (
    EmbeddingSettings,
    NearEmbeddingsSettings,
    vector_groups,
)
from chiasm.data.curation.step import Item, Tools


def crowd(count=400, groups=60, size=32, seed=0):
    """Unit vectors about some centres."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(groups, size))
    vectors = centres[chance.integers(0, groups, count)] + 0.12 * chance.normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_groups_are_those_of_all_pairs_in_any_blocks(monkeypatch):
    vectors = crowd()
    near = np.argwhere(np.triu(vectors @ vectors.T >= 0.97, 1))
    expected = join(apart(len(vectors)), near)
    assert (expected != apart(len(vectors))).sum() > 50
    assert (vector_groups(vectors, 0.97) == expected).all()
    monkeypatch.setattr(embeddings, "ROWS", 37)
    monkeypatch.setattr(embeddings, "COLUMNS", 111)
    assert (vector_groups(vectors, 0.97) == expected).all()


def test_clusters_find_most_and_nothing_else():
    vectors = crowd()
    whole = vector_groups(vectors, 0.97)
    part = vector_groups(vectors, 0.97, clusters=8, seed=3)
    assert (whole[part] == whole).all()
    count = len(vectors)
    assert (part != apart(count)).sum() > 0.9 * (whole != apart(count)).sum()
    assert (part == vector_groups(vectors, 0.97, clusters=8, seed=3)).all()


def grey_layout(pictures):
    """A model of a kind: where a picture is light."""
    small = np.stack([np.asarray(p)[::16, ::16].mean(axis=2)[:4, :4].ravel() for p in pictures])
    small = small - small.mean(axis=1, keepdims=True) + 1e-3
    return (small / np.linalg.norm(small, axis=1, keepdims=True)).astype(np.float32)


def test_pictures_that_a_model_finds_alike_are_dropped_but_one():
    first, second = planted.drawn(0, "e"), planted.drawn(3, "e")
    darker = (first * 0.9).astype(np.uint8)
    rows = [
        planted.Planted(key, caption, pixels, "")
        for key, caption, pixels in (
            ("a", "short", first),
            ("b", "longer", darker),
            ("c", "c", second),
        )
    ]
    look = EmbeddingSettings().step(Tools(embed_pictures=grey_layout))
    whole = planted.table(rows, look)
    step = NearEmbeddingsSettings(threshold=0.99).step(Tools())
    found = step(whole)
    assert {row: (v.reason, v.note) for row, v in found.items()} == {
        0: ("near_embedding", "like b")
    }
    assert step.needs == ("embedding",)
    assert NearEmbeddingsSettings(keep="largest").step(Tools()).needs == ("embedding", "area")


def test_videos_have_no_embedding_and_no_model_is_an_error():
    with pytest.raises(UserError, match="embed_pictures"):
        EmbeddingSettings().step(Tools())
    one = planted.item(planted.Planted("a", "", planted.drawn(0, "e"), ""))
    video = Item(one.pair, "", one.frames, (0.0,), 2.0)
    step = EmbeddingSettings().step(Tools(embed_pictures=grey_layout))
    verdicts = step([video, one, video])
    assert [v.facts["embedding"] is None for v in verdicts] == [True, False, True]
    assert len(verdicts[1].facts["embedding"]) == 2 * 16
