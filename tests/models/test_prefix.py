"""Unified embedding: picture vectors stand in their places, and stay in their sample."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiasm.base.vision import Vision
from chiasm.inputs.batch import Batch, pack, pad
from chiasm.inputs.chat import Rendered
from chiasm.models import ProjectorConfig, see
from chiasm.testing import (
    VOCAB,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_prefix_config,
    toy_rendered,
    toy_video,
    toy_vit_config,
)

PLACES = 9


def samples_of(counts: list[int], seed: int = 0) -> list[Rendered]:
    numbers = iter(range(sum(counts)))
    return [
        toy_rendered(
            100 * seed + i,
            [toy_picture(next(numbers)) for _ in range(n)],
            tokens=4 + i,
            places=PLACES,
        )
        for i, n in enumerate(counts)
    ]


def double(batch: Batch) -> dict:
    inputs = batch.inputs()
    if (vision := inputs["vision"]) is not None:
        inputs["vision"] = Vision(vision.spans, vision.pixels.double())
    return inputs


@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("squares", [1, 3])
@torch.no_grad()
def test_picture_vectors_stand_in_their_places(squares: int, cls: bool) -> None:
    projector = ProjectorConfig(taps=("block.2", "last"), kind="mlp", cls=False, squares=squares)
    model = toy_prefix(projector=projector, encoder=toy_vit_config(cls=cls)).double()
    places = model.config.places()
    assert places == PLACES // squares**2
    rendered = toy_rendered(3, [toy_picture(0), toy_picture(1)], places=places)
    batch = pack([rendered], toy_pixels)
    pixels = batch.vision.pixels.double()
    vectors = model.projector(see(model, pixels)).flatten(0, 1)
    table = torch.cat((model.decoder.embed.weight, model.extra.weight))
    expected = table[batch.tokens]
    expected[batch.tokens == VOCAB] = vectors
    features = model.decoder.run(expected, batch.positions, batch.segments, None)
    torch.testing.assert_close(model(**double(batch)), features, atol=1e-12, rtol=0)


def test_an_added_token_that_is_no_place_keeps_its_own_row() -> None:
    model = toy_prefix()
    tokens = torch.tensor([[3, VOCAB + 1, 4]])
    before = model(tokens)
    torch.nn.init.zeros_(model.extra.weight[1])
    assert not torch.equal(model(tokens)[0, 1:], before[0, 1:])


@pytest.mark.parametrize(
    ("places", "pictures"), [(PLACES - 1, 1), (PLACES, 2), (2 * PLACES, 1), (0, 1)]
)
def test_a_count_that_differs_is_an_error_with_both_counts(places: int, pictures: int) -> None:
    tokens = torch.tensor([[1] + [VOCAB] * places + [2]])
    spans = torch.zeros(1, places + 2, 2, dtype=torch.long)
    vision = Vision(spans, torch.randn(pictures, 3, 12, 12))
    said = f"holds {places} picture places, but {pictures} pictures of {pictures * PLACES} vectors"
    with pytest.raises(ValueError, match=said):
        toy_prefix()(tokens, vision=vision)


def test_places_without_pictures_are_an_error_too() -> None:
    with pytest.raises(ValueError, match="holds 2 picture places, but no picture"):
        toy_prefix()(torch.tensor([[1, VOCAB, VOCAB, 2]]))


@torch.no_grad()
def test_text_alone_is_the_language_model_bit_for_bit() -> None:
    model = toy_prefix()
    tokens = torch.randint(VOCAB, (2, 9))
    assert torch.equal(model(tokens), model.decoder(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lay", [pack, pad])
@torch.no_grad()
def test_text_stays_bit_identical_beside_pictures(dtype: torch.dtype, lay: object) -> None:
    model = toy_prefix().to(dtype)
    batch = lay(samples_of([0, 2, 0]), toy_pixels)
    tokens = batch.tokens.masked_fill(batch.tokens >= VOCAB, 5)
    plain = model.decoder(tokens, positions=batch.positions, segments=batch.segments)
    numbers = batch.segments if batch.segments is not None else torch.arange(3)[:, None]
    text = (numbers != 1).expand(batch.tokens.shape)
    got = model(**batch.inputs())
    assert torch.equal(got[text], plain[text]) and not torch.equal(got[~text], plain[~text])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=3), st.integers(0, 30))
@torch.no_grad()
def test_packed_samples_are_the_samples(counts: list[int], seed: int) -> None:
    model = toy_prefix().double()
    samples = samples_of(counts, seed)
    batch = pack(samples, toy_pixels)
    got = model(**double(batch))[0].split([len(s.ids) for s in samples])
    for sample, features in zip(samples, got, strict=True):
        expected = model(**double(pad([sample], toy_pixels)))[0]
        torch.testing.assert_close(features, expected, atol=1e-12, rtol=0)  # measured: 2.7e-15


@pytest.mark.parametrize("lay", [pack, pad])
@torch.no_grad()
def test_a_picture_reaches_its_own_sample_from_its_place_on(lay: object) -> None:
    model = toy_prefix()
    samples = samples_of([1, 0, 2], seed=4)
    batch = lay(samples, toy_pixels)
    before = model(**batch.inputs())
    for picture, (holder, own) in enumerate([(0, 0), (2, 0), (2, 1)]):
        pixels = batch.vision.pixels.clone()
        pixels[picture] += 1
        after = model(**batch.inputs() | {"vision": Vision(batch.vision.spans, pixels)})
        changed = ((after - before) != 0.0).any(-1)
        rows = changed.split([len(s.ids) for s in samples], dim=1) if lay is pack else changed
        for i, sample in enumerate(samples):
            mine = rows[i].flatten()[: len(sample.ids)]
            place = [t for t, token in enumerate(sample.ids) if token == VOCAB]
            start = place[own * PLACES] if i == holder else len(sample.ids)
            assert not mine[:start].any() and mine[start:].all()


@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_along_the_cache_is_the_whole(seed: int) -> None:
    model = toy_prefix().double()
    sample = toy_rendered(seed, [toy_picture(0)], tokens=8, places=PLACES)
    batch = pad([sample], toy_pixels)
    whole = model(**double(batch))
    length, first = len(sample.ids), sample.ids.index(VOCAB)
    cuts = [t for t in range(1, length) if not first < t < first + PLACES]
    cache, got = model.cache(1, length), []
    for start, stop in zip([0, *cuts], [*cuts, length], strict=True):
        vision = double(batch)["vision"] if start == first else None
        if vision is not None:
            vision = replace(vision, spans=vision.spans[:, start:stop])
        got.append(model(batch.tokens[:, start:stop], vision=vision, cache=cache))
        cache.advance(stop - start)
    torch.testing.assert_close(torch.cat(got, 1), whole, atol=1e-12, rtol=0)


@torch.no_grad()
def test_rows_of_different_lengths_go_on_alone() -> None:
    model = toy_prefix().double()
    samples = samples_of([1, 0, 2], seed=2)
    batch = pad(samples, toy_pixels)
    cache = model.cache(3, 60)
    model(**double(batch) | {"positions": None}, cache=cache)
    cache.advance(batch.lengths)
    more = torch.randint(VOCAB, (3, 2))
    got = model(more, cache=cache)
    for row, sample in enumerate(samples):
        ids = sample.ids + more[row].tolist()
        longer = Rendered(
            ids, [False] * len(ids), sample.pictures, sample.seen + [sample.seen[-1]] * 2
        )
        expected = model(**double(pad([longer], toy_pixels)))[0, -2:]
        torch.testing.assert_close(got[row], expected, atol=1e-12, rtol=0)


def test_every_part_learns_from_a_picture() -> None:
    model = toy_prefix()
    batch = pack(samples_of([1, 0]), toy_pixels)
    model(**batch.inputs()).square().sum().backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # the tap is below the last block, and no added token but the places stands in the text
    above = {
        n for n, _ in model.named_parameters() if n.startswith(("encoder.blocks.2", "encoder.post"))
    }
    assert still == above | {"extra.weight"}


def test_the_places_follow_the_resolution() -> None:
    config = toy_prefix_config()
    assert (config.places(), config.places(20), config.image_token) == (9, 25, VOCAB)


def test_videos_are_refused_and_not_left_out() -> None:
    assert toy_prefix_config().video_token is None
    with pytest.raises(ValueError, match="no eyes for videos"):
        toy_prefix()(**pack([toy_rendered(0, (), [toy_video(0)])], toy_pixels).inputs())
