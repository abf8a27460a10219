"""The fields of one record to a Pair: which names mean the picture, the caption, the licence.

    {"image" | "file_name" | ..., "caption" | "text", "license", ...}  ─┐
    {"messages", "images", ...}  a row of our own shards                ├──► Pair, or BadSample(reason)
    words in A.txt and A.json, beside A.jpg                            ─┘

A path must stay within the root of its source, links followed; it is not opened here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.pairs import Pair
from chiasm.data.rows import (
    CAPTION_PROMPT,
    BadSample,
    decoded,
    from_messages,
    parsed,
    picture_of,
    utf8,
)
from chiasm.data.sources import PICTURES
from chiasm.inputs.media import MediaError, read_picture
from chiasm.inputs.message import Picture, Sample, Shown, Text, Video

VIDEOS = (".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm")
"""Names of files that are videos; a GIF of one frame is a picture."""

IMAGE_FIELDS = ("image", "file_name", "filename", "filepath", "path", "video")
TEXT_FIELDS = ("caption", "text")
LICENCE_FIELDS = ("licence", "license")
ADDRESS_FIELDS = ("url", "image_url")
"""What the fields of a record are called, the first that holds something wins."""

SHOWN = frozenset((*PICTURES, *VIDEOS))

MOST_TEXT = 16_000_000
"""Bytes of one record's text: a longer line or file is refused before it is read."""


@dataclass(frozen=True)
class Place:
    """Where a record lies, for its key, its errors and the paths in it."""

    source: str
    """Name of the source."""
    root: Path
    """No picture is read outside this folder, links followed."""
    folder: Path
    """Where relative paths start."""
    where: str
    """What errors call the record: file and line, or file and row."""
    licence: str = ""
    """The licence of the whole collection, for records that name none."""


def is_shown(name: str) -> bool:
    """Whether a file's name is that of a picture or a video."""
    return os.path.splitext(name)[1].lower() in SHOWN


def shown_file(picture: Picture) -> Shown:
    """Return a file as a video when its name says so; a GIF, when it has several frames."""
    ending = os.path.splitext(picture.path or "")[1].lower()
    if ending not in VIDEOS or (ending == ".gif" and not _moves(picture)):
        return picture
    return Video(picture)


def _moves(picture: Picture) -> bool:
    """Whether a GIF has a second frame, from its blocks alone; damage is the decoder's to tell."""
    try:
        data = picture.read()
    except MediaError:
        return False
    if len(data) < 13 or not data.startswith((b"GIF87a", b"GIF89a")):
        return False
    at = 13 + _palette(data[10])
    frames = 0
    while at + 10 < len(data) and frames < 2:
        if data[at] == 0x21:  # an extension: its label, then blocks
            at = _behind_blocks(data, at + 2)
        elif data[at] == 0x2C:  # a frame: its place, colours, code size, then blocks
            frames += 1
            at = _behind_blocks(data, at + 11 + _palette(data[at + 9]))
        else:
            break
    return frames > 1


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def within(path: str, root: Path, where: str) -> str:
    """Refuse a path that leads out of `root`, by dots or by links; return it as it is."""
    if "\0" in path:
        raise MediaError("missing", path)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise BadSample("bad_text", where, f"{path!r} can be the name of no file") from None
    real = os.path.realpath(path)
    if os.path.commonpath((real, root)) != str(root):
        raise BadSample("outside", where)
    return path


def key_of(*parts: str) -> str:
    """Join the parts of a key; bytes of a file's name that are no UTF-8 are spelled \\xff."""
    name = "/".join(filter(None, parts))
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def pair_of_row(row: Any, place: Place, key: str) -> Pair:
    """Read one row of a list or a table; raises BadSample."""
    if not isinstance(row, Mapping):
        raise BadSample("bad_row", place.where, "the row must be a JSON object")
    if "messages" in row:
        return _pair_of_sample(row, place, key)
    name = _held(row, IMAGE_FIELDS)
    if name is None:
        if address := _held(row, ADDRESS_FIELDS):
            picture_of(str(row[address]), place.folder, place.where)  # says that nothing is fetched
        raise BadSample("no_picture", place.where)
    picture = picture_of(row[name], place.folder, place.where)
    if picture.data is None:
        within(picture.path or "", place.root, place.where)
    shown = Video(picture) if name == "video" else shown_file(picture)
    rest = {field: value for field, value in row.items() if field != name}
    caption, licence, notes = worded(rest, place.where)
    return Pair(key, caption, shown, place.source, licence or place.licence, notes)


def worded(row: Mapping[str, Any], where: str) -> tuple[str, str, dict[str, str]]:
    """Return (caption, licence, notes) of a record's other fields; of several captions, the first."""
    name = _held(row, TEXT_FIELDS)
    caption = row[name] if name is not None else ""
    rest = {field: value for field, value in row.items() if field != name}
    if isinstance(caption, list) and caption and all(isinstance(each, str) for each in caption):
        caption, *others = caption
        rest["other captions"] = json.dumps(others, ensure_ascii=False)
    if not isinstance(caption, str):
        raise BadSample("bad_row", where, f'"{name}" must be a string')
    return stated(caption, where), *noted(rest, where)


def noted(row: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Return the licence, and every other field that has one plain value as a note."""
    found = {
        utf8(str(field), where): utf8(str(value), where)
        for field, value in row.items()
        if value is not None and not isinstance(value, bytes | list | tuple | Mapping)
    }
    licence = next(filter(None, (found.pop(name, "") for name in LICENCE_FIELDS)), "")
    return licence, found


def stated(caption: str, where: str) -> str:
    """Return a caption byte for byte; raises BadSample when it is blank or no Unicode text."""
    if not utf8(caption, where).strip():
        raise BadSample("no_text", where)
    return caption


def beside(
    text: bytes | None, record: bytes | None, stem: str, where: str
) -> tuple[str, str, dict[str, str]]:
    """Return (caption, licence, notes) of the files beside a picture: A.txt, A.json, or both.

    What A.txt says is the caption, but for one line break at its end. A record that names itself
    (`key`, as img2dataset writes, or `file_name`) must name `stem`.
    """
    row = parsed(decoded(record, where), where) if record is not None else {}
    if not isinstance(row, Mapping):
        raise BadSample("bad_row", where, "the JSON beside a picture must be an object")
    for field in ("key", "file_name"):
        named = row.get(field)
        if isinstance(named, str) and os.path.basename(named).partition(".")[0] != stem:
            raise BadSample("wrong_key", where, f"its JSON belongs to {named!r} ({field})")
    if text is None:
        return worded(row, where)
    caption = stated(decoded(text, where).removesuffix("\n").removesuffix("\r"), where)
    rest = {name: value for name, value in row.items() if value != caption}
    return caption, *noted(rest, where)


def read_text(path: str) -> bytes | None:
    """Return the bytes of a small file of text; None of an empty one; raises MediaError."""
    try:
        return read_picture(path, MOST_TEXT)
    except MediaError as error:
        if error.reason == "empty":
            return None
        raise


def _held(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) not in (None, "")), None)


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raise UserError unless there is a column of pictures and one of captions."""
    image = any(name in columns for name in IMAGE_FIELDS)
    if not image and (address := next((n for n in ADDRESS_FIELDS if n in columns), None)):
        raise UserError(
            f"{path} names its pictures by their address only (column {address}), and Chiasm fetches no "
            "pictures: download them first, with img2dataset for example."
        )
    if not image or not any(name in columns for name in TEXT_FIELDS):
        raise UserError(
            f"{path} must have a column of pictures ({', '.join(IMAGE_FIELDS)}) and one of captions "
            f"({', '.join(TEXT_FIELDS)}); its columns are {', '.join(columns)[:300] or 'none'}."
        )


# ---- our own shards ----------------------------------------------------------------------------


def _pair_of_sample(row: Mapping[str, Any], place: Place, key: str) -> Pair:
    sample = from_messages(row, place.folder, key, place.where)
    _summed(row, place.where)
    shown, caption = _captioned(sample, place.where)
    file = shown.source if isinstance(shown, Video) else shown
    for each in (file,) if isinstance(file, Picture) else file:
        if each.data is None:
            within(each.path or "", place.root, place.where)
    licence, notes = noted(row, place.where)
    key, source = notes.pop("key", "") or key, notes.pop("source", "") or place.source
    return Pair(key, caption, shown, source, licence or place.licence, notes)


def _captioned(sample: Sample, where: str) -> tuple[Shown, str]:
    """Undo `captioned`: a user shows one thing and asks for its description, which follows."""
    match [(message.role, message.parts) for message in sample.messages]:
        case [("user", parts), ("assistant", (Text(caption),))]:
            shown = [part for part in parts if isinstance(part, Shown)]
            asked = [part.text for part in parts if isinstance(part, Text)]
            if len(shown) == 1 and asked in ([], [CAPTION_PROMPT]):
                return shown[0], stated(caption, where)
    raise BadSample("not_a_caption", where)


def _summed(row: Mapping[str, Any], where: str) -> None:
    """Compare the files of a row with the SHA-256 that stands beside each of them."""
    if not isinstance(sums := row.get("sha256"), list):
        return
    files = [*(row.get("images") or ()), *(row.get("videos") or ())]
    if len(files) != len(sums):
        raise BadSample("wrong_checksum", where, f"{len(sums)} checksums for {len(files)} files")
    for file, wanted in zip(files, sums, strict=True):
        data = file.get("bytes") if isinstance(file, Mapping) else None
        if isinstance(data, bytes) and sha256(data).hexdigest() != wanted:
            raise BadSample("wrong_checksum", where)
