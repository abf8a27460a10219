"""Encoded pictures to pixels, decoded in a limited child process.

    JPEG PNG WebP GIF BMP ──▶ size in the header? ──▶ decode ──▶ 8 bits ──▶ no alpha ──▶ upright
                                     │ too big                                              │
                                     ▼                                                      ▼
                                 MediaError(reason)                              uint8 [H, W, 3]

`ImageDecoder` and `read_picture` are the parent's side. `answer`, and what stands under it, runs
only in the child: there alone Pillow meets bytes that came from somebody else.
A colour profile (ICC) is not applied, as in the pipelines that CLIP was trained with.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import threading
import weakref
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError
from chiasm.inputs.worker import Worker, WorkerLate, WorkerStopped

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What we read; every other parser of Pillow stays out of reach."""

REASONS = {
    "missing": "{name} does not exist; check the path.",
    "not_a_file": "{name} is not a file (a folder, or a pipe); give the path of a picture.",
    "unreadable": "{name} cannot be read; check its permissions and the disk.",
    "empty": "{name} is empty (0 bytes); fetch or save it again.",
    "too_many_bytes": "{name} is larger than the limit of {detail}; save a smaller picture.",
    "not_a_picture": "{name} is not a picture that Chiasm reads (JPEG, PNG, WebP, GIF, BMP).",
    "broken": "{name} is damaged or cut short; fetch or save it again.",
    "too_many_pixels": "{name} would decode to {detail}; save a smaller picture.",
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
        header, body = self._ask(data, name, only_size=False)
        return np.frombuffer(body, np.uint8).reshape(header["height"], header["width"], 3)

    def size(self, data: bytes, name: str = "The picture") -> tuple[int, int]:
        """Return the width and height of what `decode` would return, from the header alone.

        A header can promise what `decode` then refuses. Raises MediaError, as `decode`.
        """
        header, _ = self._ask(data, name, only_size=True)
        return header["width"], header["height"]

    def _ask(self, data: bytes, name: str, only_size: bool) -> tuple[dict[str, Any], memoryview]:
        if not data:
            raise MediaError("empty", name)
        if len(data) > self.limits.encoded_bytes:
            raise MediaError("too_many_bytes", name, f"{self.limits.encoded_bytes / 1e6:g} MB")
        request = {**self._request, "only_size": only_size}
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
            self.worker = Worker(__name__, memory)
        return self.worker

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()
            self.worker = None


def _close(lanes: dict[int, _Lane]) -> None:
    if lane := lanes.get(os.getpid()):
        with lane.lock:
            lane.close()


# ── the child's side ─────────────────────────────────────────────────────────────────────────────

_PNG = b"\x89PNG\r\n\x1a\n"
_MAGIC = (b"\xff\xd8\xff", _PNG, b"GIF8", b"RIFF", b"BM")

# Orientation (EXIF tag 0x0112) to what stands the picture upright. By hand and not by
# ImageOps.exif_transpose, which also rewrites the other EXIF tags and raises over odd ones.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_LYING = (5, 6, 7, 8)
"""Orientations whose upright picture is as wide as the stored one is high."""
_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 4, "PA": 4, "RGB": 4, "RGBA": 4, "CMYK": 4, "I;16": 2}
"""Bytes that Pillow keeps per pixel, of the modes that the allowed formats decode to."""


class _Refused(Exception):
    pass


def answer(request: dict[str, Any], data: memoryview) -> tuple[dict[str, Any], bytes]:
    """Decode one picture, in the worker; no exception's text leaves it (CVE-2026-22778)."""
    try:
        if request["only_size"]:
            width, height = _upright_size(bytes(data), request)
            return {"height": height, "width": width}, b""
        rgb = _decode(bytes(data), request)
        return {"height": rgb.height, "width": rgb.width}, rgb.tobytes()
    except _Refused as refusal:
        reason, detail = refusal.args
    except MemoryError:
        reason, detail = "too_much_memory", ""
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError, TypeError, ... for damaged files.
        reason, detail = "broken", ""
    return {"reason": reason, "detail": detail}, b""


def _refuse(reason: str, detail: str = "") -> NoReturn:
    raise _Refused(reason, detail)


def _decode(data: bytes, request: dict[str, Any]) -> Image.Image:
    from PIL import Image

    picture = _open(data, request)
    picture.load()
    orientation = _orientation(picture)
    rgb = _opaque(_eight_bits(picture, data), tuple(request["background"]))
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(Image.Transpose[_UPRIGHT[orientation]])
    return rgb


def _upright_size(data: bytes, request: dict[str, Any]) -> tuple[int, int]:
    """Width and height of the upright picture, without decoding it where the format allows."""
    picture = _open(data, request)
    if picture.format == "PNG" and _speaks_behind_pixels(data):
        picture.load()
    width, height = picture.size
    return (height, width) if _orientation(picture) in _LYING else (width, height)


def _speaks_behind_pixels(data: bytes) -> bool:
    """Whether a PNG holds chunks behind its pixels, where the orientation may stand too."""
    at, pixels = len(_PNG), False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if pixels and kind != b"IDAT":
            return bool(kind != b"IEND")
        pixels = kind == b"IDAT"
        at += 12 + length  # its length, name and check sum stand around a chunk
    return False


def _open(data: bytes, request: dict[str, Any]) -> Image.Image:
    """Read the header, and refuse what would cost too much."""
    from PIL import Image, UnidentifiedImageError

    # Our own check below is the precise one. Pillow's serves WebP only, whose decoder takes memory
    # for the canvas when the file is opened; Pillow refuses at twice its limit.
    webp = data.startswith(b"RIFF")
    Image.MAX_IMAGE_PIXELS = (request["pixels"] + 1) // 2 if webp else None
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        _refuse("broken" if data.startswith(_MAGIC) else "not_a_picture")
    except Image.DecompressionBombError:
        _refuse("too_many_pixels", f"more than {request['pixels'] / 1e6:g} million pixels")
    _check_size(picture, request)
    return picture


def _check_size(picture: Image.Image, request: dict[str, Any]) -> None:
    """Refuse by what the header says; nothing has been decoded yet."""
    if picture.mode not in _BYTES:
        _refuse("pixel_format")
    pixels = picture.width * picture.height
    if pixels > request["pixels"]:
        most = f"the limit is {request['pixels'] / 1e6:g} million pixels"
        _refuse("too_many_pixels", f"{picture.width} x {picture.height} pixels ({most})")
    if pixels * max(3, _BYTES[picture.mode]) > request["decoded_bytes"]:
        most = f"the limit is {request['decoded_bytes'] / 1e6:g} MB"
        _refuse("too_many_pixels", f"{picture.width} x {picture.height} pixels ({most})")


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; EXIF that cannot be read says nothing: as stored."""
    from PIL import Image

    try:
        # Not PNG's own `getexif`, which decodes the picture first to reach what stands behind it.
        return int(Image.Image.getexif(picture).get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:
        return 1


def _eight_bits(picture: Image.Image, data: bytes) -> Image.Image:
    """Scale 16-bit grey to 8 bits, and give every transparent colour in 8 bits too.

    Pillow cuts 16 bits at 255 (a dark grey turns white), and compares the one transparent colour
    of a 2-, 4- or 16-bit PNG, as it stands in the file, with pixels scaled to 8 bits.
    """
    from PIL import Image

    clear = picture.info.get("transparency")
    if picture.mode == "I;16":
        wide = np.asarray(picture)
        grey = Image.fromarray(((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
        if clear is None:
            return grey
        return Image.merge("LA", (grey, Image.fromarray(np.uint8(255) * (wide != clear))))
    if clear is not None and picture.format == "PNG":
        depth = data[24]  # IHDR stands first in every PNG
        if picture.mode == "L":
            picture.info["transparency"] = clear * 255 // (2**depth - 1)
        elif picture.mode == "RGB" and depth == 16:
            picture.info["transparency"] = tuple(value >> 8 for value in clear)
    return picture


def _opaque(picture: Image.Image, background: tuple[int, ...]) -> Image.Image:
    """Lay a picture on the background where it is transparent, and make it RGB."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    over = picture.convert("RGBA")
    flat = Image.new("RGB", over.size, background)
    flat.paste(over, mask=over)
    return flat
