"""What people say and show: messages made of text, pictures and videos, the one document of the house.

    Sample ── messages ─┬─ Message "user" ────── Picture, Text "What is this?"
                        └─ Message "assistant" ─ Text "A blue circle."

Nothing here imports torch, so that programs which only move samples about start at once.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError, did_you_mean
from chiasm.inputs.media import MediaError, read_picture

ROLES = ("system", "user", "assistant")
"""Who can speak."""


@dataclass(frozen=True)
class Text:
    """A piece of text; it never becomes a control token, whatever it says."""

    text: str


@dataclass(frozen=True)
class Picture:
    """An encoded picture (JPEG, PNG, ...): its bytes, or the path of the file that holds them."""

    data: bytes | None = field(default=None, repr=False)
    path: str | None = None

    def __post_init__(self) -> None:
        if self.data is None and self.path is None:
            raise ValueError("a Picture needs data or a path")

    def read(self) -> bytes:
        """Return the encoded bytes; raises MediaError when the file cannot be read."""
        return read_picture(self.path or "") if self.data is None else self.data

    @cached_property
    def key(self) -> str:
        """SHA-256 of the encoded bytes, in hexadecimal: equal pictures have equal keys."""
        return sha256(self.read()).hexdigest()

    @property
    def name(self) -> str:
        """What error messages call this picture."""
        return os.path.basename(self.path) if self.path else "The picture"


def verified(picture: Picture, sha256: str) -> Picture:
    """Return a picture (or a video's file) that holds its bytes, whose SHA-256 is the given one.

    Nearly half of the JPEGs with one bit flipped decode without a word, into other pixels: what was checked
    when it was written is checked when it is read. Raises MediaError `changed`, and as `Picture.read`.

    sha256  64 hexadecimal digits
    """
    held = picture if picture.data is not None else replace(picture, data=picture.read())
    if held.key != sha256.lower():
        raise MediaError("changed", picture.name)
    return held


@dataclass(frozen=True)
class Video:
    """A video: one file (MP4, WebM ..., animated GIF), or its frames as pictures in their order."""

    source: Picture | tuple[Picture, ...]

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("a Video needs at least one frame")

    @cached_property
    def key(self) -> str:
        """SHA-256 over what it is made of, in hexadecimal; never that of a picture of the same file."""
        files = (self.source,) if isinstance(self.source, Picture) else self.source
        kind = "animation" if isinstance(self.source, Picture) else "frames"
        return sha256(" ".join((kind, *(file.key for file in files))).encode()).hexdigest()

    @property
    def cover(self) -> Picture:
        """The one file that holds it, or its first frame."""
        return self.source if isinstance(self.source, Picture) else self.source[0]

    @property
    def path(self) -> str | None:
        """The path of the one file that holds it, where it has one."""
        return self.source.path if isinstance(self.source, Picture) else None

    @property
    def name(self) -> str:
        """What error messages call this video."""
        return os.path.basename(self.path) if self.path else "The video"


Shown: TypeAlias = Picture | Video
Part: TypeAlias = Text | Shown


@dataclass(frozen=True)
class Message:
    """What one speaker says: texts, pictures and videos in their order."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Sample:
    """A conversation, and a key that names it in reports."""

    messages: tuple[Message, ...]
    key: str = ""


Record: TypeAlias = tuple[Sample, ...]
"""Samples that share their pictures, such as several questions about one image."""


_KINDS = ("text", "image_url", "image", "video_url", "video")
"""Types of parts."""


def parse_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Read OpenAI-style messages: dictionaries of `role` and `content`.

    `content` is a string, or a list of parts: `{"type": "text", "text": ...}`,
    `{"type": "image_url", "image_url": {"url": ...}}` or `{"type": "image", "image": ...}`, where
    an image is a path, bytes, a PIL image or a data URL (`path` and `url` serve as names for
    `image` too). The same with `video` for `image`: then it is the path, bytes or data URL of a
    video or an animated picture, or a list of images, which are its frames. Nothing is fetched and no
    file is opened here. Raises UserError.
    """
    if isinstance(messages, Mapping | str | bytes) or not isinstance(messages, Sequence):
        raise UserError("Messages must be a list of {role, content} records.")
    if not messages:
        raise UserError("There are no messages: give at least one, such as a user's question.")
    return tuple(_message(i, message) for i, message in enumerate(messages))


def _message(i: int, message: Any) -> Message:
    where = f"messages[{i}]"
    fields = _fields(where, message, ("role", "content"), ("role", "content"))
    role, content = fields["role"], fields["content"]
    if role not in ROLES:
        raise UserError(
            f"{where}.role is {role!r}, but must be one of {', '.join(ROLES)}."
            f"{did_you_mean(str(role), ROLES)}"
        )
    if isinstance(content, str):
        return Message(role, (Text(content),))
    if not isinstance(content, list | tuple):
        raise UserError(f"{where}.content must be a string or a list of parts.")
    return Message(role, tuple(_part(f"{where}.content[{j}]", p) for j, p in enumerate(content)))


def _part(where: str, part: Any) -> Part:
    if not isinstance(part, Mapping) or "type" not in part:
        raise UserError(f'{where} must be a record with a "type": {", ".join(_KINDS)}.')
    kind = part["type"]
    if kind not in _KINDS:
        raise UserError(
            f"{where}.type is {kind!r}, but must be one of {', '.join(_KINDS)}."
            f"{did_you_mean(str(kind), _KINDS)}"
        )
    if kind == "text":
        text = _fields(where, part, ("type", "text"), ("text",))["text"]
        if not isinstance(text, str):
            raise UserError(f"{where}.text must be a string.")
        return Text(text)
    shown = _picture if kind.startswith("image") else _video
    if kind.endswith("_url"):
        url = _fields(where, part, ("type", kind), (kind,))[kind]
        if isinstance(url, Mapping):
            # `detail` asks other services for more or fewer tiles; here a picture has one size.
            url = _fields(f"{where}.{kind}", url, ("url", "detail"), ("url",))["url"]
        return shown(where, url)
    fields = _fields(where, part, ("type", kind, "path", "url"), ())
    values = [value for name, value in fields.items() if name != "type"]
    if len(values) != 1:
        raise UserError(f"{where} must hold exactly one of {kind}, path and url.")
    return shown(where, values[0])


def _fields(
    where: str, record: Any, known: tuple[str, ...], needed: tuple[str, ...]
) -> Mapping[str, Any]:
    """Check that a record has the needed names and no unknown one: nothing is silently ignored."""
    if not isinstance(record, Mapping):
        raise UserError(f"{where} must be a record with {' and '.join(needed)}.")
    for name in record:
        if name not in known:
            raise UserError(
                f"{where} has an unknown field {name!r}; known are {', '.join(known)}."
                f"{did_you_mean(str(name), known)}"
            )
    for name in needed:
        if name not in record:
            raise UserError(f"{where} has no {name!r}.")
    return record


def _picture(where: str, value: Any) -> Picture:
    if isinstance(value, bytes | bytearray | memoryview):
        return Picture(data=bytes(value))
    if isinstance(value, os.PathLike):
        return Picture(path=os.fspath(value))
    if isinstance(value, str):
        return _from_string(where, value)
    from PIL import Image  # a program that only gives paths never pays for Pillow

    if isinstance(value, Image.Image):
        return Picture(data=_as_png(value))
    raise UserError(
        f"{where}: a picture must be a path, bytes, a PIL image or a data URL, "
        f"not {type(value).__name__}."
    )


def _video(where: str, value: Any) -> Video:
    if isinstance(value, list | tuple) and value:
        return Video(tuple(_picture(f"{where}, frame {i}", frame) for i, frame in enumerate(value)))
    if isinstance(value, bytes | bytearray | memoryview | os.PathLike | str):
        return Video(_picture(where, value))
    given = "an empty list" if isinstance(value, list | tuple) else type(value).__name__
    raise UserError(
        f"{where}: a video must be the path, bytes or data URL of a video file, or a list of its "
        f"frames, not {given}."
    )


def _from_string(where: str, value: str) -> Picture:
    scheme, colon, rest = value.partition(":")
    if colon and scheme.lower() == "data":
        return Picture(data=_from_data_url(where, rest))
    if rest.startswith("//"):
        raise UserError(
            f"{where}: Chiasm fetches no picture from {scheme}:// addresses; "
            "save it to a file and give the file's path, or give a data URL."
        )
    return Picture(path=value)


def _from_data_url(where: str, rest: str) -> bytes:
    """Decode what follows `data:`; the media type is not believed, the bytes tell."""
    header, comma, body = rest.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise UserError(f"{where}: a data URL must look like data:image/png;base64,....")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{where}: the data URL does not hold valid base64.") from None


_TO_PNG = {
    **{mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    **{mode: "RGB" for mode in ("CMYK", "YCbCr", "HSV", "RGBX")},
    **{mode: "RGBA" for mode in ("PA", "RGBa")},
}
"""Pillow's modes whose range of brightness is fixed, and the mode that PNG keeps them in."""


def _as_png(picture: Any) -> bytes:
    """Encode a PIL image without loss, upright, so that it takes the same road as a file."""
    from PIL import Image, ImageOps

    try:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("I", "I;16B", "I;16L"):
            upright = Image.fromarray(_sixteen_bits(np.asarray(upright)))
        if upright.mode not in _TO_PNG:
            raise UserError(
                f'A PIL image of mode "{upright.mode}" has no fixed range of brightness; '
                'convert it to "RGB" first.'
            )
        if upright.mode != _TO_PNG[upright.mode]:
            upright = upright.convert(_TO_PNG[upright.mode])
        buffer = io.BytesIO()
        upright.save(buffer, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError, TypeError):
        # Pillow opens files lazily: this may be the first time that the pixels are read.
        raise MediaError("broken", "The PIL image") from None
    return buffer.getvalue()


def _sixteen_bits(grey: NDArray[Any]) -> NDArray[np.uint16]:
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise UserError('A PIL image of mode "I" must hold values from 0 to 65535.')
    return grey.astype(np.uint16)
