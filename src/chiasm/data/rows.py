"""One row of a data set, as written by anybody, to one Sample; or the reason why it cannot be one.

{"messages": [{"role", "content"}], "images": [...]} ─┐
{"image", "question", "answer"}                       ├──► Sample, or BadSample(reason)
a caption beside a picture ───────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.inputs.message import Message, Part, Picture, Sample, Text, parse_messages

REASONS = {
    "no_text": "the picture has no text: neither a caption nor a question belongs to it",
    "bad_text": "the text is not valid UTF-8",
    "bad_row": "the row does not have the fields of a sample",
    "bad_messages": "the messages cannot be read",
    "bad_image": "an image is neither bytes nor the path of a file",
    "picture_count": "the text has not as many places for pictures as there are images",
    "damaged_file": "this part of the file is damaged",
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


def question_answer(picture: Picture, question: str, answer: str, key: str) -> Sample:
    """Return the conversation in which a user shows a picture and asks, and is answered."""
    asked = Message("user", (picture, Text(question)))
    return Sample((asked, Message("assistant", (Text(answer),))), key)


def from_fields(row: Any, folder: Path, key: str, where: str) -> Sample:
    """Read a row of JSON: {image, question, answer} or {messages, images}.

    Paths of pictures start at `folder`; `where` names the row in a BadSample.
    """
    if not isinstance(row, Mapping):
        raise BadSample("bad_row", where, "the row must be a JSON object")
    if set(row) == {"messages", "images"} or set(row) == {"messages"}:
        return from_messages(row["messages"], row.get("images") or (), folder, key, where)
    if set(row) == {"image", "question", "answer"}:
        for name in ("question", "answer"):
            if not isinstance(row[name], str):
                raise BadSample("bad_row", where, f'"{name}" must be a string')
        picture = picture_of(row["image"], folder, where)
        return _speakable(question_answer(picture, row["question"], row["answer"], key), where)
    raise BadSample(
        "bad_row",
        where,
        "the row must have exactly the fields image, question and answer, or messages and images; "
        f"it has {', '.join(map(str, row)) or 'none'}",
    )


def from_messages(messages: Any, images: Any, folder: Path, key: str, where: str) -> Sample:
    """Read messages whose parts {"type": "image"} stand, in their order, for `images`."""
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise BadSample("bad_row", where, '"images" must be a list')
    pictures = [picture_of(image, folder, where) for image in images]
    try:
        parsed = parse_messages([_with_names(message) for message in messages or ()])
    except (UserError, TypeError) as error:
        raise BadSample("bad_messages", where, str(error).rstrip(".")) from None
    places = sum(isinstance(part, Picture) for message in parsed for part in message.parts)
    if places != len(pictures):
        raise BadSample(
            "picture_count",
            where,
            f'the messages have {places} parts of type "image", but the row has '
            f"{len(pictures)} images",
        )
    rest = iter(pictures)
    filled = (
        replace(m, parts=tuple(next(rest) if isinstance(p, Picture) else p for p in m.parts))
        for m in parsed
    )
    return _speakable(Sample(tuple(filled), key), where)


def _speakable(sample: Sample, where: str) -> Sample:
    """Refuse half a surrogate pair, which JSON can spell but no tokenizer can read."""
    try:
        for message in sample.messages:
            "".join(part.text for part in message.parts if isinstance(part, Text)).encode()
    except UnicodeEncodeError:
        raise BadSample("bad_text", where) from None
    return sample


def _with_names(message: Any) -> Any:
    """A message as `parse_messages` reads it.

    Arrow gives all parts of a column the same fields: what is None was never written. Only a bare
    {"type": "image"} may stand for a picture here.
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
    if kept == {"type": "image"} or kept == {"type": "image", "text": ""}:
        return {"type": "image", "image": "its place"}
    if kept.get("type") in ("image", "image_url"):
        raise UserError(
            'a picture\'s part must be {"type": "image"} alone; images holds the picture'
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


def to_row(sample: Sample) -> dict[str, Any]:
    """Return a sample as {messages, images}, its pictures read into bytes; raises MediaError."""
    images = []
    for part in (part for message in sample.messages for part in message.parts):
        if isinstance(part, Picture):
            name = Path(part.path).name if part.path else None
            images.append({"bytes": part.read(), "path": name})
    messages = [
        {"role": message.role, "content": [_written(part) for part in message.parts]}
        for message in sample.messages
    ]
    return {"messages": messages, "images": images}


def _written(part: Part) -> dict[str, str | None]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image", "text": None}
