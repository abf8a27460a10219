"""Encoded pictures to pixels, decoded in a limited child process.

    JPEG PNG WebP GIF BMP ──▶ decoding.py ─┐ in the child
    MP4 MOV WebM MKV AVI  ──▶ films.py ────┴─▶ uint8 [H, W, 3], upright
                                │ too big, damaged, slow ...
                                ▼
                            MediaError(reason)

Here is the parent's side. Pillow and FFmpeg meet bytes that came from somebody else in the child alone.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError
from chiasm.base.worker import Worker, WorkerLate, WorkerStopped

_CHILD = "chiasm.inputs.decoding"
_HEAD = 12
"""Bytes at the start of a file that tell a picture from a video."""

REASONS = {
    "missing": "{name} does not exist; check the path.",
    "not_a_file": "{name} is not a file (a folder, or a pipe); give the path of a picture.",
    "unreadable": "{name} cannot be read; check its permissions and the disk.",
    "empty": "{name} is empty (0 bytes); fetch or save it again.",
    "too_many_bytes": "{name} is larger than the limit of {detail}; save a smaller picture.",
    "not_a_picture": "{name} is not a picture that Chiasm reads (JPEG, PNG, WebP, GIF, BMP).",
    "not_a_video": "{name} is not a video that Chiasm reads (MP4, MOV, WebM, MKV, AVI, animated GIF, "
    "WebP, PNG); save it as one, or give its frames as pictures.",
    "broken": "{name} is damaged or cut short; fetch or save it again.",
    "changed": "{name} is not what was written here once (its SHA-256 differs); fetch or save it again.",
    "no_frames": "{name} is a video without a frame; save it again.",
    "frames_missing": "{name} does not hold every frame that was asked for ({detail}); "
    "fetch or save it again.",
    "codec": "{name} is compressed in a way that Chiasm does not read ({detail}); save it as H.264 or VP9.",
    "needs_pyav": "{name} is a video file, which needs PyAV: pip install 'chiasm[video]'.",
    "too_many_pixels": "{name} would decode to {detail}; save a smaller picture.",
    "too_many_frames": "{name} has more than {detail} frames; save a shorter one.",
    "pixel_format": "{name} stores its pixels in a way that Chiasm does not read; "
    "save it as 8-bit RGB.",
    "too_slow": "{name} took longer than {detail} to decode; save it as a plain PNG, JPEG or MP4.",
    "too_much_memory": "{name} needs more memory to decode than the limit; save a smaller picture.",
    "decoder_died": "{name} made the decoder stop; save it as a plain PNG, JPEG or MP4.",
}
"""Every way in which a picture can be refused, and what we say about it."""


class MediaError(UserError):
    """A picture that cannot be used: `reason` is a key of REASONS, made for counting."""

    def __init__(self, reason: str, name: str, detail: str = "") -> None:
        # A path may hold bytes that no terminal can print.
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
        super().__init__(REASONS[reason].format(name=shown, detail=detail))
        self.reason = reason
        self._told = (reason, name, detail)

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str, str]]:
        return MediaError, self._told  # so that it comes back whole from another process


@dataclass(frozen=True)
class Limits:
    """What one picture may cost."""

    encoded_bytes: int = 64_000_000
    """Size of a picture's file."""
    video_bytes: int = 256_000_000
    """Size of a video's file (MP4, MOV, WebM, MKV, AVI)."""
    pixels: int = 40_000_000
    """Height times width, read from the header before anything is decoded."""
    decoded_bytes: int = 160_000_000
    """Size of the decoded pixels, before and after they become 8-bit RGB."""
    memory: int = 1 << 30
    """Address space that decoding may take, in bytes, copies included."""
    frames: int = 10_000
    """Frames of a video, counted before one is chosen."""
    seconds: float = 10.0
    """Time until the worker is killed."""
    video_seconds: float = 60.0
    """The same for a video's file, whose frames need those before them."""

    def bytes_of(self, head: bytes) -> int:
        """Return the most bytes of a file that begins so."""
        return self.video_bytes if is_film(head) else self.encoded_bytes


_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of MP4's structure that are pictures (AVIF, HEIC), which Chiasm does not read."""


def is_film(head: bytes) -> bool:
    """Whether a file that begins so is a video in a container: MP4, MOV, Matroska, WebM, AVI."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL_BRANDS
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return avi or head[:4] == b"\x1aE\xdf\xa3" or head[4:8] in (b"moov", b"mdat", b"wide")


def read_picture(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Return the bytes of a picture's or video's file; it must be a regular file.

    most  most bytes, MediaError above; None for the default limits: a video's is larger
    """
    name = os.fspath(path)
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        raise MediaError("missing", name) from None
    except OSError as error:
        reason = "not_a_file" if error.errno == errno.ENXIO else "unreadable"  # ENXIO: a socket
        raise MediaError(reason, name) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise MediaError("not_a_file", name)
    try:
        with open(fd, "rb") as file:
            data = file.read(_HEAD)
            most = Limits().bytes_of(data) if most is None else most
            data += file.read(max(0, most + 1 - _HEAD))
    except OSError:
        raise MediaError("unreadable", name) from None
    if len(data) > most:
        raise MediaError("too_many_bytes", name, f"{most / 1e6:g} MB")
    if not data:
        raise MediaError("empty", name)
    return data


class ImageDecoder:
    """Decodes pictures in worker processes that start when they are first needed; thread-safe.

    A worker that dies or hangs costs the one picture that did it; the next picture gets a new
    worker. A forked process gets workers of its own.

    background  what shows through transparent pixels, as (red, green, blue) from 0 to 255
    workers     most processes; so many threads may decode at once, another one waits for its turn
    """

    def __init__(
        self,
        limits: Limits | None = None,
        background: tuple[int, int, int] = (255, 255, 255),
        workers: int = 1,
    ) -> None:
        if workers < 1:
            raise ValueError(f"pictures need at least one worker, not {workers}")
        self.limits = limits or Limits()
        self.background = background
        self.workers = workers
        self._request = {**asdict(self.limits), "background": background}
        # By process id, because a lock that was held while the process forked stays held there.
        self._lanes: dict[int, _Lanes] = {}
        self._finalizer = weakref.finalize(self, _close, self._lanes)

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; a later picture would start a new one."""
        _close(self._lanes)

    def decode(self, data: bytes, name: str = "The picture") -> NDArray[np.uint8]:
        """Return upright RGB pixels, uint8 [H, W, 3], of an encoded picture's first frame.

        Raises MediaError, which calls the picture `name`.
        """
        return self.frames(data, (0,), name)[0]

    def size(self, data: bytes, name: str = "The picture") -> tuple[int, int]:
        """Return the width and height of what `decode` would return, from the header alone.

        A header can promise what `decode` then refuses. Raises MediaError, as `decode`.
        """
        header, _ = self._ask(data, name, {"want": "size"})
        return header["width"], header["height"]

    def durations(self, data: bytes, name: str = "The video") -> list[int]:
        """Return how long each frame of a video is shown, in ms; 0 where it is untold.

        Of a video's file, differences of its frames' times, rounded so that their sum stays true.
        Raises MediaError, as `decode`.
        """
        header, _ = self._ask(data, name, {"want": "durations"})
        return list(header["durations"])

    def times(self, data: bytes, name: str = "The video") -> list[float]:
        """Return when each frame is shown first, in seconds, on the clock of the file.

        Of MP4, WebM ..., the times that the file gives its frames (PTS): the first may be other than 0.
        Raises MediaError, as `decode`.
        """
        header, _ = self._ask(data, name, {"want": "durations"})
        if "times" in header:
            return list(header["times"])
        return [end / 1000 for end in accumulate(header["durations"], initial=0)][:-1]

    def frames(
        self, data: bytes, chosen: Sequence[int], name: str = "The video"
    ) -> NDArray[np.uint8]:
        """Return chosen frames, in rising order, as upright RGB pixels, uint8 [frames, H, W, 3].

        These frames and no others: where one of them cannot be decoded, or does not exist, MediaError is
        raised (`broken`, `frames_missing`), and no other frame stands in. Otherwise as `decode`.
        """
        header, body = self._ask(data, name, {"want": "frames", "chosen": list(chosen)})
        shape = (len(chosen), header["height"], header["width"], 3)
        return np.frombuffer(body, np.uint8).reshape(shape)

    def _ask(
        self, data: bytes, name: str, what: dict[str, Any]
    ) -> tuple[dict[str, Any], memoryview]:
        if not data:
            raise MediaError("empty", name)
        film = is_film(data[:_HEAD])
        if len(data) > (most := self.limits.bytes_of(data[:_HEAD])):
            raise MediaError("too_many_bytes", name, f"{most / 1e6:g} MB")
        request = {**self._request, **what, "film": film}
        seconds = self.limits.video_seconds if film else self.limits.seconds
        lanes = self._lanes.setdefault(os.getpid(), _Lanes(self.workers))
        try:
            with lanes.free() as lane:
                worker = lane.ready(self.limits.memory)
                header, body = worker.ask(request, data, seconds, self.limits.decoded_bytes)
        except WorkerLate:
            raise MediaError("too_slow", name, f"{seconds:g} seconds") from None
        except WorkerStopped:
            raise MediaError("decoder_died", name) from None
        if "reason" in header:
            raise MediaError(header["reason"], name, header["detail"])
        return header, body


class _Lane:
    """A worker, for one thread at a time."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def ready(self, memory: int) -> Worker:
        if self.worker is None or not self.worker.alive():
            self.close()
            self.worker = Worker(_CHILD, memory)
        return self.worker

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()
            self.worker = None


class _Lanes:
    """The lanes of one process. The one that was free last is taken: no worker starts unneeded."""

    def __init__(self, count: int) -> None:
        self.all = tuple(_Lane() for _ in range(count))
        self._free: LifoQueue[_Lane] = LifoQueue()
        for lane in self.all:
            self._free.put(lane)

    @contextmanager
    def free(self) -> Iterator[_Lane]:
        lane = self._free.get()
        try:
            yield lane
        finally:
            self._free.put(lane)

    def close(self) -> None:
        held = [self._free.get() for _ in self.all]  # those that work are waited for
        for lane in held:
            lane.close()
            self._free.put(lane)


def _close(lanes: dict[int, _Lanes]) -> None:
    if own := lanes.get(os.getpid()):
        own.close()
