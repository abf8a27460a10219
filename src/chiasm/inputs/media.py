"""Encoded pictures to pixels, decoded in a limited child process.

    JPEG PNG WebP GIF BMP ──▶ decoding.py, in the child ──▶ uint8 [H, W, 3], upright
                                     │ too big, damaged, slow ...
                                     ▼
                                 MediaError(reason)

Here is the parent's side. Pillow meets bytes that came from somebody else in the child alone.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError
from chiasm.base.worker import Worker, WorkerLate, WorkerStopped

_CHILD = "chiasm.inputs.decoding"

REASONS = {
    "missing": "{name} does not exist; check the path.",
    "not_a_file": "{name} is not a file (a folder, or a pipe); give the path of a picture.",
    "unreadable": "{name} cannot be read; check its permissions and the disk.",
    "empty": "{name} is empty (0 bytes); fetch or save it again.",
    "too_many_bytes": "{name} is larger than the limit of {detail}; save a smaller picture.",
    "not_a_picture": "{name} is not a picture that Chiasm reads (JPEG, PNG, WebP, GIF, BMP).",
    "not_a_video": "{name} is not a video that Chiasm reads (animated GIF, WebP, PNG); save it as one, "
    "or give its frames as pictures.",
    "broken": "{name} is damaged or cut short; fetch or save it again.",
    "too_many_pixels": "{name} would decode to {detail}; save a smaller picture.",
    "too_many_frames": "{name} has more than {detail} frames; save a shorter one.",
    "pixel_format": "{name} stores its pixels in a way that Chiasm does not read; "
    "save it as 8-bit RGB.",
    "too_slow": "{name} took longer than {detail} to decode; save it as a plain PNG or JPEG.",
    "too_much_memory": "{name} needs more memory to decode than the limit; save a smaller picture.",
    "decoder_died": "{name} made the picture decoder stop; save it as a plain PNG or JPEG.",
}
"""Every way in which a picture can be refused, and what we say about it."""


class MediaError(UserError):
    """A picture that cannot be used: `reason` is a key of REASONS, made for counting."""

    def __init__(self, reason: str, name: str, detail: str = "") -> None:
        # A path may hold bytes that no terminal can print.
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
        super().__init__(REASONS[reason].format(name=shown, detail=detail))
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """What one picture may cost."""

    encoded_bytes: int = 64_000_000
    """Size of the file."""
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


def read_picture(path: str | os.PathLike[str], most: int = Limits.encoded_bytes) -> bytes:
    """Return a file's bytes; MediaError when it is no regular file of at most `most` bytes."""
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
            data = file.read(most + 1)
    except OSError:
        raise MediaError("unreadable", name) from None
    if len(data) > most:
        raise MediaError("too_many_bytes", name, f"{most / 1e6:g} MB")
    if not data:
        raise MediaError("empty", name)
    return data


class ImageDecoder:
    """Decodes pictures in a worker process that starts with the first picture; thread-safe.

    A worker that dies or hangs costs the one picture that did it; the next picture gets a new
    worker. A forked process gets a worker of its own. `background` is what shows through
    transparent pixels, as (red, green, blue) from 0 to 255.
    """

    def __init__(
        self, limits: Limits | None = None, background: tuple[int, int, int] = (255, 255, 255)
    ) -> None:
        self.limits = limits or Limits()
        self.background = background
        self._request = {**asdict(self.limits), "background": background}
        # By process id, because a lock that was held while the process forked stays held there.
        self._lanes: dict[int, _Lane] = {}
        self._finalizer = weakref.finalize(self, _close, self._lanes)

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; a later picture would start a new one."""
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
        """Return how long each frame of an animated GIF, WebP or PNG is shown, in ms; 0 where it is untold.

        Raises MediaError, as `decode`.
        """
        header, _ = self._ask(data, name, {"want": "durations"})
        return list(header["durations"])

    def frames(
        self, data: bytes, chosen: Sequence[int], name: str = "The video"
    ) -> NDArray[np.uint8]:
        """Return chosen frames, in rising order, as upright RGB pixels, uint8 [frames, H, W, 3].

        Raises MediaError, as `decode`.
        """
        header, body = self._ask(data, name, {"want": "frames", "chosen": list(chosen)})
        shape = (len(chosen), header["height"], header["width"], 3)
        return np.frombuffer(body, np.uint8).reshape(shape)

    def _ask(
        self, data: bytes, name: str, what: dict[str, Any]
    ) -> tuple[dict[str, Any], memoryview]:
        if not data:
            raise MediaError("empty", name)
        if len(data) > self.limits.encoded_bytes:
            raise MediaError("too_many_bytes", name, f"{self.limits.encoded_bytes / 1e6:g} MB")
        request = {**self._request, **what}
        lane = self._lanes.setdefault(os.getpid(), _Lane())
        try:
            with lane.lock:
                worker = lane.ready(self.limits.memory)
                header, body = worker.ask(
                    request, data, self.limits.seconds, self.limits.decoded_bytes
                )
        except WorkerLate:
            raise MediaError("too_slow", name, f"{self.limits.seconds:g} seconds") from None
        except WorkerStopped:
            raise MediaError("decoder_died", name) from None
        if "reason" in header:
            raise MediaError(header["reason"], name, header["detail"])
        return header, body


class _Lane:
    """The worker of one process, and the lock that lets one thread at a time speak to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
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


def _close(lanes: dict[int, _Lane]) -> None:
    if lane := lanes.get(os.getpid()):
        with lane.lock:
            lane.close()
