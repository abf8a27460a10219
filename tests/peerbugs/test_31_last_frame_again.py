"""Row 31: frames that cannot be decoded are silently replaced by a copy of the last good one, by black ones,
or by nothing: decord#119 and #83, MotionBench#3, torchvision#2490.
"""

import io
from functools import cache

import av
import pytest
from tests.inputs.toys import film, number_in, numbered

from chiasm.inputs import ImageDecoder, MediaError

FRAMES = 36


@cache
def clip() -> bytes:
    return film(map(numbered, range(FRAMES)))


def hit(first: int, last: int) -> bytes:
    """The clip, some of whose packets hold zeros."""
    data = bytearray(clip())
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    for packet in packets[first:last]:
        data[packet.pos + 8 : packet.pos + packet.size] = bytes(packet.size - 8)
    return bytes(data)


@pytest.mark.parametrize(("first", "last"), [(5, 6), (14, 17), (30, 36)])
def test_each_frame_is_itself_or_the_film_is_refused(first: int, last: int) -> None:
    with ImageDecoder() as decoder:
        assert [number_in(frame) for frame in decoder.frames(clip(), range(FRAMES))] == [
            *range(FRAMES)
        ]
        with pytest.raises(MediaError) as caught:
            decoder.frames(hit(first, last), range(FRAMES))
        assert caught.value.reason in ("broken", "frames_missing")
