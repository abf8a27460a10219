"""Where samples come from: a source is a sequence of records, read when they are asked for.

    easy_vqa(folder, "train")   4,000 pictures with about ten questions each   ─┐
    folder(path)                pictures with captions or questions beside them ├──► Source
    parquet(pattern)            rows {messages, images, videos}, in any files   ─┘     of Records

What is wrong with a list of samples is told when it is opened, by file and row. What only shows
when a record is read is a BadSample, which whoever reads counts and reports: no record ever stands
in for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

from chiasm.base.errors import UserError
from chiasm.data.parquet import parquet, write_parquet
from chiasm.data.rows import (
    CAPTION_PROMPT,
    BadSample,
    decoded,
    from_fields,
    parsed,
    question_answer,
)
from chiasm.inputs.message import Picture, Record, Sample, Shown

__all__ = ["BadSample", "Source", "easy_vqa", "folder", "parquet", "write_parquet"]

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""Names of files that are pictures."""


class Source(Protocol):
    """A sequence of records; `source[i]` raises BadSample when record i cannot be used."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@dataclass(frozen=True)
class Listed:
    """Records that stand in a list; a record that cannot be used is the function that says why."""

    name: str
    records: tuple[Record | Callable[[], BadSample], ...]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        record = self.records[index]
        if isinstance(record, tuple):
            return record
        raise record()


# ---- easy-vqa ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class EasyVqa:
    """Pictures of one shape in one colour, each with all its questions and answers."""

    name: str
    images: Path
    questions: tuple[tuple[int, tuple[tuple[str, str], ...]], ...]
    """(number of the picture, its (question, answer) pairs)."""

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Record:
        image, pairs = self.questions[index]
        picture = Picture(path=str(self.images / f"{image}.png"))
        return tuple(
            question_answer(picture, question, answer, f"{self.name}/{image}/{number}")
            for number, (question, answer) in enumerate(pairs)
        )


def easy_vqa(root: Path, split: Literal["train", "test"]) -> Source:
    """Open the benchmark easy-vqa: one record per picture, with all questions about it.

    `root` is the folder into which its wheel was unpacked. Train has 4,000 pictures with 38,575
    questions, test 1,000 with 9,673; thirteen different answers (https://github.com/vzhou842/easy-VQA).
    """
    data = Path(root) / "easy_vqa" / "data" / split
    rows = _json(data / "questions.json", "Run `chiasm pull` to fetch the benchmark again.")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{data / 'questions.json'} holds no list of questions.")
    asked: dict[int, list[tuple[str, str]]] = {}
    for number, row in enumerate(rows):
        match row:
            case [str(question), str(answer), int(image)]:
                asked.setdefault(image, []).append((question, answer))
            case _:
                raise UserError(
                    f"{data / 'questions.json'}, row {number}: must be [question, answer, image]."
                )
    held = {path.name for path in (data / "images").glob("*.png")}
    if lost := [image for image in asked if f"{image}.png" not in held]:
        raise UserError(
            f"{data / 'images'} has no {lost[0]}.png ({len(lost)} of {len(asked)} pictures are "
            "missing). Run `chiasm pull` to fetch the benchmark again."
        )
    questions = tuple((image, tuple(pairs)) for image, pairs in asked.items())
    return EasyVqa(f"easy-vqa/{split}", data / "images", questions)


# ---- a folder ----------------------------------------------------------------------------------


def folder(path: Path) -> Source:
    """Open a folder of pictures with text, or a list of samples in one .jsonl file.

    A folder with one .jsonl file in it: the samples are its lines, {image, question, answer} or
    {messages, images, videos}, with paths that start at the folder; consecutive lines about the same
    pictures share a record. Any other folder: the text to A.png stands beside it, in A.txt (a
    caption) or in A.json ({question, answer}, or {messages}, or a list of these); subfolders count.
    A picture without text is a BadSample. Raises UserError, naming file and line.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path of the data.")
    lists = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if len(lists) > 1:
        names = ", ".join(each.name for each in lists)
        raise UserError(f"{path} holds several lists of samples ({names}): name the one to read.")
    records = tuple(_lines(lists[0]) if lists else _beside(path))
    if not records:
        raise UserError(
            f"{lists[0] if lists else path} holds no sample: pictures with A.txt or A.json beside "
            "A.png are expected, or one list of samples, NAME.jsonl."
        )
    return Listed(path.stem if path.is_file() else path.resolve().name, records)


def _lines(path: Path) -> Iterator[Record]:
    samples = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            row = parsed(line, where)
            samples.append(from_fields(row, path.parent, f"{path.stem}/{number}", where))
    # Only neighbours are put together: the order of the list is the order of the source.
    return (tuple(same) for _, same in groupby(samples, _pictures))


def _pictures(sample: Sample) -> tuple[Shown, ...] | str:
    pictures = (p for m in sample.messages for p in m.parts if isinstance(p, Shown))
    return tuple(pictures) or sample.key  # samples without a picture share nothing


def _beside(root: Path) -> Iterator[Record | Callable[[], BadSample]]:
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or path.suffix.lower() not in PICTURES:
            continue
        caption, questions = path.with_suffix(".txt"), path.with_suffix(".json")
        key = inside.with_suffix("").as_posix()
        record: list[Sample] = []
        if caption.exists():
            record.extend(_caption(path, _text(caption).strip(), key))
        if questions.exists():
            record.extend(_questions(path, questions, key))
        yield tuple(record) or _no_text(path)


def _caption(picture: Path, text: str, key: str) -> Iterator[Sample]:
    if text:
        yield question_answer(Picture(path=str(picture)), CAPTION_PROMPT, text, key)


def _no_text(path: Path) -> Callable[[], BadSample]:
    return lambda: BadSample("no_text", str(path))


def _questions(picture: Path, path: Path, key: str) -> Iterator[Sample]:
    """Samples of the JSON beside a picture, which need not name it."""
    rows = _json(path)
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        where = f"{path}, row {number}"
        if isinstance(row, dict) and not {"image", "images"} & set(row):
            shown = {"images": [picture.name]} if "messages" in row else {"image": picture.name}
            row = {**row, **shown}
        yield from_fields(row, picture.parent, f"{key}/{number}", where)


# ---- files -------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def _json(path: Path, advice: str = "") -> Any:
    if not path.is_file():
        raise UserError(f"{path} does not exist. {advice}".rstrip())
    return parsed(_text(path), str(path))
