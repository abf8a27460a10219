"""People's conversations and comparisons, in the layouts that are about, each row checked.

    {messages, images}                        OpenAI, TRL              ┐
    {image, conversations: [{from, value}]}   LLaVA, ShareGPT          ├──► Sample
    {images, texts: [{user, assistant}]}      the Cauldron             ┘
    {prompt, chosen, rejected, images}        TRL, DPO                 ┐
    {image, question, answers, better,        people who compared two  ├──► Preferences
     edited}                                  answers, or mended one   ┘

A row that cannot be used is counted with its reason: rows == used + Σ refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.data.dialogue.preferences import Preference, from_row
from chiasm.data.rows import BadSample, from_messages, picture_of, to_row
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Part, Sample, Text

PLACE = "<image>"
"""What stands for a picture in the texts of LLaVA and ShareGPT."""
SPEAKERS = {
    **{"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"},
    **{"chatgpt": "assistant", "bot": "assistant", "system": "system"},
}
LONGEST_LINE = 64 << 20
"""Bytes of one line of JSON."""


@dataclass
class Imported:
    """What came out of a file."""

    samples: list[Sample] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    rows: int = 0
    """Rows of the file."""
    used: int = 0
    """Rows that gave a sample or preferences."""
    refused: Counter[str] = field(default_factory=Counter)
    """Rows that gave nothing, by reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first refused row of each reason, in words."""


def imported(path: Path) -> Imported:
    """Read a .json, .jsonl or .parquet file of conversations or comparisons.

    A row is also refused when a file that it names cannot be read; what the bytes show is not looked at.
    Raises UserError when the file cannot be read or none of its rows can be used.
    """
    path, made = Path(path), Imported()
    for number, row in enumerate(_rows(path)):
        where = f"{path}, row {number}"
        made.rows += 1
        try:
            if isinstance(row, BadSample):
                raise row
            found = read_row(row, path.parent, f"{path.stem}/{number}", where)
            for each in found:
                to_row(each if isinstance(each, Sample) else Sample(each.prompt, each.key))
        except (BadSample, MediaError) as error:
            told = str(error) if isinstance(error, BadSample) else f"{where}: {error}"
            made.refused[error.reason] += 1
            made.examples.setdefault(error.reason, told)
            continue
        made.used += 1
        target: list[Any] = made.samples if isinstance(found[0], Sample) else made.preferences
        target.extend(found)
    if not made.used:
        first = next(iter(made.examples.values()), f"{path} holds no row.")
        raise UserError(f"No row of {path} can be used. The first fault: {first}")
    return made


def read_row(row: Any, folder: Path, key: str, where: str) -> Sequence[Sample | Preference]:
    """Return the sample, or the preferences, of one row; raises BadSample."""
    if not isinstance(row, Mapping):
        raise BadSample("bad_row", where, "the row must be a JSON object")
    if {"chosen", "rejected"} <= set(row):
        return [_compared(row, folder, key, where)]
    if {"question", "answers", "better"} <= set(row):
        return _judged(row, folder, key, where)
    for name, read in (("messages", _messages), ("conversations", _llava), ("texts", _cauldron)):
        if name in row:
            sample = read(row, folder, key, where)
            check_turns(sample.messages, where)
            return [sample]
    raise BadSample(
        "bad_row",
        where,
        "the row has neither messages, conversations, texts, nor chosen and rejected, nor question, answers "
        f"and better; it has {', '.join(map(str, row)) or 'no field'}",
    )


def check_turns(messages: Sequence[Message], where: str) -> None:
    """Raise BadSample unless user and assistant take turns, both as often, and say something."""
    spoken = messages[1:] if messages and messages[0].role == "system" else messages
    wanted = [("user", "assistant")[i % 2] for i in range(len(spoken))]
    if not spoken or [m.role for m in spoken] != wanted or len(spoken) % 2:
        said = ", ".join(m.role for m in messages) or "nobody"
        raise BadSample("bad_turns", where, f"user and assistant must take turns; {said} spoke")
    for message in spoken:
        text = "".join(part.text for part in message.parts if isinstance(part, Text))
        if not text.strip() and (message.role == "assistant" or len(message.parts) < 2):
            raise BadSample("no_text", where, f"a turn of the {message.role} is empty")


# ---- layouts -----------------------------------------------------------------------------------


def _messages(row: Mapping[str, Any], folder: Path, key: str, where: str) -> Sample:
    kept = {name: row[name] for name in ("messages", "images", "videos") if row.get(name)}
    if row.get("image") is not None:
        kept["images"] = [row["image"]]
    return from_messages(_placed(kept), folder, key, where)


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    """Messages of plain strings with <image> in them (TRL, LLaMA-Factory), as lists of parts."""
    messages = row.get("messages")
    if not row.get("images") or not isinstance(messages, list):
        return row
    if any(not isinstance(m, Mapping) or not isinstance(m.get("content"), str) for m in messages):
        return row
    parts = [{**m, "content": [_as_record(p) for p in _parts(m["content"])]} for m in messages]
    return {**row, "messages": parts}


def _as_record(part: str | None) -> dict[str, str]:
    return {"type": "image"} if part is None else {"type": "text", "text": part}


def _parts(text: str) -> list[str | None]:
    """The texts of a turn, and None where a picture stands."""
    found: list[str | None] = []
    for number, piece in enumerate(text.split(PLACE)):
        if number:
            found.append(None)
        if stripped := piece.strip("\n") if number or PLACE in text else piece:
            found.append(stripped)
    return found


def _llava(row: Mapping[str, Any], folder: Path, key: str, where: str) -> Sample:
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns:
        raise BadSample("bad_row", where, '"conversations" must be a list of turns')
    pictures = [picture_of(image, folder, where) for image in _images(row, where)]
    rest = iter(pictures)
    messages, places = [], 0
    for turn in turns:
        role, text = _turn(turn, where)
        parts = _parts(text)
        places += parts.count(None)
        shown = (next(rest, None) if part is None else Text(part) for part in parts)
        messages.append(Message(role, tuple(part for part in shown if part is not None)))
    _count(places, len(pictures), where)
    return Sample(tuple(messages), str(row.get("id") or key))


def _turn(turn: Any, where: str) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise BadSample("bad_row", where, "a turn must have from and value")
    speaker = turn.get("from", turn.get("role"))
    text = turn.get("value", turn.get("content"))
    if speaker not in SPEAKERS or not isinstance(text, str):
        raise BadSample(
            "bad_turns", where, f"a turn says {speaker!r} speaks; expected human or gpt"
        )
    return SPEAKERS[speaker], text


def _cauldron(row: Mapping[str, Any], folder: Path, key: str, where: str) -> Sample:
    turns = row["texts"]
    if not isinstance(turns, list) or not turns:
        raise BadSample("bad_row", where, '"texts" must be a list of {user, assistant}')
    shown: tuple[Part, ...] = tuple(picture_of(i, folder, where) for i in _images(row, where))
    messages = []
    for turn in turns:
        said = [
            turn.get(name) if isinstance(turn, Mapping) else None for name in ("user", "assistant")
        ]
        if not all(isinstance(text, str) for text in said):
            raise BadSample("bad_row", where, '"texts" must be a list of {user, assistant}')
        messages.append(Message("user", (*shown, Text(str(said[0])))))
        messages.append(Message("assistant", (Text(str(said[1])),)))
        shown = ()  # pictures stand before the first question
    return Sample(tuple(messages), key)


def _compared(row: Mapping[str, Any], folder: Path, key: str, where: str) -> Preference:
    prompt = row.get("prompt", row.get("messages", row.get("question")))
    images = _images(row, where)
    chosen, rejected = row["chosen"], row["rejected"]
    if prompt is None and isinstance(chosen, list) and isinstance(rejected, list):
        # TRL's "implicit prompt": both are whole conversations that part at the last message.
        if len(chosen) < 2 or chosen[:-1] != rejected[:-1]:
            raise BadSample("bad_turns", where, "chosen and rejected answer different prompts")
        prompt, chosen, rejected = chosen[:-1], chosen[-1:], rejected[-1:]
    if isinstance(prompt, str):
        parts = _parts(prompt)
        parts = [*([None] * len(images) if None not in parts else []), *parts]
        prompt = [{"role": "user", "content": [_as_record(part) for part in parts]}]
    whole = _placed({"messages": prompt, "images": images, "videos": row.get("videos")})
    told = {**row, **whole, "chosen": chosen, "rejected": rejected, "key": row.get("key") or key}
    return from_row(told, folder, where)


def _judged(row: Mapping[str, Any], folder: Path, key: str, where: str) -> list[Preference]:
    """Two answers that somebody compared, and perhaps a mended one: edited > better > worse.

    Llama 3's annotators did so (paper, section 7.5.2).
    """
    answers, better = row["answers"], row["better"]
    if not isinstance(answers, list) or len(answers) != 2 or not isinstance(row["question"], str):
        raise BadSample("bad_row", where, '"answers" must be a list of two, "question" a string')
    if better in ("tie", "both", "neither", None):
        raise BadSample("tie", where)
    place = {0: 0, 1: 1, "a": 0, "b": 1, "A": 0, "B": 1}.get(better)
    if place is None or isinstance(better, bool):
        raise BadSample("bad_row", where, f'"better" is {better!r}; expected "a", "b" or "tie"')
    shown: list[Part] = [picture_of(image, folder, where) for image in _images(row, where)]
    ranked = [answers[place], answers[1 - place]]
    if row.get("edited"):
        ranked.insert(0, row["edited"])
    if not all(isinstance(answer, str) and answer.strip() for answer in ranked):
        raise BadSample("no_text", where, "an answer is empty")
    if any(a.split() == b.split() for a, b in pairwise(ranked)):
        raise BadSample("same_answers", where)
    asked = (Message("user", (*shown, Text(row["question"]))),)
    return [
        Preference(asked, a, b, f"{key}/{number}", "human")
        for number, (a, b) in enumerate(pairwise(ranked))
    ]


def _images(row: Mapping[str, Any], where: str) -> list[Any]:
    images = row.get("images") if row.get("images") is not None else row.get("image")
    if images is None:
        return []
    if isinstance(images, list):
        return images
    if isinstance(images, str | bytes | Mapping):
        return [images]
    raise BadSample("bad_image", where)


def _count(places: int, images: int, where: str) -> None:
    if places != images:
        detail = f"the text has {places} places for pictures, but the row has {images} images"
        raise BadSample("picture_count", where, detail)


# ---- files -------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Any]:
    readers = {".jsonl": _lines, ".json": _array, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no .json, .jsonl or .parquet file of conversations.")
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def _lines(path: Path) -> Iterator[Any]:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            where = f"{path}, row {number}"
            number += 1
            if len(line) > LONGEST_LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST_LINE)
                yield BadSample("bad_row", where, f"the line has more than {LONGEST_LINE:,} bytes")
            elif line.strip():
                yield _parsed(line.removeprefix(b"\xef\xbb\xbf"), where)


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except UnicodeDecodeError:
        return BadSample("bad_text", where)
    except (ValueError, RecursionError) as error:
        return BadSample("bad_row", where, f"not valid JSON ({error})")


def _array(path: Path) -> Iterator[Any]:
    try:
        rows = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(rows, list):
        raise UserError(f"{path} must hold a JSON list of conversations.")
    yield from rows


def _parquet(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{path} cannot be read as a Parquet file ({told}).") from None
