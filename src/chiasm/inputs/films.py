"""Videos in a container, in the child: here alone FFmpeg (PyAV) meets bytes that came from somebody else.

    bytes ──▶ whole? ──▶ packets ──▶ the frames that they make, by their times ──▶ decoded from the last key
              │ cut        (nothing is decoded: time, key, damage)                frame on, one by one
              ▼                                                                    │ damaged, missing,
           refused                                                                 ▼ out of order
                                                                                refused

A frame is known by its time (PTS). FFmpeg fills holes with what it has: a picture before, grey, or nothing.
Here each decoded frame must be the one whose turn it is, up to the last that was asked for.

Pixels are those that are stored: no deinterlacing, no stretching of pixels that are not square.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chiasm.base.worker import Body
from chiasm.inputs.containers import AVI, MATROSKA, MP4, is_whole, kind_of
from chiasm.inputs.refusal import Refused, refuse, refuse_too_large, refuse_too_many

CODECS = (
    *("h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video"),
    *("mjpeg", "prores", "ffv1", "huffyuv", "rawvideo"),
)
"""FFmpeg's decoders that we let work; every other one stays out of reach."""

_DEMUXERS = {MP4: "mov,mp4,m4a,3gp,3g2,mj2", MATROSKA: "matroska,webm", AVI: "avi"}
_DETECT = {"err_detect": "crccheck+bitstream+buffer+explode"}
"""Damage that a decoder notices is an error, not something to paint over."""


def read(request: dict[str, Any], body: memoryview) -> tuple[dict[str, Any], Body]:
    """Answer about one video: the times of its frames, its size, or the pixels of chosen frames."""
    try:
        import av
    except ImportError as error:
        # Found, but larger than the memory that we may take ("failed to map segment ...").
        refuse("too_much_memory" if "failed to map" in str(error) else "needs_pyav")
    av.logging.set_level(None)
    kind = kind_of(body)
    if not is_whole(body, kind):
        refuse("broken")
    with av.open(
        _Bytes(body),
        format=kind,
        # Nothing but these bytes: a file may name others, or addresses (concat, HLS, QuickTime's dref).
        io_open=_closed,
        container_options={
            "protocol_whitelist": "none",
            "format_whitelist": _DEMUXERS[kind],
            "codec_whitelist": ",".join(CODECS),
        },
        metadata_errors="replace",
        buffer_size=1 << 18,
    ) as container:
        film = _film(container, kind, request)
        if request["want"] == "durations":
            return {"durations": film.durations(), "times": film.seconds()}, b""
        size = request["want"] == "size"
        frames = film.pixels([0] if size else request["chosen"], request)
    told = {"height": frames.shape[1], "width": frames.shape[2]}
    return told, b"" if size else frames.reshape(-1).data


class _Bytes:
    """Bytes as a file that is read only, without a copy of them."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def read(self, most: int) -> bytes:
        got = bytes(self._data[self._at : self._at + most])
        self._at += len(got)
        return got

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + to)
        return self._at

    def tell(self) -> int:
        return self._at


def _closed(*_: Any) -> NoReturn:
    """No file names another one that we would open."""
    raise PermissionError


def _film(container: Any, kind: str, request: dict[str, Any]) -> _Film:
    """Read the packets of the first video, and decode none."""
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & cover]
    if not streams:
        refuse("not_a_video")
    stream = streams[0]
    coder = stream.codec_context
    if coder is None or coder.name not in CODECS:
        refuse("codec", "unknown" if coder is None else coder.name)
    coder.thread_count = 1
    coder.options = {**_DETECT, "max_pixels": str(request["pixels"])}
    refuse_too_large(coder.width, coder.height, 3, request)
    packets: list[Any] = []
    for packet in container.demux(stream):
        if packet.is_corrupt:  # it ends behind the end of the file
            refuse("broken")
        if packet.size:
            packets.append(packet)
        if len(packets) > request["frames"]:
            refuse("too_many_frames", f"{request['frames']:,}")
    if not packets:
        refuse("no_frames")
    if len(packets) < stream.frames:
        refuse("broken")
    timed = kind != AVI or all(packet.is_keyframe for packet in packets)
    return _Film(stream, packets, timed)


@dataclass(frozen=True)
class _Film:
    """The packets of a video in the order in which they are decoded."""

    stream: Any
    packets: list[Any]
    told: bool
    """Whether the container knows its frames' times; AVI knows only a rate."""

    @cached_property
    def times(self) -> list[int]:
        """When each frame is shown, in the stream's unit, rising."""
        shown = [packet for packet in self.packets if not packet.is_discard and _is_shown(packet)]
        if self.told and all(packet.pts is not None for packet in shown):
            return sorted(packet.pts for packet in shown)
        # A rate: the frames come evenly, in an order that only the decoder knows.
        return sorted(packet.pts if packet.dts is None else packet.dts for packet in shown)

    @cached_property
    def numbers(self) -> dict[int, int] | None:
        """Each frame's number by its time; None where a time does not tell which frame it is."""
        numbers = {time: number for number, time in enumerate(self.times)}
        known = self.told and all(packet.pts is not None for packet in self.packets)
        return numbers if known and len(numbers) == len(self.times) else None

    def seconds(self) -> list[float]:
        return [float(time * self.stream.time_base) for time in self.times]

    def durations(self) -> list[int]:
        """Milliseconds of each frame, at least 1; rounded at their ends, so that no error grows."""
        last = self.packets[-1].duration or min((b - a for a, b in pairwise(self.times)), default=0)
        ends = [*self.times, self.times[-1] + last]
        rounded = [round(1000 * (time - ends[0]) * self.stream.time_base) for time in ends]
        return [max(1, after - before) for before, after in pairwise(rounded)]

    def pixels(self, chosen: Sequence[int], request: dict[str, Any]) -> NDArray[np.uint8]:
        """The chosen frames, upright, uint8 [frames, height, width, 3]."""
        import av

        if beyond := [number for number in chosen if number >= len(self.times)]:
            refuse("frames_missing", f"frame {beyond[0]} of {len(self.times)}")
        coder = self.stream.codec_context
        refuse_too_many(len(chosen), coder.width, coder.height, request)
        made: NDArray[np.uint8] | None = None
        # One converter with one thread: by itself each frame makes one with as many as there are cores.
        convert = av.video.reformatter.VideoReformatter().reformat
        for place, (_, frame) in enumerate(self._found(chosen)):
            if (frame.width, frame.height) != (coder.width, coder.height):
                refuse("codec", "frames that change their size")
            stored: Any = convert(frame, format="rgb24", threads=1).to_ndarray()
            rgb = _upright(stored, frame)
            if made is None:
                made = np.empty((len(chosen), *rgb.shape), np.uint8)
            if rgb.shape != made.shape[1:]:
                refuse("codec", "frames that change their size")
            made[place] = rgb
        assert made is not None
        return made

    def _found(self, chosen: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(number, frame) of the chosen ones, each group from the key frame that it hangs on."""
        if self.numbers is None:
            yield from self._run(0, chosen)
            return
        for start, group in groupby(chosen, self._key_before):
            wanted = list(group)
            try:
                run = list(self._run(start, wanted))
            except (Refused, ValueError):
                if start == 0:
                    raise
                # Not every key frame is one that a decoder can begin at (open groups, slow refresh).
                run = list(self._run(0, wanted))
            yield from run

    @cached_property
    def _keys(self) -> tuple[list[int], list[int]]:
        """Times of the key frames, rising, and the places of their packets."""
        keys = sorted(
            (packet.pts, place)
            for place, packet in enumerate(self.packets)
            if packet.is_keyframe and packet.pts in (self.numbers or ())
        )
        return [time for time, _ in keys], [place for _, place in keys]

    def _key_before(self, number: int) -> int:
        """The place of the packet to begin at: the last key frame that is not shown later."""
        times, places = self._keys
        at = bisect_right(times, self.times[number]) - 1
        return places[at] if at >= 0 else 0

    def _run(self, start: int, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Decode from a packet on; each frame must be the next in turn, until the last one wanted."""
        left = set(wanted)
        turn = 0 if self.numbers is None or start == 0 else self.numbers[self.packets[start].pts]
        for frame in self._decoded(start):
            number = turn if self.numbers is None else self.numbers.get(frame.pts, -1)
            if 0 <= number < turn and start:
                continue  # shown before the key frame, decoded behind it: hangs on what we left out
            if frame.is_corrupt:
                refuse("broken")
            if number != turn or number >= len(self.times):
                refuse("frames_missing", f"frame {turn}")
            turn += 1
            if number in left:
                left.remove(number)
                yield number, frame
            if not left and self.numbers is not None:
                return
        # Frames that are counted and not named by their time must all be there.
        if left or (self.numbers is None and turn != len(self.times)):
            refuse("frames_missing", f"frame {turn}")

    def _decoded(self, start: int) -> Iterator[Any]:
        self.stream.codec_context.flush_buffers()
        for packet in self.packets[start:]:
            yield from packet.decode()
        yield from self.stream.codec_context.decode(None)


def _is_shown(packet: Any) -> bool:
    """Whether a packet makes a frame; VP8 keeps pictures that others are made from in their own."""
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 0x10)


def _upright(rgb: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """A frame's pixels, turned as its display matrix says (ISO/IEC 14496-12, section 6.2.2)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return rgb
    # x' = a x + c y and y' = b x + d y, y downwards; a turn by another angle is shown as it is stored.
    a, b, _, c, d = (np.sign(value) for value in struct.unpack_from("=5i", bytes(matrix)))
    if a == d == 0 and b and c:
        return rgb.swapaxes(0, 1)[::b, ::c]
    return rgb[::d, ::a] if b == c == 0 and a and d else rgb
