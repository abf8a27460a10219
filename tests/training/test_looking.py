"""The looking meter: it must tell a model that looks from one that guesses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.toys import lay, places, samples_of
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.inputs.batch import pack
from chiasm.testing import (
    toy_crossed,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_tiles,
    toy_video,
    toy_video_config,
)
from chiasm.training import Looking, NextToken
from chiasm.training.looking import blank, shuffled


@pytest.fixture(params=[toy_crossed, toy_prefix])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return request.param()


def test_a_model_with_open_gates_loses_something_without_its_picture(model: nn.Module) -> None:
    batches = [
        lay(model, samples_of([1, 0, 1], places(model))),
        lay(model, samples_of([2], places(model), 9)),
    ]
    losses = Looking(NextToken(), batches).measure(model)
    assert list(losses) == ["right", "blank", "shuffled"]
    assert len({round(loss, 9) for loss in losses.values()}) == 3
    targets = sum(NextToken().weight(batch) for batch in batches)
    total = sum(float(NextToken().loss(model, batch).detach()) for batch in batches)
    assert losses["right"] == pytest.approx(total / targets)


def test_a_model_with_closed_gates_does_not_look() -> None:
    model = toy_crossed()
    for name, parameter in model.named_parameters():
        if name.endswith("_gate"):
            nn.init.zeros_(parameter)
    losses = Looking(NextToken(), [lay(model, samples_of([1, 1]))]).measure(model)
    assert losses["right"] == losses["blank"] == losses["shuffled"]


def test_measuring_leaves_the_model_as_it_was(model: nn.Module) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = torch.get_rng_state()
    Looking(NextToken(), [lay(model, samples_of([1, 0], places(model)))]).measure(model)
    assert all(
        torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters()
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_a_shuffled_picture_is_always_another_one() -> None:
    """Samples that share some pictures bring copies: the neighbour may be the same picture again."""
    model = toy_prefix()
    a, b, c = (toy_picture(number) for number in range(3))
    held = [[a], [a, b], [b, a], [c]]
    samples = [toy_rendered(i, pictures, places=9) for i, pictures in enumerate(held)]
    batch = lay(model, samples)
    assert batch.vision is not None
    changed = shuffled(batch)
    right, wrong = batch.vision.pixels, changed.vision.pixels
    assert len(right) == 6 and (right != wrong).flatten(1).any(1).all()
    assert {tuple(p.flatten().tolist()) for p in wrong} == {
        tuple(p.flatten().tolist()) for p in right
    }
    assert changed.vision.spans is batch.vision.spans and changed.tokens is batch.tokens


def test_a_shuffled_picture_of_several_tiles_gets_those_of_another_picture() -> None:
    """Its own second tile differs from its first, but would show nothing of another picture."""
    pictures = [toy_picture(number) for number in range(8)]
    samples = [toy_rendered(i, [picture]) for i, picture in enumerate(pictures)]
    samples.append(toy_rendered(9, pictures[:2]))  # copies of two of them
    batch = pack(samples, toy_tiles)
    assert batch.vision is not None
    counts = batch.vision.grids.prod(1).tolist()
    assert len(set(counts)) > 2
    wrong = shuffled(batch).vision.pixels.split(counts)
    whose = []
    for number, tiles in enumerate(wrong):
        owners = {i for i, p in enumerate(pictures) if _holds(toy_tiles(p).flatten(0, 1), tiles)}
        assert len(owners) == 1 and number % 8 not in owners
        whose += owners
    assert set(whose) == set(range(8)) and whose[:2] == whose[8:]


def _holds(tiles: Tensor, shown: Tensor) -> bool:
    """Whether these tiles are those that are shown, in their order, and around again."""
    return all(torch.equal(tile, tiles[i % len(tiles)]) for i, tile in enumerate(shown))


def test_a_blank_picture_is_the_mean_colour() -> None:
    batch = lay(toy_crossed(), samples_of([1, 2]))
    assert batch.vision is not None and not blank(batch).vision.pixels.any()
    assert blank(batch).vision.pixels.shape == batch.vision.pixels.shape


def test_videos_are_changed_like_pictures() -> None:
    videos = [toy_video(number) for number in range(6)]
    samples = [toy_rendered(i, [toy_picture(i)], [video]) for i, video in enumerate(videos)]
    samples.append(toy_rendered(9, (), videos[:2]))  # copies of two of them
    batch = pack(samples, toy_pixels)
    clips = batch.vision.clips
    assert len(set(clips.frames.tolist())) > 1  # videos of unequal length stand for one another
    wrong = shuffled(batch).vision
    assert (wrong.pixels != batch.vision.pixels).flatten(1).any(1).all()
    for number, frames in enumerate(wrong.clips.pixels.split(clips.frames.tolist())):
        owners = {i for i, v in enumerate(videos) if _holds(toy_pixels(v).flatten(0, 2), frames)}
        assert len(owners) == 1 and number % 6 not in owners
    grey = blank(batch).vision
    assert not grey.pixels.any() and not grey.clips.pixels.any()
    alone = pack([toy_rendered(0, (), videos[:1])], toy_pixels)
    assert blank(alone).vision.pixels is None and not blank(alone).vision.clips.pixels.any()
    model = toy_crossed(video=toy_video_config())
    losses = Looking(NextToken(), [alone, pack([samples[1]], toy_pixels)]).measure(model)
    assert losses["right"] != losses["blank"]


def test_ready_made_features_are_refused_because_they_would_hide_the_change() -> None:
    batch = lay(toy_crossed(), samples_of([1]))
    ready = replace(batch, vision=Vision(batch.vision.spans, features=torch.zeros(1, 10, 24)))
    for change in (blank, shuffled):
        with pytest.raises(ValueError, match="features would hide"):
            change(ready)


def test_text_has_no_picture_to_change() -> None:
    batch = lay(toy_crossed(), samples_of([0, 0]))
    assert batch.vision is None and blank(batch) is batch and shuffled(batch) is batch
