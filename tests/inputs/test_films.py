"""Videos in a container: exactly the frames that were asked for, each with its own picture, or a reason.

Every frame of these clips carries its number (toys.numbered), so a frame that stands in for another one,
comes twice or is empty is seen.
"""

from __future__ import annotations

import io
import os
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from tests.inputs.toys import film, number_in, numbered

from chiasm.inputs import (
    FrameRule,
    ImageDecoder,
    Limits,
    MediaError,
    Picture,
    TileTransform,
    Video,
    read_clip,
    read_picture,
)

COUNT = 40
QUIET = {"x265-params": "log-level=none"}
KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264.mp4": ("mp4", "libx264", {}),
    "h264.mov": ("mov", "libx264", {}),
    "h264.mkv": ("matroska", "libx264", {}),
    "h264.avi": ("avi", "libx264", {}),  # frames out of order in a container that knows no times
    "open.mp4": ("mp4", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
    "open.mkv": ("matroska", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
    "refresh.mp4": ("mp4", "libx264", {"x264-params": "intra-refresh=1:bframes=0"}),
    "fragments.mp4": ("mp4", "libx264", {"mux_movflags": "frag_keyframe+empty_moov"}),
    "faststart.mp4": ("mp4", "libx264", {"mux_movflags": "faststart"}),
    "hevc.mp4": ("mp4", "libx265", {"x265-params": "log-level=none:open-gop=1"}),
    "mpeg4.mp4": ("mp4", "mpeg4", {"bf": "2"}),
    "mpeg4.avi": ("avi", "mpeg4", {"bf": "2"}),
    "vp9.webm": ("webm", "libvpx-vp9", {"cpu-used": "8"}),
    "hidden.webm": ("webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "live.mkv": ("matroska", "libx264", {"mux_live": "1"}),
    "ffv1.mkv": ("matroska", "ffv1", {}),
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(Limits(seconds=300, video_seconds=300)) as shared:
        yield shared


@cache
def clip(name: str = "h264.mp4", count: int = COUNT) -> bytes:
    kind, codec, options = KINDS[name]
    return film(map(numbered, range(count)), kind, codec, **options)


def numbers(decoder: ImageDecoder, data: bytes, chosen: Any) -> list[int | None]:
    return [number_in(frame) for frame in decoder.frames(data, chosen)]


def reason_of(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(MediaError) as caught:
        call(*given)
    return caught.value.reason


# ── the frames ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KINDS)
def test_the_frames_asked_for_and_no_others(decoder: ImageDecoder, name: str) -> None:
    data, chance = clip(name), random.Random(name)
    assert len(decoder.durations(data)) == len(decoder.times(data)) == COUNT
    assert numbers(decoder, data, range(COUNT)) == list(range(COUNT))
    for number in (0, 1, 11, 12, 13, 23, 24, COUNT - 1):
        assert numbers(decoder, data, [number]) == [number]
    for _ in range(5):
        chosen = sorted(chance.sample(range(COUNT), chance.randrange(2, 9)))
        assert numbers(decoder, data, chosen) == chosen
    whole = decoder.frames(data, range(COUNT))  # however one comes to a frame, it is the same
    np.testing.assert_array_equal(decoder.frames(data, [5, 19, 31]), whole[[5, 19, 31]])
    assert decoder.size(data) == (96, 64)
    np.testing.assert_array_equal(decoder.decode(data), whole[0])


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.webm", "mpeg4.mp4"])
def test_pixels_are_those_that_opencv_sees(
    decoder: ImageDecoder, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(clip(name))
    other = cv2.VideoCapture(str(tmp_path / name))
    for frame in decoder.frames(clip(name), range(COUNT)):
        seen, wanted = other.read()
        assert seen and np.abs(frame.astype(int) - wanted[..., ::-1]).mean() <= 2


def test_frames_whose_size_is_odd(decoder: ImageDecoder) -> None:
    drawn = [numbered(number, 63, 101) for number in range(3)]
    np.testing.assert_array_equal(
        decoder.frames(film(drawn, "matroska", "ffv1"), range(3)), np.stack(drawn)
    )


# ── their times ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi"])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(30), Fraction(24000, 1001)])
def test_a_rate_that_is_no_whole_number(decoder: ImageDecoder, name: str, rate: Fraction) -> None:
    """29.97 is not 30: after 100 s that would be three frames."""
    kind, codec, options = KINDS[name]
    data = film(map(numbered, range(90)), kind, codec, rate=rate, **options)
    times = decoder.times(data)
    np.testing.assert_allclose(times, [float(k / rate) for k in range(90)], atol=0.00051)
    assert abs(sum(decoder.durations(data)) - float(90_000 / rate)) <= 1
    if kind == "mp4":
        assert times[30] == pytest.approx(float(30 / rate), abs=1e-9)


@pytest.mark.parametrize("kind", ["mp4", "matroska", "webm"])
def test_a_rate_that_changes(decoder: ImageDecoder, kind: str) -> None:
    times = [0, 10, 45, 46, 200, 1200, 1233, 1266, 4000, 4001]
    codec, options = ("libvpx-vp9", {"cpu-used": "8"}) if kind == "webm" else ("libx264", {})
    data = film(map(numbered, range(10)), kind, codec, times=times, **options)
    assert decoder.times(data) == pytest.approx([time / 1000 for time in times])
    durations = decoder.durations(data)
    assert durations[:9] == np.diff(times).tolist() and durations[9] >= 1
    # Frame 5 stands from 1200 ms on, so at 0, 1, 2, 3 and 4 s we see 0, 4, 7, 7 and 8.
    chosen = FrameRule(by="fps", fps=1).chosen(durations)
    assert chosen == [0, 4, 7, 8] and numbers(decoder, data, chosen) == chosen


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_a_clock_that_does_not_start_at_zero(decoder: ImageDecoder, kind: str) -> None:
    data = film(map(numbered, range(20)), kind, times=[5000 + 40 * k for k in range(20)])
    assert decoder.times(data) == pytest.approx([5 + 0.04 * k for k in range(20)])
    assert decoder.durations(data)[:19] == [40] * 19
    assert numbers(decoder, data, [0, 13, 19]) == [0, 13, 19]


# ── upright ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_camera(decoder: ImageDecoder, degrees: int, tmp_path: Path) -> None:
    data = film(map(numbered, range(4)), turned=degrees)
    (tmp_path / "a.mp4").write_bytes(data)
    seen, wanted = cv2.VideoCapture(str(tmp_path / "a.mp4")).read()
    frame = decoder.decode(data)
    assert seen and np.abs(frame.astype(int) - wanted[..., ::-1]).mean() <= 2
    assert decoder.size(data) == (frame.shape[1], frame.shape[0])
    assert number_in(np.rot90(frame, -degrees // 90)) == 0


# x' = a x + c y, y' = b x + d y: where the pixels of the stored picture go.
MATRICES = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0), (0, 1, -1, 0)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_mirrored_picture(decoder: ImageDecoder, matrix: tuple[int, ...]) -> None:
    a, b, c, d = matrix
    plain = film(map(numbered, range(2)))
    told = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
    at = plain.index(struct.pack(">9i", *told), plain.index(b"tkhd"))
    told[:2], told[3:5] = (a << 16, b << 16), (c << 16, d << 16)
    stored = decoder.decode(plain)
    moved = decoder.decode(plain[:at] + struct.pack(">9i", *told) + plain[at + 36 :])
    height, width = stored.shape[:2]
    y, x = np.mgrid[:height, :width]
    across, down = a * x + c * y, b * x + d * y
    wanted = np.empty((np.ptp(down) + 1, np.ptp(across) + 1, 3), np.uint8)
    wanted[down - down.min(), across - across.min()] = stored
    np.testing.assert_array_equal(moved, wanted)


# ── cut, empty, damaged ──────────────────────────────────────────────────────────────────────────

OF_LIVE_STREAMS = {"live.mkv", "fragments.mp4"}


@pytest.mark.parametrize("name", KINDS)
def test_a_film_cut_short_is_refused(decoder: ImageDecoder, name: str) -> None:
    """At ten places. What a live stream wrote may lack its end unseen, but shows what it has."""
    data = clip(name)
    for tenth in range(1, 11):
        cut = data[: len(data) * tenth // 10 - 1]
        try:
            count = len(decoder.durations(cut))
            assert name in OF_LIVE_STREAMS or tenth == 10
            assert numbers(decoder, cut, range(count)) == list(range(count))
        except MediaError as error:
            assert error.reason == "broken"


def test_the_table_of_contents_is_missing(decoder: ImageDecoder) -> None:
    """A camera that was switched off writes no `moov`, which stands last."""
    data = clip("h264.mp4")
    assert reason_of(decoder.durations, data[: data.rindex(b"moov") - 4]) == "broken"


def test_a_film_of_one_frame_and_of_none(decoder: ImageDecoder) -> None:
    one = film([numbered(7)])
    assert len(decoder.durations(one)) == 1 and numbers(decoder, one, [0]) == [7]
    sound = io.BytesIO()
    with av.open(sound, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    assert reason_of(decoder.durations, sound.getvalue()) == "not_a_video"
    empty = film([numbered(0)], mux_movflags="frag_keyframe+empty_moov")
    assert reason_of(decoder.durations, empty[: empty.index(b"moof") - 4]) == "no_frames"


def test_a_frame_that_does_not_exist(decoder: ImageDecoder) -> None:
    data = clip("h264.mp4")
    assert reason_of(decoder.frames, data, [0, COUNT]) == "frames_missing"
    with pytest.raises(MediaError, match=r"every frame that was asked for \(frame 40 of 40\)"):
        decoder.frames(data, [COUNT])


# Coders of which the decoder, or a check sum of the container, notices damage.
NOTICED = ("h264.mp4", "h264.mkv", "mpeg4.mp4", "ffv1.mkv")


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A copy with a bit, or 256 bytes, changed somewhere in its middle half."""
    mutant, at = bytearray(data), chance.randrange(len(data) // 4, len(data) * 3 // 4)
    match chance.randrange(3):
        case 0:
            mutant[at] ^= 1 << chance.randrange(8)
        case 1:
            mutant[at : at + 256] = bytes(256)
        case 2:
            mutant[at : at + 256] = chance.randbytes(256)
    return bytes(mutant)


@pytest.mark.parametrize("name", [*NOTICED, "vp9.webm", "mpeg4.avi", "hevc.mp4"])
def test_damage_in_the_middle(decoder: ImageDecoder, name: str) -> None:
    """There are all frames or none, and of coders that notice damage none stands in another's place.

    Not every damage can be told from a picture, least of all in VP9 and HEVC: there a frame may come out
    spoiled, or as the one before, which a checksum of the file finds alone (message.verified).
    """
    seen: Counter[str] = Counter()
    whole = decoder.frames(clip(name), range(COUNT)).astype(int)
    for number in range(40):
        mutant = damaged(clip(name), random.Random(f"{name}/{number}"))
        try:
            frames = decoder.frames(mutant, range(len(decoder.durations(mutant))))
        except MediaError as error:
            assert error.reason in ("broken", "frames_missing", "codec", "too_many_pixels")
            seen["refused"] += 1
            continue
        assert len(frames) == COUNT
        for k, frame in enumerate(frames):
            other = number_in(frame)
            if other not in (k, None):
                copied = other < COUNT and np.abs(frame - whole[other]).mean() < 10
                assert not (copied and name in NOTICED)
                other = None
            seen["spoiled" if other is None else "as it was"] += 1
    assert seen["refused"] >= (20 if name in NOTICED else 5), seen


def test_frames_before_the_damage_are_still_there(decoder: ImageDecoder) -> None:
    data = bytearray(clip("h264.mp4"))
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    hit = packets[30]
    data[hit.pos + 8 : hit.pos + 60] = bytes(52)
    assert numbers(decoder, bytes(data), [0, 5, 20]) == [0, 5, 20]
    assert reason_of(decoder.frames, bytes(data), [5, 35]) == "broken"


# ── limits, and what is out of reach ─────────────────────────────────────────────────────────────


def test_limits_of_a_film() -> None:
    data = clip("h264.mp4")
    each = 96 * 64 * 3
    with ImageDecoder(Limits(encoded_bytes=10, video_bytes=len(data), frames=COUNT)) as decoder:
        assert len(decoder.durations(data)) == COUNT
    with ImageDecoder(Limits(video_bytes=len(data) - 1)) as decoder:
        assert reason_of(decoder.durations, data) == "too_many_bytes"
    with ImageDecoder(Limits(frames=COUNT - 1)) as decoder:
        assert reason_of(decoder.durations, data) == "too_many_frames"
    with ImageDecoder(Limits(decoded_bytes=4 * each)) as decoder:
        assert decoder.frames(data, range(4)).shape[0] == 4
        assert reason_of(decoder.frames, data, range(5)) == "too_many_pixels"
    with ImageDecoder(Limits(pixels=96 * 64 - 1)) as decoder:
        assert reason_of(decoder.durations, data) == "too_many_pixels"
    with ImageDecoder(Limits(video_seconds=1e-9)) as decoder:
        assert reason_of(decoder.durations, data) == "too_slow"


def test_a_films_memory_is_bounded() -> None:
    large = film([np.zeros((1080, 1920, 3), np.uint8)] * 3, preset="ultrafast")
    with ImageDecoder(Limits(memory=60_000_000)) as decoder:
        assert reason_of(decoder.frames, large, [0, 1, 2]) in ("too_much_memory", "broken")
    with ImageDecoder() as decoder:
        assert decoder.frames(large, [0, 2]).shape == (2, 1080, 1920, 3)


def test_a_file_of_a_film_may_be_larger_than_a_pictures(tmp_path: Path) -> None:
    for head, limit in ((b"\0\0\0\x20ftypisom", 256), (b"\xff\xd8\xff" + bytes(9), 64)):
        with open(tmp_path / "a", "wb") as file:
            file.write(head)
            file.truncate(64_000_001)
        if limit == 64:
            assert reason_of(read_picture, tmp_path / "a") == "too_many_bytes"
        else:
            assert len(read_picture(tmp_path / "a")) == 64_000_001


def test_a_film_opens_no_other_file(decoder: ImageDecoder, tmp_path: Path) -> None:
    """QuickTime may say that its frames lie elsewhere; playlists say nothing else."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(clip("h264.mp4"))
    data = bytearray(clip("h264.mov"))
    at = data.index(b"dref") + 12
    entry = data[at : at + 12]
    assert entry[4:8] in (b"url ", b"alis") and entry[8:12] == b"\0\0\0\1"
    data[at + 8 : at + 12] = bytes(4)  # "not in this file"
    try:
        assert numbers(decoder, bytes(data), [0]) == [0]  # its own frames all the same
    except MediaError as error:
        assert error.reason == "broken"
    os.chdir(tmp_path)
    for text in (
        b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n",
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"<?xml version='1.0'?><MPD><BaseURL>secret.mp4</BaseURL></MPD>",
    ):
        assert reason_of(decoder.durations, text) == "not_a_picture"


def test_coders_and_pictures_out_of_reach(decoder: ImageDecoder) -> None:
    strange = film(map(numbered, range(2)), "avi", "msmpeg4v2")
    assert reason_of(decoder.durations, strange) in ("codec", "broken")
    for brand in (b"avif", b"heic"):
        assert reason_of(decoder.decode, b"\0\0\0\x20ftyp" + brand + bytes(99)) == "not_a_picture"


def test_without_pyav_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ImageDecoder() as decoder, pytest.raises(MediaError) as caught:
        decoder.durations(clip("h264.mp4"), "a.mp4")
    assert str(caught.value) == (
        "a.mp4 is a video file, which needs PyAV: pip install 'chiasm[video]'."
    )


def test_the_worker_loads_ffmpeg_for_films_alone() -> None:
    with ImageDecoder() as decoder:
        decoder.decode(film([numbered(0)], "matroska", "ffv1"))
        (lanes,) = decoder._lanes.values()
        assert lanes.all[0].worker is not None
        maps = Path(f"/proc/{lanes.all[0].worker.pid}/maps").read_text()
    assert "libavcodec" in maps and "libtorch" not in maps
    assert "libav" not in Path("/proc/self/maps").read_text() or "av" in globals()


# ── what is made of them ─────────────────────────────────────────────────────────────────────────


def test_a_films_frames_become_tiles_like_pictures(decoder: ImageDecoder, tmp_path: Path) -> None:
    path, transform = tmp_path / "clip.mp4", TileTransform(size=32)
    path.write_bytes(clip("h264.mp4"))
    rule = FrameRule(most=5)
    chosen = rule.chosen(decoder.durations(path.read_bytes()))
    seen = read_clip(decoder, transform, Video(Picture(path=str(path))), rule)
    frames = decoder.frames(path.read_bytes(), chosen)
    assert torch.equal(seen, torch.stack([transform.pixels(frame) for frame in frames]))
    assert [number_in(frame) for frame in frames] == chosen
