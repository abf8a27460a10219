"""What was found out, for people and programs: a table, a page with pictures, one JSON record.

Result "right"    ─┐               ┌─► plain(...)    text, for a pipe or a log
Result "blank"    ─┼─► the table ──┼─► table(...)    rich, for a terminal
Result "shuffled" ─┘               └─► page(...)     one HTML file that needs nothing else
                                       records(...)  JSON-able values of all of it
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from chiasm.base.errors import UserError
from chiasm.evaluation.metrics import Share
from chiasm.evaluation.runner import Result, Row
from chiasm.evaluation.task import Task
from chiasm.inputs.message import Picture, Video

HEADS = {"right": "right", "blank": "blank", "shuffled": "shuffled"}
"""What a table calls the pictures that were shown."""
EXAMPLES = 12
"""Right and wrong answers that a page shows, of each so many."""
KINDS = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"BM": "bmp",
}
"""What a browser must be told, by the first bytes of a picture."""
MOST_BYTES = 2_000_000
"""A larger picture is named on a page, but not shown."""


@dataclass(frozen=True)
class Line:
    """A line of the table: a group of questions, and its share in each column."""

    table: str
    """"all", "kind" or "truth"."""
    name: str
    shares: tuple[Share, ...]


def heads(results: Sequence[Result]) -> list[str]:
    """Return the names of the columns: what was shown in each result, then the baselines."""
    return [*(HEADS[result.images] for result in results), *results[0].baselines]


def lines(results: Sequence[Result]) -> list[Line]:
    """Return the table: all questions, each kind, each right answer; results of one task only."""
    first = results[0]
    if any((r.task, r.source) != (first.task, first.source) for r in results):
        raise ValueError("one table is about one task")
    columns = [r.shares() for r in results] + [first.shares(name) for name in first.baselines]
    nothing = Share(0.0, 0)
    return [
        Line("all", "all", tuple(column.total for column in columns)),
        *(
            Line("kind", name, tuple(column.kinds.get(name, nothing) for column in columns))
            for name in columns[0].kinds
        ),
        *(
            Line("truth", name, tuple(column.truths.get(name, nothing) for column in columns))
            for name in columns[0].truths
        ),
    ]


def title(results: Sequence[Result]) -> str:
    """Return one sentence: which task, how many questions, what counts as right."""
    first = results[0]
    return f"{first.task} on {first.source}: {first.total.count:,} answers, {first.rule}"


def notes(results: Sequence[Result]) -> list[str]:
    """Return what a reader must know besides the table: samples that were refused, and the time."""
    found = []
    for result in results:
        if result.refused:
            why = result.refused[0]
            found.append(
                f"{HEADS[result.images]}: {len(result.refused):,} samples could not be asked and "
                f"are not counted, such as {why[0]}: {why[1]}"
            )
    shown = ", ".join(f"{HEADS[r.images]} {r.seconds:,.0f} s" for r in results)
    return [*found, f"Pictures shown, and time: {shown}. Intervals are Wilson's."]


def _cells(results: Sequence[Result]) -> Iterator[list[str]]:
    """The table in words, with an empty line between its parts."""
    part = "all"
    for line in lines(results):
        if line.table != part:
            part = line.table
            yield []
        name = f'"{line.name}"' if line.table == "truth" else line.name
        yield [name, f"{line.shares[0].count:,}", *map(_accuracy, line.shares)]
        if line.table == "all":
            yield ["95 % interval", "", *map(_interval, line.shares)]


def _accuracy(share: Share) -> str:
    return f"{share.accuracy:.4f}" if share.count else "–"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.3f}–{high:.3f}" if share.count else "–"


# ---- text --------------------------------------------------------------------------------------


def plain(results: Sequence[Result]) -> str:
    """Return the table as text, in columns."""
    rows = [["", "count", *heads(results)], *_cells(results)]
    widths = [max(len(row[i]) for row in rows if row) for i in range(len(rows[0]))]
    body = [
        "  ".join(f"{cell:>{w}}" if i else f"{cell:<{w}}" for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=False)) for row in rows)
    ]
    return "\n".join([title(results), "", *body, "", *notes(results)])


def table(results: Sequence[Result]) -> Table:
    """Return the table for a terminal; print it with rich."""
    # Without its frame the table fits into 80 columns.
    look: dict[str, Any] = {"box": box.SIMPLE, "show_edge": False, "pad_edge": False}
    told = Text("\n".join(notes(results)))
    found = Table(title=Text(title(results)), caption=told, caption_justify="left", **look)
    found.add_column("", no_wrap=True)
    for head in ("count", *heads(results)):
        found.add_column(Text(head), justify="right")
    for row in _cells(results):
        if row:
            found.add_row(*map(Text, row))  # as they are: brackets are no markup here
        else:
            found.add_section()
    return found


def records(results: Sequence[Result], samples: bool = True) -> list[dict[str, Any]]:
    """Return every result as JSON-able values, with or without its single answers."""
    found = [result.record() for result in results]
    return found if samples else [{k: v for k, v in r.items() if k != "samples"} for r in found]


# ---- a page ------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8884 }
th:first-child, td:first-child { text-align: left }
small { opacity: .7 }
.bar { display: grid; grid-template-columns: 10rem 1fr 4rem; gap: .6rem; align-items: center }
.bar div { background: #8883; height: .8rem }
.bar i { display: block; height: 100%; background: #3b78c2 }
.bar.c1 i { background: #999 } .bar.c2 i { background: #b98a3c } .bar.c3 i { background: #6b5b95 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .6rem; border: 1px solid #8884; border-radius: .4rem }
figure img { width: 100%; height: 9rem; object-fit: contain; image-rendering: auto }
figcaption b { display: block }
"""


def page(results: Sequence[Result], task: Task) -> str:
    """Return one HTML file: table, bars by kind, right and wrong answers with their pictures.

    Everything is inside: no script, nothing that a browser would fetch. The answers shown are of
    the first result, spread evenly over it.
    """
    told = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in notes(results))
    name = html.escape(task.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        # A browser that obeys this fetches nothing, whatever an answer of the model contains.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style><h1>{name}</h1><p>{html.escape(title(results))}</p>"
        f"{_table(results)}{told}<h2>By kind of question</h2>{_bars(results)}"
        f"{_examples('Wrong answers', results[0], task, right=False)}"
        f"{_examples('Right answers', results[0], task, right=True)}</html>\n"
    )


def _table(results: Sequence[Result]) -> str:
    rows = []
    for tag, row in (
        ("th", ["", "count", *heads(results)]),
        *(("td", row) for row in _cells(results) if row),
    ):
        cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _bars(results: Sequence[Result]) -> str:
    found = []
    for line in (line for line in lines(results) if line.table != "truth"):
        found.append(f"<h3>{html.escape(line.name)}</h3>")
        for number, (head, value) in enumerate(zip(heads(results), line.shares, strict=True)):
            if value.count:
                found.append(
                    f'<div class="bar c{number}"><span>{html.escape(head)}</span>'
                    f'<div><i style="width:{value.accuracy:.2%}"></i></div>'
                    f"<span>{value.accuracy:.3f}</span></div>"
                )
    return "".join(found)


def _examples(head: str, result: Result, task: Task, right: bool) -> str:
    """Answers with their pictures, spread evenly over the rows that are right, or are not."""
    rows = [row for row in result.rows if (row.score >= 1.0) == right]
    step = max(1, len(rows) // EXAMPLES)
    cards = "".join(_card(row, task) for row in rows[::step][:EXAMPLES])
    return f"<h2>{head} ({len(rows):,})</h2><div class=cards>{cards}</div>"


def _card(row: Row, task: Task) -> str:
    record, place = row.place
    sample = task.source[record][place]
    shown = (
        _picture(part.cover if isinstance(part, Video) else part)
        for message in task.prompt(sample)
        for part in message.parts
        if isinstance(part, Picture | Video)
    )
    question, answer, truth = map(html.escape, (row.question, row.answer, row.truth))
    expected = "" if row.score >= 1.0 else f"<br>expected: {truth}"
    return (
        f"<figure>{''.join(shown)}<figcaption><b>{question}</b>answer: {answer}{expected}"
        f"<br><small>{html.escape(row.key)}</small></figcaption></figure>"
    )


def _picture(picture: Picture) -> str:
    try:
        data = picture.read()
    except UserError as error:
        return f"<p>{html.escape(str(error))}</p>"
    kind = next((name for start, name in KINDS.items() if data.startswith(start)), None)
    if kind is None or len(data) > MOST_BYTES:
        return f"<p>{html.escape(picture.name)} ({len(data):,} bytes) is not shown.</p>"
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
