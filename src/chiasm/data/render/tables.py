"""Tables drawn line by line with Pillow, in many looks, and what can be asked of them.

    rows ─► widths, heights ─► lines, zebra or nothing ─► picture
      └───► markdown, HTML, one cell, the greatest, a sum, how many ─► questions

A head of two rows, cells of the upper one standing over several columns, is answered in HTML.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from chiasm.data.render import vocabulary as words
from chiasm.data.render.chart_data import names_of, numbers_of
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.paper import FAMILIES, encoded, font, line_height, needs_fonts, width, write
from chiasm.data.render.question_forms import number, spelt, table, yes_no
from chiasm.data.render.question_forms import words as ask_words
from chiasm.inputs.question import Question

Colour = tuple[int, int, int]

LOOKS = ("lined", "zebra", "ruled", "open", "boxed")
"""Lines around every cell; grey rows; three rules as in a book; nothing; a frame and a dark head."""


@dataclass(frozen=True)
class Cells:
    """A table: its head, its rows, which columns hold numbers, and groups of columns if it has any."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    groups: tuple[tuple[str, int], ...] = ()
    """(name, columns below it) of the upper head; the first column has none."""
    source: str = "invented"


def cells(rng: Random, library: Mapping[str, Any]) -> Cells:
    """Return 3 to 9 rows of 2 to 6 columns, of a real table one time in two where there are any."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = library.get("tables") or {}
    if tables and rng.random() < 0.5:
        name = rng.choice(sorted(tables))
        real = _real(rng, name, tables[name])
        if real is not None:
            return real
    return _invented(rng)


def _real(rng: Random, name: str, rows: Sequence[Mapping[str, Any]]) -> Cells | None:
    """Some columns of some rows that follow one another; None where the table is unfit."""
    start = rng.randrange(max(1, len(rows) - 9))
    shown = rows[start : start + rng.randint(3, 9)]
    numbers, texts = numbers_of(shown), names_of(shown, most=9)
    if not numbers or not texts or len(shown) < 3:
        return None
    first = rng.choice(texts)
    if len({row.get(first) for row in shown}) < len(shown):
        return None
    chosen = rng.sample(numbers, min(len(numbers), rng.randint(1, 4)))
    if not all(isinstance(row.get(column), int | float) for row in shown for column in chosen):
        return None
    body = tuple((str(row[first]), *(f"{row[column]:.6g}" for column in chosen)) for row in shown)
    head = tuple(column.replace("_", " ")[:24] for column in (first, *chosen))
    return Cells(head, body, (False, *(True for _ in chosen)), source=name)


_COLUMNS = (
    *(
        ("Price", 0.5, 90, 2),
        ("Quantity", 1, 60, 0),
        ("Weight (kg)", 0.2, 40, 1),
        ("Score", 0, 100, 0),
    ),
    *(
        ("Points", 3, 99, 0),
        ("Age", 18, 80, 0),
        ("Height (cm)", 120, 210, 0),
        ("Visits", 10, 900, 0),
    ),
    *(
        ("Rating", 1, 5, 1),
        ("Year", 1950, 2029, 0),
        ("Distance (km)", 1, 400, 1),
        ("Stock", 0, 500, 0),
    ),
    *(("Wins", 0, 40, 0), ("Hours", 1, 48, 0), ("Cost", 10, 9000, 2), ("Share (%)", 1, 99, 1)),
)
_FIRST = (
    *(("Name", words.FIRST_NAMES), ("Country", words.COUNTRIES), ("City", words.CITIES)),
    *(("Product", words.PRODUCTS), ("Animal", words.ANIMALS), ("Department", words.DEPARTMENTS)),
    *(("Sport", words.SPORTS), ("Subject", words.SUBJECTS), ("Company", words.COMPANIES)),
)
_STATES = ("open", "closed", "paid", "late", "new", "sent")


def _invented(rng: Random) -> Cells:
    count = rng.randint(3, 9)
    first, pool = rng.choice(_FIRST)
    names = rng.sample(pool, count)
    if rng.random() < 0.2:
        return _under_groups(rng, first, names)
    columns = [_column(rng, count, *made) for made in rng.sample(_COLUMNS, rng.randint(1, 4))]
    numeric = [True] * len(columns)
    if rng.random() < 0.35:
        place = rng.randrange(len(columns) + 1)
        columns.insert(place, ("State", [rng.choice(_STATES) for _ in names]))
        numeric.insert(place, False)
    head = (first, *(name for name, _ in columns))
    rows = tuple(zip(names, *(values for _, values in columns), strict=True))
    return Cells(head, rows, (False, *numeric))


def _column(
    rng: Random, count: int, name: str, low: float, high: float, digits: int
) -> tuple[str, list[str]]:
    return name, [f"{rng.uniform(low, high):.{digits}f}" for _ in range(count)]


def _under_groups(rng: Random, first: str, names: Sequence[str]) -> Cells:
    """Two or three years (or cities) over the same two or three measures."""
    above = rng.choice((("2021", "2022", "2023"), ("North", "South", "East"), words.QUARTERS))
    made = rng.sample(_COLUMNS, rng.randint(2, 3))
    groups = tuple((name, len(made)) for name in above[: 2 if len(made) == 3 else 3])
    columns = [_column(rng, len(names), *measure) for _ in groups for measure in made]
    rows = tuple(zip(names, *(values for _, values in columns), strict=True))
    head = (first, *(name for name, _ in columns))
    return Cells(head, rows, (False, *(True for _ in columns)), groups)


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True)
class _Look:
    name: str
    face: str
    size: int
    pad: int
    head_bold: bool
    ink: Colour
    ground: Colour
    accent: Colour
    rights: bool
    """Whether numbers stand at the right edge of their cells."""


_ACCENTS: tuple[Colour, ...] = (
    *((38, 70, 120), (90, 40, 110), (20, 100, 90), (140, 60, 30), (60, 60, 70), (10, 90, 150)),
)


def _choose(rng: Random) -> _Look:
    return _Look(
        name=rng.choice(LOOKS),
        face=rng.choice(FAMILIES),
        size=rng.randint(12, 17),
        pad=rng.randint(4, 9),
        head_bold=rng.random() < 0.7,
        ink=rng.choice(((0, 0, 0), (25, 25, 35), (40, 40, 40))),
        ground=rng.choice(((255, 255, 255), (255, 255, 255), (250, 248, 242), (244, 247, 250))),
        accent=rng.choice(_ACCENTS),
        rights=rng.random() < 0.6,
    )


def draw_table(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one table."""
    content, look = cells(rng, library), _choose(rng)
    image, boxes = _picture(content, look, rng.randint(6, 24))
    truth = {
        "head": list(content.head),
        "groups": [list(group) for group in content.groups],
        "rows": [list(row) for row in content.rows],
        "source": content.source,
        "boxes": boxes,
    }
    return Drawn(encoded(image, rng), truth, about(rng, content), f"table/{look.name}")


def _picture(content: Cells, look: _Look, margin: int) -> tuple[Image.Image, list[list[list[int]]]]:
    """The picture, and where each cell of head and rows lies: [row][column] = left, top, right, bottom."""
    plain = font(look.face, look.size)
    bold = font(f"{look.face} bold", look.size) if look.head_bold else plain
    rows = [content.head, *content.rows]
    wide = [
        max(width(row[c], bold if r == 0 else plain) for r, row in enumerate(rows))
        + 2 * look.pad
        + 4
        for c in range(len(content.head))
    ]
    high = line_height(plain) + look.pad
    place = 1
    for (
        name,
        span,
    ) in content.groups:  # what stands above several columns may be wider than they are
        missing = width(name, bold) + 2 * look.pad - sum(wide[place : place + span])
        wide[place] += max(0, missing)
        place += span
    above = high if content.groups else 0
    left = [margin + sum(wide[:c]) for c in range(len(wide) + 1)]
    top = [margin + above + high * r for r in range(len(rows) + 1)]
    image = Image.new("RGB", (left[-1] + margin, top[-1] + margin), look.ground)
    _lines(image, look, left, top, content)
    head_ink = (255, 255, 255) if look.name == "boxed" else look.ink
    boxes = []
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            face = plain if r else bold
            shift = look.pad
            if look.rights and content.numeric[c]:
                shift = wide[c] - look.pad - width(text, face)
            at = (left[c] + shift, top[r] + look.pad // 2)
            write(image, at, text, face, look.ink if r else head_ink)
        boxes.append([[left[c], top[r], left[c + 1], top[r + 1]] for c in range(len(row))])
    place = 1
    for name, span in content.groups:
        middle = (left[place] + left[place + span] - width(name, bold)) // 2
        write(image, (middle, margin + look.pad // 2), name, bold, head_ink)
        place += span
    return image, boxes


def _lines(
    image: Image.Image, look: _Look, left: Sequence[int], top: Sequence[int], content: Cells
) -> None:
    """What is drawn below the words."""
    pen = ImageDraw.Draw(image)
    first = top[0] - (top[1] - top[0] if content.groups else 0)
    frame = (left[0], first, left[-1], top[-1])
    ends = [1]
    for _, span in content.groups:
        ends.append(ends[-1] + span)
    if look.name == "boxed":
        pen.rectangle((left[0], first, left[-1], top[1]), fill=look.accent)
        pen.rectangle(frame, outline=look.accent)
    if look.name == "zebra":
        for r in range(2, len(top) - 1, 2):
            shade = tuple(max(0, tone - 18) for tone in look.ground)
            pen.rectangle((left[0], top[r], left[-1], top[r + 1]), fill=shade)
        pen.line((left[0], top[1], left[-1], top[1]), fill=look.ink)
    if look.name == "ruled":
        for y in (first, top[1], top[-1]):
            pen.line((left[0], y, left[-1], y), fill=look.ink, width=1 if y == top[1] else 2)
    if look.name == "lined":
        pen.rectangle(frame, outline=look.ink)
        for y in top[:-1]:
            pen.line((left[0], y, left[-1], y), fill=look.ink)
        for c, x in enumerate(left):
            over = not content.groups or c in ends or c == 0
            pen.line((x, first if over else top[0], x, top[-1]), fill=look.ink)
    elif content.groups:
        for start, end in itertools.pairwise(ends):
            pen.line((left[start] + 6, top[0], left[end] - 6, top[0]), fill=look.ink)


# ---------------------------------------------------------------- questions


def grouped_html(content: Cells) -> str:
    """Write a table with two rows of heads in HTML."""
    above = "".join(f'<th colspan="{span}">{name}</th>' for name, span in content.groups)
    lines = ["<table>", f'<tr><th rowspan="2">{content.head[0]}</th>{above}</tr>']
    lines.append("<tr>" + "".join(f"<th>{name}</th>" for name in content.head[1:]) + "</tr>")
    lines += [
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in content.rows
    ]
    return "\n".join([*lines, "</table>"])


def about(rng: Random, content: Cells) -> tuple[Question, ...]:
    """Return the question for the whole table, and some about cells, rows and columns."""
    rows = [content.head, *content.rows]
    if content.groups:
        spread = [content.head[0], *(name for name, span in content.groups for _ in range(span))]
        asked = table("Write this table in HTML.", [spread, *rows], as_html=True)
        return (
            Question(asked.text, grouped_html(content), asked.check, "table"),
            *_lookups(rng, content),
        )
    as_html = rng.random() < 0.4
    text = f"Write this table in {'HTML' if as_html else 'markdown'}."
    return (table(text, rows, as_html=as_html), *_lookups(rng, content), *_sums(rng, content))


def _lookups(rng: Random, content: Cells) -> list[Question]:
    """One cell, the row of the greatest or the least value, how many rows."""
    first, noun = content.head[0], content.head[0].lower()
    numeric = [c for c, is_number in enumerate(content.numeric) if is_number]
    column, row = rng.choice(numeric), rng.choice(content.rows)
    name = _named(content, column)
    asked = [
        number("cell", f"What is the {name} of {row[0]}?", float(row[column]), told=row[column])
    ]
    most = rng.random() < 0.5
    order = sorted(content.rows, key=lambda r: float(r[column]), reverse=most)
    if order[0][column] != order[1][column]:
        text = f"Which {noun} has the {'highest' if most else 'lowest'} {name}?"
        among = [r[0] for r in content.rows]
        asked.append(ask_words("extreme", text, order[0][0], among=among))
    asked.append(
        number(
            "count", "How many rows does the table have, the head not counted?", len(content.rows)
        )
    )
    for c, is_number in enumerate(content.numeric[1:], start=1):
        if not is_number:
            text = f"What is the {content.head[c]} of the {first} {row[0]}?"
            asked.append(
                ask_words("cell", text, row[c], among=sorted({r[c] for r in content.rows}))
            )
    return asked


def _named(content: Cells, column: int) -> str:
    """A column's name, with its group's: "Price in 2022"."""
    place = 1
    for group, span in content.groups:
        if place <= column < place + span:
            return f"{content.head[column]} ({group})"
        place += span
    return content.head[column]


def _sums(rng: Random, content: Cells) -> list[Question]:
    """A total, a comparison of two rows, how many rows lie above a limit."""
    column = rng.choice([c for c, is_number in enumerate(content.numeric) if is_number])
    name = content.head[column]
    values = [float(row[column]) for row in content.rows]
    total = round(sum(values), 4)
    asked = [number("sum", f"What is the sum of the column {name}?", total, 0.001)]
    one, other = rng.sample(content.rows, 2)
    high, low = sorted((one, other), key=lambda row: -float(row[column]))
    if high[column] != low[column]:
        so, more = rng.random() < 0.5, rng.random() < 0.5
        first, second = (high, low) if more == so else (low, high)
        word = "higher" if more else "lower"
        asked.append(
            yes_no("compare", f"Is the {name} of {first[0]} {word} than that of {second[0]}?", so)
        )
    limit = float(f"{sorted(values)[len(values) // 2]:.2g}")
    above = sum(value > limit for value in values)
    asked.append(number("count", f"In how many rows is {name} above {spelt(limit)}?", above))
    return asked


KINDS: tuple[Kind, ...] = (
    Kind(
        "tables",
        "tables: as markdown, as HTML, cells",
        draw_table,
        "matplotlib",
        needs_fonts,
        ("matplotlib",),
        "tables",
    ),
)
