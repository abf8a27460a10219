"""Videos on their way through the processor: from OpenAI-style messages to what a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.inputs.test_video import animation

from chiasm.base.errors import UserError
from chiasm.inputs import (
    FrameRule,
    MediaError,
    Picture,
    Processor,
    TileTransform,
    Transform,
    Video,
    read_clip,
)
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.tiles import AnyTransform
from chiasm.testing import VOCAB, toy_crossed, toy_picture, toy_tokenizer, toy_video_config

RULE = FrameRule(most=4)
MOVING = animation("WEBP")
"""Ten frames of 30 x 20 pixels."""


def processor_of(transform: AnyTransform, video: Any = (VOCAB + 1, RULE)) -> Processor:
    return Processor(
        toy_tokenizer(), CHATML, transform, image_token=VOCAB, default_system=None, video=video
    )


@pytest.fixture(scope="module")
def watching() -> Iterator[Processor]:
    processor = processor_of(TileTransform(size=12))
    yield processor
    processor.close()


def test_a_conversation_of_pictures_and_videos_is_what_a_model_takes(watching: Processor) -> None:
    still = toy_picture(0).read()
    content = [
        {"type": "video", "video": MOVING},
        {"type": "image", "image": still},
        {"type": "text", "text": "what?"},
    ]
    inputs = watching([{"role": "user", "content": content}])
    clips = inputs["vision"].clips
    grid = list(TileTransform(size=12).grid(30, 20))
    assert clips.frames.tolist() == [4] and clips.grids.tolist() == [grid] * 4
    whole = read_clip(watching.decoder, TileTransform(size=12), Video(Picture(data=MOVING)), RULE)
    assert torch.equal(clips.pixels, whole.flatten(0, 2))
    at = inputs["tokens"][0].tolist().index(VOCAB + 1)
    assert inputs["tokens"][0, at + 1] == VOCAB
    assert clips.spans[0, at - 1 : at + 1].tolist() == [[0, 0], [0, 1]]
    with torch.no_grad():
        features = toy_crossed(video=toy_video_config())(**inputs)
    assert bool(features.isfinite().all())


def test_the_rule_that_was_given_chooses_the_frames(watching: Processor) -> None:
    video = Video(Picture(data=MOVING))
    assert len(watching.pixels_of(video)) == 4
    assert watching.pixels_of(video) is watching.pixels_of(video)  # decoded once
    other = processor_of(Transform(size=12), (VOCAB + 1, FrameRule(by="stride", stride=3)))
    assert other.pixels_of(video).shape == (4, 1, 1, 3, 12, 12)
    frames = other.decoder.frames(MOVING, (0, 3, 6, 9))
    for frame, pixels in zip(frames, other.pixels_of(video), strict=True):
        assert torch.equal(other.transform.pixels(frame), pixels)
    other.close()


def test_what_moves_is_a_video_to_a_model_that_watches(watching: Processor) -> None:
    moving, still = Picture(data=MOVING), toy_picture(0)
    assert watching.shown(moving) == Video(moving) and watching.shown(still) is still
    assert watching.pixels_of(moving).ndim == 5  # a picture by name stays one: its first frame
    blind = processor_of(Transform(size=12), None)
    assert blind.shown(moving) is moving
    with pytest.raises(UserError, match="no eyes for videos"):
        blind.pixels_of(Video(moving))
    with pytest.raises(UserError, match="no eyes for videos"):
        blind([{"role": "user", "content": [{"type": "video", "video": MOVING}]}])
    blind.close()
    with pytest.raises(MediaError, match=r"damaged|not a picture"):
        watching.shown(Picture(data=MOVING[:200]))


def test_few_videos_are_kept(watching: Processor) -> None:
    """Each is as much memory as many pictures."""
    videos = [Video((toy_picture(number),)) for number in range(12)]
    for video in videos:
        watching.pixels_of(video)
    assert list(watching._clips) == [video.key for video in videos[-8:]]
