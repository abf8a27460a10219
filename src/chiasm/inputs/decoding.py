"""The child's side of media.py: here alone Pillow meets bytes that came from somebody else.

Videos in a container (MP4, WebM ...) are the matter of films.py.

    size in the header? ──▶ decode ──▶ 8 bits ──▶ no alpha ──▶ upright ──▶ bytes
            │ too big
            ▼
         refused

A colour profile (ICC) is not applied, as in the pipelines that CLIP was trained with.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from chiasm.base.worker import Body, room
from chiasm.inputs import films
from chiasm.inputs.refusal import Refused, refuse, refuse_too_large, refuse_too_many

if TYPE_CHECKING:
    from PIL import Image


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What we read; every other parser of Pillow stays out of reach."""

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


def answer(request: dict[str, Any], body: memoryview) -> tuple[dict[str, Any], Body]:
    """Answer about one picture or video, in the worker; no exception's text leaves it (CVE-2026-22778)."""
    try:
        if request.get("film"):
            return films.read(request, body)
        data = bytes(body)
        picture = _open(data, request)
        if request["want"] == "size":
            width, height = _upright_size(picture, data)
            return {"height": height, "width": width}, b""
        if request["want"] == "durations":
            return {"durations": list(_durations(picture, request))}, b""
        width, height, frames = _decode(picture, data, request)
        return {"height": height, "width": width}, frames
    except Refused as refusal:
        reason, detail = refusal.args
    except MemoryError:
        reason, detail = "too_much_memory", ""
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError, TypeError, ... for damaged files; so does PyAV.
        reason, detail = "broken", ""
    return {"reason": reason, "detail": detail}, b""


def _decode(picture: Image.Image, data: bytes, request: dict[str, Any]) -> tuple[int, int, Body]:
    """Width, height and pixels of the chosen frames, end to end."""
    from PIL import Image

    refuse_too_many(len(request["chosen"]), picture.width, picture.height, request)
    if request["chosen"] == [0] and (stored := _plain_jpeg(picture, data)) is not None:
        if (orientation := _orientation(picture)) not in _UPRIGHT:
            return *picture.size, stored
        rgb = _turned(Image.frombytes("RGB", picture.size, stored), orientation)
        return *rgb.size, rgb.tobytes()
    found: list[Image.Image] = []
    for number in request["chosen"]:
        if number:  # `seek(0)` may read the first frame once more
            _seek(picture, number)
        picture.load()
        found.append(_upright(picture, data, request))
    if len({frame.size for frame in found}) != 1:
        refuse("broken")
    return *found[0].size, b"".join(frame.tobytes() for frame in found)


def _seek(picture: Image.Image, number: int) -> None:
    try:
        picture.seek(number)
    except EOFError:
        refuse("frames_missing", f"frame {number}")


def _plain_jpeg(picture: Image.Image, data: bytes) -> memoryview | None:
    """The stored pixels of a grey or colour JPEG by TurboJPEG; None where Pillow is to decide.

    Both stand on libjpeg-turbo with the same transforms, so the pixels are Pillow's, without its
    fourth byte per pixel. What TurboJPEG so much as warns of is left to Pillow.
    """
    if picture.format != "JPEG" or picture.mode not in ("L", "RGB"):
        return None
    size = (picture.height, picture.width, 3)
    try:
        from simplejpeg import decode_jpeg

        stored = room(prod(size))
        whole = decode_jpeg(data, "RGB", buffer=stored, strict=True).shape == size
    except (ImportError, ValueError, MemoryError):
        return None
    return stored if whole else None


def _upright(picture: Image.Image, data: bytes, request: dict[str, Any]) -> Image.Image:
    orientation = _orientation(picture)
    rgb = _opaque(_eight_bits(picture, data), tuple(request["background"]))
    return _turned(rgb, orientation) if orientation in _UPRIGHT else rgb


def _turned(rgb: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    return rgb.transpose(Image.Transpose[_UPRIGHT[orientation]])


def _durations(picture: Image.Image, request: dict[str, Any]) -> Iterator[int]:
    """How long each frame stands. JPEG may hold several pictures (MPO), but they are no video."""
    moving = picture.format in ("GIF", "WEBP", "PNG")
    for number in range(request["frames"] + 1):
        try:
            picture.seek(number)
        except EOFError:
            return
        picture.load()  # WebP tells it only then
        yield int(picture.info.get("duration", 0))
        if not moving:
            return
    refuse("too_many_frames", f"{request['frames']:,}")


def _upright_size(picture: Image.Image, data: bytes) -> tuple[int, int]:
    """Width and height of the upright picture, without decoding it where the format allows."""
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
        refuse("broken" if data.startswith(_MAGIC) else "not_a_picture")
    except Image.DecompressionBombError:
        refuse("too_many_pixels", f"more than {request['pixels'] / 1e6:g} million pixels")
    _check_size(picture, request)
    return picture


def _check_size(picture: Image.Image, request: dict[str, Any]) -> None:
    """Refuse by what the header says; nothing has been decoded yet."""
    if picture.mode not in _BYTES:
        refuse("pixel_format")
    refuse_too_large(picture.width, picture.height, max(3, _BYTES[picture.mode]), request)


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
