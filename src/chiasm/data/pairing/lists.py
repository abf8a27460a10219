"""Lists of pictures and captions: CSV, TSV and JSON lines, one record a line.

    image,caption                          {"image": "a.jpg", "caption": "a red boat"}
    a.jpg,"a boat, red"  ── places of ──►  {"image": "b.jpg", "text": "a harbour"}
    b.jpg,a harbour         records                └─ read when it is asked for

Opening finds where records begin and keeps nothing else; a line too long is never held in memory.
Paths start at the list's folder, and may not leave it.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import (
    MOST_TEXT,
    Place,
    check_columns,
    key_of,
    pair_of_row,
)
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample, decoded, parsed

MOST_LINES = 1000
"""Lines that one record of a CSV file may have."""

_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_UNCLOSED = "a quote that is not closed"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ListSource:
    """The records of one list."""

    name: str
    path: Path
    comma: str
    """What stands between the fields of a line; empty for JSON lines."""
    columns: tuple[str, ...]
    places: array[int]
    """(first byte, byte behind the last, number of the line) of each record, one after another."""

    def __len__(self) -> int:
        return len(self.places) // 3

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end, line = self.places[3 * index : 3 * index + 3]
        where = f"{self.path}, line {line}"
        if end - start > MOST_TEXT:
            detail = f"the line has {end - start} bytes, more than {MOST_TEXT}"
            raise BadSample("long_line", where, detail)
        text = decoded(_bytes(self.path, start, end), where, begins=start == 0)
        row = self._row(text, where) if self.comma else parsed(text, where)
        folder = self.path.parent
        place = Place(self.name, folder.resolve(), folder, where)
        return pair_of_row(row, place, key_of(self.name, str(line)))

    def _row(self, text: str, where: str) -> dict[str, str]:
        values = fields(text, self.comma)
        if isinstance(values, str) or len(values) != len(self.columns):
            found = values if isinstance(values, str) else f"{len(values)} fields"
            detail = f"the line has {found}; the first line names {len(self.columns)} columns"
            raise BadSample("bad_row", where, detail)
        return dict(zip(self.columns, values, strict=True))


def listed(path: Path) -> ListSource:
    """Open a list by the ending of its name: .csv, .tsv, or JSON lines.

    Raises UserError when the file cannot be read, or its first line names no column for pictures and
    none for captions. Blank lines are no records.
    """
    comma = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower(), "")
    if not path.is_file():
        raise UserError(f"{path} is not a file; check the path of the list.")
    try:
        lines = _lines(path)
        columns = _columns(path, next(lines, None), comma) if comma else ()
        records = _records(lines, len(columns)) if comma == "," else lines
        places = array("Q")
        for number, start, end, text in records:
            if text is None or text.strip():
                places.extend((start, end, number))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    return ListSource(path.stem, path, comma, columns, places)


Line = tuple[int, int, int, bytes | None]
"""(number, first byte, byte behind the last, what it says unless that is too long)."""


def _lines(path: Path) -> Iterator[Line]:
    with open(path, "rb") as file:
        number = end = 0
        while text := file.readline(MOST_TEXT + 1):
            number, start, end = number + 1, end, end + len(text)
            if number == 1 and text.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UserError(f"{path} is UTF-16: save it as UTF-8.")
            if len(text) <= MOST_TEXT:
                yield number, start, end, text
                continue
            while not text.endswith(b"\n") and (text := file.readline(1 << 20)):
                end += len(text)
            yield number, start, end, None


def _bytes(path: Path, start: int, end: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(end - start)
    except OSError:
        data = b""
    if len(data) < end - start:
        raise BadSample("damaged_file", str(path), "the list has changed since it was opened")
    return data


# ---- fields ------------------------------------------------------------------------------------


def fields(text: str, comma: str) -> list[str] | str:
    """Split a record of CSV (RFC 4180) or TSV, or return what is wrong with it.

    In TSV, which many write without quotes, a field is quoted only if its quote closes at its end.
    """
    text = text.removesuffix("\n").removesuffix("\r")
    found, at = [], 0
    while True:
        quoted = _QUOTED.match(text, at)
        if quoted and text[quoted.end() : quoted.end() + 1] in ("", comma):
            found.append(quoted[1].replace('""', '"'))
            at = quoted.end()
        elif comma == "," and text.startswith('"', at):
            return "a quote within a quoted field" if quoted else _UNCLOSED
        else:
            end = text.find(comma, at)
            end = len(text) if end < 0 else end
            found.append(text[at:end])
            at = end
        if at >= len(text):
            return found
        at += 1


def _records(lines: Iterator[Line], columns: int) -> Iterator[Line]:
    """Put the lines of one record of CSV together.

    A quote that nobody closes would swallow the lines behind it: a record of several lines must have
    all columns, else its first line stands alone, and is refused when it is read.
    """
    ahead: deque[Line] = deque()
    while line := ahead.popleft() if ahead else next(lines, None):
        if line[3] is None or b'"' not in line[3] or _split(line[3]) != _UNCLOSED:
            yield line
            continue
        record, taken = _continued(line, ahead, lines, columns)
        yield record
        for _ in range(taken):
            ahead.popleft()


def _continued(
    line: Line, ahead: deque[Line], lines: Iterator[Line], columns: int
) -> tuple[Line, int]:
    """Return the record that begins with a line, and how many of those ahead belong to it."""
    number, start, _, first = line
    text = [first or b""]
    for count in range(MOST_LINES):
        if count == len(ahead):
            if (following := next(lines, None)) is None:
                break
            ahead.append(following)
        _, _, end, more = ahead[count]
        if more is None or end - start > MOST_TEXT:
            break
        text.append(more)
        if b'"' in more and (found := _split(b"".join(text))) != _UNCLOSED:
            if isinstance(found, list) and len(found) == columns:
                return (number, start, end, b"".join(text)), count + 1
            break
    return line, 0


def _split(text: bytes) -> list[str] | str:
    # Bytes as characters, one for one: whether they are UTF-8 is asked when the record is read.
    return fields(text.decode("latin-1"), ",")


def _columns(path: Path, first: Line | None, comma: str) -> tuple[str, ...]:
    text = (first[3] or b"").removeprefix(_BOM) if first else b""
    names = fields(decoded(text, str(path)), comma)
    columns = tuple(name.strip() for name in names) if isinstance(names, list) else ()
    if len(set(columns)) < len(columns):
        raise UserError(f"{path} names a column twice: {', '.join(columns)}.")
    check_columns(path, columns)
    return columns
