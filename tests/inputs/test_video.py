"""Which frames of a video are taken, and that they are the frames that were drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.inputs.toys import saved

from chiasm.base.errors import UserError
from chiasm.inputs import FrameRule, ImageDecoder, Limits, MediaError, Picture, TileTransform, Video
from chiasm.inputs import read_clip as read

LEVELS = tuple(range(0, 250, 25))
RULES = st.builds(
    FrameRule,
    by=st.sampled_from(["uniform", "fps", "stride"]),
    most=st.integers(1, 40),
    fps=st.floats(0.01, 1000),
    stride=st.integers(1, 9),
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(Limits(seconds=300)) as shared:
        yield shared


def animation(format: str, size: tuple[int, int] = (30, 20), **options: Any) -> bytes:
    """Ten frames, each of one level of grey; no two are alike, so no writer can merge them."""
    frames = [Image.new("RGB", size, (level,) * 3) for level in LEVELS]
    lossless = {"lossless": True} if format == "WEBP" else {}
    told = {"duration": 50, **lossless, **options}
    return saved(frames[0], format, save_all=True, append_images=frames[1:], **told)


# ── which frames ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "durations", "chosen"),
    [
        (FrameRule(most=4), [100] * 16, [2, 6, 10, 14]),  # the middles of four equal parts
        (FrameRule(most=1), [100] * 5, [2]),
        (FrameRule(most=8), [100] * 3, [0, 1, 2]),  # no more than there are
        (
            FrameRule(most=4),
            [100, 100, 600],
            [1, 2],
        ),  # a long frame fills two parts, and comes once
        (FrameRule(by="fps", fps=1), [250] * 12, [0, 4, 8]),
        (FrameRule(by="fps", fps=2.5), [250] * 8, [0, 1, 3, 4, 6]),  # at 0, 400, 800, 1200, 1600 ms
        (FrameRule(by="fps", fps=100), [250] * 3, [0, 1, 2]),
        (FrameRule(by="fps", fps=1, most=2), [1000] * 5, [0, 2]),
        (FrameRule(by="stride", stride=3), [100] * 8, [0, 3, 6]),
        (FrameRule(by="stride", most=4), [100] * 8, [0, 2, 4, 6]),
        (FrameRule(by="fps", fps=5), [0] * 6, [0, 2, 4]),  # untold: 100 ms, as browsers show it
    ],
)
def test_frames_worked_out_by_hand(
    rule: FrameRule, durations: list[int], chosen: list[int]
) -> None:
    assert rule.chosen(durations) == chosen


@given(RULES, st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_frames_rise_and_are_there_and_not_too_many(rule: FrameRule, durations: list[int]) -> None:
    chosen = rule.chosen(durations)
    assert 1 <= len(chosen) <= rule.most
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < len(durations)
    if rule.by != "uniform":
        assert chosen[0] == 0


@given(st.floats(0.05, 50), st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_by_fps_each_moment_shows_its_frame(fps: float, durations: list[int]) -> None:
    """Counted the slow way: moment after moment."""
    ends = np.cumsum(durations)
    count = math.ceil(ends[-1] * (fps / 1000))
    wanted = {int(np.searchsorted(ends * (fps / 1000), k, side="right")) for k in range(count)}
    assert FrameRule(by="fps", fps=fps, most=4096).chosen(durations) == sorted(wanted)


def test_a_video_without_frames_is_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        FrameRule().chosen([])


# ── their pixels ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_frames_are_those_that_were_drawn(decoder: ImageDecoder, format: str) -> None:
    data = animation(format)
    assert decoder.durations(data) == [50] * 10
    for chosen in ([0], [9], [0, 4, 5], list(range(10))):
        frames = decoder.frames(data, chosen)
        assert frames.shape == (len(chosen), 20, 30, 3)
        for frame, number in zip(frames, chosen, strict=True):
            assert (frame == LEVELS[number]).all()
    np.testing.assert_array_equal(decoder.decode(data), decoder.frames(data, [0])[0])


def test_a_still_picture_is_a_video_of_one_frame(decoder: ImageDecoder) -> None:
    for format in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        data = saved(Image.new("RGB", (9, 7), (200, 200, 200)), format)
        assert decoder.durations(data) == [0]
        assert decoder.frames(data, FrameRule().chosen([0])).shape == (1, 7, 9, 3)


def test_a_picture_file_of_several_is_no_video(decoder: ImageDecoder) -> None:
    views = [Image.new("RGB", (16, 16), (level,) * 3) for level in (10, 200)]
    data = saved(views[0], "MPO", save_all=True, append_images=views[1:])
    assert decoder.durations(data) == [0]


def test_frames_become_tiles_like_pictures(decoder: ImageDecoder) -> None:
    transform = TileTransform(size=16)
    clip = read(decoder, transform, Video(Picture(data=animation("WEBP"))), FrameRule(most=5))
    assert clip.shape == (5, *transform.grid(30, 20), 3, 16, 16) and clip.dtype == torch.float32
    for frame, number in zip(clip, (1, 3, 5, 7, 9), strict=True):
        picture = np.full((20, 30, 3), LEVELS[number], np.uint8)
        assert torch.equal(frame, transform.pixels(picture))


def test_frames_may_come_as_pictures(decoder: ImageDecoder) -> None:
    transform, rule = TileTransform(size=16), FrameRule(by="stride", stride=4)
    pictures = tuple(
        Picture(data=saved(Image.new("RGB", (30, 20), (level,) * 3), "PNG")) for level in LEVELS
    )
    whole = read(decoder, transform, Video(Picture(data=animation("PNG"))), rule)
    assert torch.equal(read(decoder, transform, Video(pictures), rule), whole)
    other = Picture(data=saved(Image.new("RGB", (20, 30)), "PNG"))
    with pytest.raises(UserError, match=r"different sizes \(20 x 30, 30 x 20\)"):
        read(decoder, transform, Video((pictures[0], other)), FrameRule())


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


def test_too_many_frames_and_too_many_pixels_are_refused() -> None:
    data = animation("GIF")
    with ImageDecoder(Limits(frames=9, decoded_bytes=4 * 30 * 20 * 3)) as strict:
        with pytest.raises(MediaError) as caught:
            strict.durations(data, "a.gif")
        assert caught.value.reason == "too_many_frames" and "more than 9 frames" in str(
            caught.value
        )
        assert strict.frames(data, range(4)).shape[0] == 4
        with pytest.raises(MediaError) as caught:
            strict.frames(data, range(5), "a.gif")
        assert caught.value.reason == "too_many_pixels" and "5 frames" in str(caught.value)


def test_a_film_is_refused_by_a_sentence_that_says_what_is_read(decoder: ImageDecoder) -> None:
    film = Video(Picture(data=b"FLV\x01\x05\0\0\0\x09" + bytes(99)))
    with pytest.raises(MediaError, match="The video is not a video that Chiasm reads") as caught:
        read(decoder, TileTransform(size=16), film, FrameRule())
    assert caught.value.reason == "not_a_video"


def test_a_damaged_animation_is_a_reason(decoder: ImageDecoder) -> None:
    for format in ("GIF", "WEBP", "PNG"):
        data = animation(format, size=(60, 50))
        for cut in (len(data) // 3, len(data) * 2 // 3):
            try:
                told = decoder.durations(data[:cut])
                assert decoder.frames(data[:cut], range(len(told))).shape[0] == len(told)
            except MediaError as error:
                assert error.reason in ("broken", "not_a_picture")
        with pytest.raises(MediaError):
            decoder.frames(data, [10])
