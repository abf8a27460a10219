"""Tables in Markdown or HTML, compared cell by cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from chiasm.evaluation.verify.normal import Verifier, alike, is_markup, unfenced
from chiasm.evaluation.verify.numbers import Found, numbers

Rows: TypeAlias = tuple[tuple[str, ...], ...]

_RULE = re.compile(r":?-+:?")
_CELL = re.compile(r"(?<!\\)\|")
_MOST = 1000
"""Columns that one cell may span: an answer cannot ask for a billion."""


class Table(Verifier):
    """{"how": "table", "rows": [["year", "sales"], ["2019", "7.5"]], "header": true, "relative": 0.0}

    Right is a text with one table, in Markdown or HTML, of the same rows and columns whose cells are the
    same: numbers within `relative` (1,250 is 1250.0; 45 % is not 45), other texts but for case, emphasis
    and white space. A cell that spans several places stands in each of them.
    """

    how: Literal["table"] = "table"
    rows: tuple[tuple[str, ...], ...] = Field(min_length=1)
    """The cells, the head first where there is one; all rows are equally long."""
    header: bool = True
    """Whether the first row is the head; without one, Markdown's head may be empty."""
    relative: float = Field(0.0, ge=0)
    """Allowed difference of a number as a share of it."""
    any_order: bool = False
    """Whether the rows below the head may come in another order."""

    @field_validator("rows")
    @classmethod
    def _is_a_rectangle(cls, rows: Rows) -> Rows:
        if len({len(row) for row in rows}) != 1 or not rows[0]:
            raise ValueError("rows must have equally many cells")
        return rows

    def right(self, answer: str) -> bool:
        """Return whether the one table of the answer is ours."""
        tables = [rows for rows in parsed(unfenced(answer)) if rows]
        if len(tables) != 1:
            return False
        theirs = tables[0]
        if not self.header and not any(theirs[0]):
            theirs = theirs[1:]
        if [len(row) for row in theirs] != [len(row) for row in self.rows]:
            return False
        head = int(self.header)
        if not all(self._same(*rows) for rows in zip(self.rows[:head], theirs[:head], strict=True)):
            return False
        ours, rest = list(self.rows[head:]), list(theirs[head:])
        if not self.any_order:
            return all(self._same(*rows) for rows in zip(ours, rest, strict=True))
        for row in ours:
            place = next((i for i, other in enumerate(rest) if self._same(row, other)), None)
            if place is None:
                return False
            del rest[place]
        return True

    def _same(self, ours: Sequence[str], theirs: Sequence[str]) -> bool:
        return all(same_cell(*cells, self.relative) for cells in zip(ours, theirs, strict=True))


def same_cell(ours: str, theirs: str, relative: float) -> bool:
    """Return whether two cells say the same."""
    if (one := _clean(ours)) == (other := _clean(theirs)):
        return True
    mine, yours = _number(one), _number(other)
    if mine is None or yours is None or mine.unit != yours.unit:
        return False
    return abs(mine.value - yours.value) <= abs(mine.value) * relative + abs(mine.value) / 10**9


def _clean(cell: str) -> str:
    text = re.sub(r"<br\s*/?>", " ", cell, flags=re.I).replace("\\|", "|")
    return re.sub(r"[*`\s]+", " ", alike(text)).strip().casefold()


def _number(cell: str) -> Found | None:
    """A cell that is a number and nothing else, with or without a unit."""
    if not re.fullmatch(r"[-+]?[$€£¥]?\s?[\d.,]*\d(?:e[-+]?\d+)?\s?[a-z%°$€£¥]*", cell):
        return None
    found = numbers(cell)
    if len(found) != 1:
        return None
    # An unknown unit belongs to what must be equal.
    letters = re.sub(r"[-+\d.,\s]", "", cell)
    return Found(found[0].value, found[0].unit or letters)


def parsed(text: str) -> list[Rows]:
    """Return all tables of a text, those in HTML if there are any, else those in Markdown."""
    if re.search(r"<table\b", text, re.I) and is_markup(text):
        reader = _Reader()
        reader.feed(text)
        reader.close()
        return [tuple(map(tuple, table)) for table in reader.tables]
    tables: list[Rows] = []
    rows: list[tuple[str, ...]] = []
    for line in [*text.splitlines(), ""]:
        if "|" in line:
            inner = re.sub(r"^\||(?<!\\)\|$", "", line.strip())
            rows.append(tuple(cell.strip() for cell in _CELL.split(inner)))
            continue
        # Without its rule, lines with bars are no table.
        if len(rows) > 1 and all(_RULE.fullmatch(cell) for cell in rows[1]):
            tables.append((rows[0], *rows[2:]))
        rows = []
    return tables


class _Reader(HTMLParser):
    """Collects the tables of an HTML text as grids of texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self._below: dict[int, tuple[int, str]] = {}
        self._cell: list[str] | None = None
        self._spans = (1, 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a table, a row or a cell; an unclosed cell ends where the next one starts."""
        if tag in ("table", "tr", "td", "th"):
            self._end_cell()
        if tag == "table":
            self.tables.append([])
            self._below = {}
        elif tag == "tr" and self.tables:
            self._fill()
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            told = dict(attrs)
            spans = [told.get(name) or "1" for name in ("colspan", "rowspan")]
            wide, high = (min(int(n), _MOST) if n.isascii() and n.isdigit() else 1 for n in spans)
            self._cell, self._spans = [], (max(wide, 1), max(high, 1))
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """Close what ends here."""
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()
        if tag in ("tr", "table"):
            self._fill()

    def handle_data(self, data: str) -> None:
        """Keep the text of an open cell."""
        if self._cell is not None:
            self._cell.append(data)

    def _fill(self) -> None:
        """Put into the row what reaches down into it from above."""
        row = self.tables[-1][-1] if self.tables and self.tables[-1] else None
        while row is not None and len(row) in self._below:
            self._take(row)

    def _take(self, row: list[str]) -> None:
        left, text = self._below.pop(len(row))
        if left > 1:
            self._below[len(row)] = (left - 1, text)
        row.append(text)

    def _end_cell(self) -> None:
        if self._cell is None:
            return
        text, self._cell = " ".join("".join(self._cell).split()), None
        row = self.tables[-1][-1]
        wide, high = self._spans
        self._fill()
        for _ in range(wide):
            if high > 1:
                self._below[len(row)] = (high - 1, text)
            row.append(text)
