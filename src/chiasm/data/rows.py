"""One row of a data set, as written by anybody, to one Sample; or the reason why it cannot be one.

{"messages": [{"role", "content"}], "images": [...], "videos": [...]} ─┐
{"image", "question", "answer"}                                        ├──► Sample, or BadSample(reason)
a caption beside a picture ────────────────────────────────────────────┘
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.inputs.message import Message, Part, Picture, Sample, Shown, Text, Video, parse_messages

REASONS = {
    "no_text": "the picture has no text: neither a caption nor a question belongs to it",
    "bad_text": "the text is not valid UTF-8",
    "bad_row": "the row does not have the fields of a sample",
    "bad_messages": "the messages cannot be read",
    "bad_image": "an image is neither bytes nor the path of a file",
    "bad_video": "a video is neither one file, as an image is, nor a list of its frames",
    "picture_count": "the text has not as many places for pictures as there are images",
    "video_count": "the text has not as many places for videos as there are videos",
    "bad_turns": "user and assistant do not take turns",
    "same_answers": "both answers are the same",
    "tie": "neither answer was found better",
    "bad_drawing": "the drawing cannot be made into a picture",
    "damaged_file": "this part of the file is damaged",
    "bad_json": "the record is not valid JSON",
    "long_line": "the line is longer than the limit",
    "no_picture": "the text has no picture or video",
    "several_pictures": "one text stands beside several pictures, and does not say which it means",
    "not_a_caption": "the row is a conversation, not one picture and what is written about it",
    "not_a_question": "it is no single question with one answer, so no template fits it",
    "frames_apart": "a video given as a list of frames cannot be written into a row: save it as one file",
    "wrong_key": "the text says that it belongs to another picture",
    "duplicate_key": "an earlier record has the same name",
    "outside": "the path leads out of the folder of the source",
    "linked_folder": "a link to a folder is not followed: give the path of the folder itself",
    "bad_member": "the archive's member is no plain file",
    "wrong_checksum": "the bytes do not have the SHA-256 that stands beside them",
    "shard_truncated": "the rest of the file is cut off or damaged",
}
"""Every way in which a source can refuse a sample (a picture's own faults are a MediaError)."""

CAPTION_PROMPT = "Describe this picture."
"""What the user says before a caption."""


class BadSample(UserError):
    """A sample that cannot be used: `reason` is a key of REASONS, made for counting.

    `where` names the file and the row; `detail` says more than the reason's own sentence.
    """

    def __init__(self, reason: str, where: str, detail: str = "") -> None:
        super().__init__(f"{where}: {detail or REASONS[reason]}.")
        self.reason = reason
        self._told = (reason, where, detail)

    def __reduce__(self) -> tuple[type[BadSample], tuple[str, str, str]]:
        return BadSample, self._told  # so that it comes back whole from another process


def decoded(data: bytes, where: str, begins: bool = True) -> str:
    """Return UTF-8 as text, without the byte order mark with which a file `begins`; raises BadSample."""
    try:
        return data.decode("utf-8-sig" if begins else "utf-8")
    except UnicodeDecodeError:
        raise BadSample("bad_text", where) from None


def parsed(text: str, where: str) -> Any:
    """Return what JSON says; raises BadSample, also when an object names one field twice."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise BadSample("bad_json", where, f"not valid JSON ({str(error).rstrip('.')})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} stands twice in one object")
    return fields


def utf8(text: str, where: str) -> str:
    """Refuse half a surrogate pair, which JSON can spell but no tokenizer and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadSample("bad_text", where) from None
    return text


def question_answer(picture: Picture, question: str, answer: str, key: str) -> Sample:
    """Return the conversation in which a user shows a picture and asks, and is answered."""
    asked = Message("user", (picture, Text(question)))
    return Sample((asked, Message("assistant", (Text(answer),))), key)


def from_fields(row: Any, folder: Path, key: str, where: str) -> Sample:
    """Read a row of JSON: {image, question, answer} or {messages, images, videos}.

    Paths of pictures start at `folder`; `where` names the row in a BadSample.
    """
    if not isinstance(row, Mapping):
        raise BadSample("bad_row", where, "the row must be a JSON object")
    if "messages" in row and set(row) <= {"messages", "images", "videos"}:
        return from_messages(row, folder, key, where)
    if set(row) == {"image", "question", "answer"}:
        for name in ("question", "answer"):
            if not isinstance(row[name], str):
                raise BadSample("bad_row", where, f'"{name}" must be a string')
        picture = picture_of(row["image"], folder, where)
        return _speakable(question_answer(picture, row["question"], row["answer"], key), where)
    raise BadSample(
        "bad_row",
        where,
        "the row must have exactly the fields image, question and answer, or messages, images and videos; "
        f"it has {', '.join(map(str, row)) or 'none'}",
    )


def from_messages(row: Mapping[str, Any], folder: Path, key: str, where: str) -> Sample:
    """Read messages whose parts {"type": "image"} and "video" stand, in order, for `images` and `videos`."""
    images, videos = (_listed(row, name, where) for name in ("images", "videos"))
    held: dict[type[Part], list[Any]] = {
        Picture: [picture_of(image, folder, where) for image in images],
        Video: [video_of(video, folder, where) for video in videos],
    }
    try:
        parsed = parse_messages([_with_names(message) for message in row["messages"] or ()])
    except (UserError, TypeError) as error:
        raise BadSample("bad_messages", where, str(error).rstrip(".")) from None
    for kind, name, reason in (
        (Picture, "image", "picture_count"),
        (Video, "video", "video_count"),
    ):
        places = sum(isinstance(part, kind) for message in parsed for part in message.parts)
        if places != len(held[kind]):
            raise BadSample(
                reason,
                where,
                f'the messages have {places} parts of type "{name}", but the row has '
                f"{len(held[kind])} {name}s",
            )
    rest = {kind: iter(shown) for kind, shown in held.items()}
    filled = (
        replace(m, parts=tuple(next(rest[type(p)]) if type(p) in rest else p for p in m.parts))
        for m in parsed
    )
    return _speakable(Sample(tuple(filled), key), where)


def _listed(row: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    listed = row.get(name) or ()
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        raise BadSample("bad_row", where, f'"{name}" must be a list')
    return listed


def _speakable(sample: Sample, where: str) -> Sample:
    for message in sample.messages:
        utf8("".join(part.text for part in message.parts if isinstance(part, Text)), where)
    return sample


def _with_names(message: Any) -> Any:
    """A message as `parse_messages` reads it.

    Arrow gives all parts of a column the same fields: what is None was never written. Only a bare
    {"type": "image"} may stand for a picture here, and {"type": "video"} for a video.
    """
    if not isinstance(message, Mapping):
        return message
    kept = {name: value for name, value in message.items() if value is not None}
    if isinstance(content := kept.get("content"), list | tuple):
        kept["content"] = [_part(part) for part in content]
    return kept


def _part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    kept = {name: value for name, value in part.items() if value is not None}
    for kind, what in (("image", "picture"), ("video", "video")):
        if kept in ({"type": kind}, {"type": kind, "text": ""}):
            return {"type": kind, kind: "its place"}
        if kept.get("type") in (kind, f"{kind}_url"):
            raise UserError(
                f'a {what}\'s part must be {{"type": "{kind}"}} alone; {kind}s holds the {what}'
            )
    return kept


def picture_of(image: Any, folder: Path, where: str) -> Picture:
    """Return the picture that {bytes, path}, bytes or a path stands for; no file is opened."""
    data, path = image, None
    if isinstance(image, Mapping):
        data, path = image.get("bytes"), image.get("path")
    elif isinstance(image, str):
        data, path = None, image
    if isinstance(path, str) and "://" in path and data is None:
        raise BadSample(
            "bad_image", where, f"Chiasm fetches no picture ({path}): save it and give its path"
        )
    if data is None and isinstance(path, str) and path:
        return Picture(path=str(folder / path))
    if isinstance(data, bytes):
        return Picture(data=data, path=path if isinstance(path, str) else None)
    raise BadSample("bad_image", where)


def video_of(video: Any, folder: Path, where: str) -> Video:
    """Return the video that one file stands for, as in `picture_of`, or a list of its frames."""
    if not isinstance(video, list | tuple):
        return Video(picture_of(video, folder, where))
    if not video:
        raise BadSample("bad_video", where)
    return Video(tuple(picture_of(frame, folder, where) for frame in video))


def to_row(sample: Sample) -> dict[str, Any]:
    """Return a sample as {messages, images, videos}, what it shows read into bytes.

    Raises MediaError for what cannot be read, UserError for a video given as frames: a row holds files.
    """
    shown: dict[str, list[dict[str, Any]]] = {"images": [], "videos": []}
    for part in (part for message in sample.messages for part in message.parts):
        if isinstance(part, Shown):
            source = part.source if isinstance(part, Video) else part
            if not isinstance(source, Picture):
                raise BadSample("frames_apart", sample.key)
            name = Path(source.path).name if source.path else None
            place = "videos" if isinstance(part, Video) else "images"
            shown[place].append({"bytes": source.read(), "path": name})
    messages = [
        {"role": message.role, "content": [_written(part) for part in message.parts]}
        for message in sample.messages
    ]
    return {"messages": messages, **shown}


def _written(part: Part) -> dict[str, str | None]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "video" if isinstance(part, Video) else "image", "text": None}
