"""Samples laid end to end or one under the other: targets, spans and pictures stay with their sample."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chiasm.inputs.batch import IGNORED, Batch, pack, pad
from chiasm.inputs.chat import Rendered
from chiasm.inputs.message import Picture
from chiasm.testing import (
    toy_crossed,
    toy_crossed_config,
    toy_picture,
    toy_pixels,
    toy_prefix_config,
    toy_rendered,
    toy_renderer,
    toy_sample,
    toy_tiles,
    toy_video,
    toy_video_config,
)


def rows(batch: Batch, samples: list[Rendered]) -> list[tuple[slice, int]]:
    """(tokens, row) of each sample in the batch."""
    if batch.lengths is not None:
        return [(slice(0, len(sample.ids)), row) for row, sample in enumerate(samples)]
    starts = [sum(len(s.ids) for s in samples[:i]) for i in range(len(samples))]
    return [(slice(a, a + len(s.ids)), 0) for a, s in zip(starts, samples, strict=True)]


def pictures_seen(batch: Batch, row: int, token: int) -> list[Tensor]:
    if batch.vision is None:
        return []
    first, last = batch.vision.spans[row, token].tolist()
    if batch.vision.grids is None:
        assert first == last
        return []
    counts = batch.vision.grids.prod(1).tolist()
    tiles = zip(batch.vision.pixels.split(counts), batch.vision.grids.tolist(), strict=True)
    return [held.unflatten(0, grid) for held, grid in tiles][first:last]


def clips_seen(batch: Batch, row: int, token: int) -> list[Tensor]:
    if batch.vision is None or batch.vision.clips is None:
        return []
    clips = batch.vision.clips
    tiles = iter(clips.pixels.split(clips.grids.prod(1).tolist()))
    held = [
        torch.stack([next(tiles).unflatten(0, grid) for grid in grids.tolist()])
        for grids in clips.grids.split(clips.frames.tolist())
    ]
    first, last = clips.spans[row, token].tolist()
    return held[first:last]


@st.composite
def lots(draw: st.DrawFn) -> list[Rendered]:
    """Up to five samples with 0 to 4 of five pictures and 0 to 2 of three videos; some show the same."""
    samples: list[Rendered] = []
    for i in range(draw(st.integers(1, 5))):
        if samples and draw(st.booleans()):
            pictures = draw(st.sampled_from(samples)).pictures
            videos = draw(st.sampled_from(samples)).clips
        else:
            numbers = draw(st.lists(st.integers(0, 4), max_size=4))
            pictures = tuple(toy_picture(n) for n in numbers)
            videos = tuple(toy_video(n) for n in draw(st.lists(st.integers(0, 2), max_size=2)))
        tokens = draw(st.integers(1, 6)) + i
        samples.append(toy_rendered(draw(st.integers(0, 99)), pictures, videos, tokens=tokens))
    return samples


@given(lots(), st.sampled_from([pack, pad]))
def test_each_token_keeps_its_sample_place_target_and_pictures(
    samples: list[Rendered], lay: object
) -> None:
    batch = lay(samples, toy_tiles)
    for number, (sample, (tokens, row)) in enumerate(
        zip(samples, rows(batch, samples), strict=True)
    ):
        assert batch.tokens[row, tokens].tolist() == sample.ids
        assert batch.positions[row, tokens].tolist() == list(range(len(sample.ids)))
        if batch.segments is not None:
            assert set(batch.segments[row, tokens].tolist()) == {number}
        for t in range(len(sample.ids)):
            last = t == len(sample.ids) - 1
            said = IGNORED if last or not sample.trained[t + 1] else sample.ids[t + 1]
            assert (
                batch.targets[row, tokens.start + t] == said
            )  # shifted once, never out of the sample
            first, behind = sample.seen[t]
            expected = [toy_tiles(picture) for picture in sample.pictures[first:behind]]
            got = pictures_seen(batch, row, tokens.start + t)
            assert len(got) == len(expected) and all(map(torch.equal, got, expected))
            first, behind = sample.watched[t]
            expected = [toy_tiles(clip) for clip in sample.clips[first:behind]]
            got = clips_seen(batch, row, tokens.start + t)
            assert len(got) == len(expected) and all(map(torch.equal, got, expected))


@given(lots(), st.sampled_from([pack, pad]))
def test_samples_that_hold_the_same_pictures_share_them(
    samples: list[Rendered], lay: object
) -> None:
    kinds = {tuple(picture.key for picture in sample.pictures) for sample in samples}
    batch = lay(samples, toy_tiles)
    clips = {tuple(clip.key for clip in sample.clips) for sample in samples}
    watched = {clip.key: len(toy_tiles(clip)) for sample in samples for clip in sample.clips}
    frames = sum(watched[key] for held in clips for key in held)
    assert batch.pictures == sum(map(len, kinds)) + frames
    assert (len(batch.vision.clips.frames) if any(clips) else 0) == sum(map(len, clips))


def test_the_encoder_runs_once_for_a_picture_that_many_questions_share() -> None:
    model, ran, asked = toy_crossed(), [], []
    model.encoder.register_forward_hook(lambda _, inputs, __: ran.append(len(inputs[0])))

    def pixels_of(picture: Picture) -> Tensor:
        asked.append(picture.key)
        return toy_pixels(picture)

    samples = [toy_rendered(i, [toy_picture(i // 4)], tokens=5) for i in range(8)]
    model(**pack(samples, pixels_of).inputs())
    assert ran == [2] and len(asked) == 2


@given(lots(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_samples_does_not_matter_to_any_of_them(
    samples: list[Rendered], random: object
) -> None:
    model = toy_crossed(video=toy_video_config()).double()
    numbers = list(range(len(samples)))
    random.shuffle(numbers)

    def features(order: list[int]) -> dict[int, Tensor]:
        batch = pack([samples[i] for i in order], lambda p: toy_pixels(p).double())
        with torch.no_grad():
            parts = model(**batch.inputs())[0].split([len(samples[i].ids) for i in order])
        return dict(zip(order, parts, strict=True))

    first, second = features(list(range(len(samples)))), features(numbers)
    for i in numbers:
        torch.testing.assert_close(first[i], second[i], atol=1e-11, rtol=0)


def test_no_picture_is_no_vision() -> None:
    batch = pack([toy_rendered(1), toy_rendered(2)], toy_pixels)
    assert batch.vision is None and batch.pictures == 0 and batch.inputs()["vision"] is None


@pytest.mark.parametrize("lay", [pack, pad])
def test_videos_without_pictures_are_vision_without_pixels(lay: object) -> None:
    samples = [toy_rendered(1, (), [toy_video(0)]), toy_rendered(2)]
    batch = lay(samples, toy_pixels)
    vision = batch.vision
    assert vision.pixels is None and vision.grids is None and vision.pictures == 0
    assert vision.spans.shape == (*batch.tokens.shape, 2) and not vision.spans.any()
    frames = len(toy_pixels(toy_video(0)))
    assert vision.clips.frames.tolist() == [frames] and vision.clips.grids.shape == (frames, 2)
    with torch.no_grad():
        features = toy_crossed(video=toy_video_config())(**batch.inputs())
    assert features.shape[:2] == batch.tokens.shape and bool(features.isfinite().all())


def test_padding_stands_behind_and_goes_on_seeing_what_its_row_saw() -> None:
    samples = [toy_rendered(1, [toy_picture(0)], tokens=3), toy_rendered(2, tokens=9)]
    batch = pad(samples, toy_pixels)
    assert batch.lengths.tolist() == [4, 9] and batch.segments is None
    assert not batch.tokens[0, 4:].any() and (batch.targets[0, 3:] == IGNORED).all()
    assert (batch.vision.spans[0, 4:] == batch.vision.spans[0, 3]).all()
    assert batch.positions.tolist() == [list(range(9))] * 2


def test_a_batch_moves_whole() -> None:
    batch = pad([toy_rendered(1, [toy_picture(0)]), toy_rendered(2)], toy_pixels)
    there = batch.to(torch.device("meta"))
    clips = (
        pad([toy_rendered(1, (), [toy_video(0)])], toy_pixels).to(torch.device("meta")).vision.clips
    )
    assert clips.spans.is_meta and clips.pixels.is_meta
    assert not clips.frames.is_meta and not clips.grids.is_meta  # counts stay on the processor
    for name in ("tokens", "positions", "targets", "lengths"):
        assert getattr(there, name).is_meta
    assert there.vision.spans.is_meta and there.vision.pixels.is_meta
    assert there.segments is None and not batch.tokens.is_meta
    text = pack([toy_rendered(1)], toy_pixels).to(torch.device("meta"))
    assert text.segments.is_meta and text.vision is None


@pytest.mark.parametrize(
    "config", [toy_crossed_config(), toy_prefix_config()], ids=lambda c: c.kind
)
def test_a_rendered_conversation_is_learned_where_the_assistant_speaks(config: object) -> None:
    renderer = toy_renderer(config)
    sample = toy_sample("what?", "a cat", [toy_picture(1)])
    batch = pack([renderer.render(sample)] * 2, toy_pixels)
    learned = [int(t) for t in batch.targets[0] if t != IGNORED]
    answer = [*renderer.tokenizer.encode("a cat"), renderer.end]
    assert learned == answer * 2
    places = [
        token for token, _ in groupby(batch.tokens[0].tolist()) if token == config.image_token
    ]
    assert (
        len(places) == 2
        and batch.tokens[0].tolist().count(config.image_token) == 2 * config.places()
    )
