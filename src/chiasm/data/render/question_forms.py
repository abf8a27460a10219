"""Questions of every form, each with the check that belongs to it.

number, words, yes_no, choice, names, table, graph, latex, prose ─► Question(text, answer, check, kind)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chiasm.inputs.question import Question

Rows = Sequence[Sequence[str]]
"""Rows of cells, the first one the header."""


def spelt(value: float) -> str:
    """Write a number as short as it is exact: 3, 3.5, 1200."""
    return f"{value:.0f}" if value == int(value) else f"{value:.6f}".rstrip("0")


def significant(value: float, digits: int = 3) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")


def number(
    kind: str, text: str, value: float, relative: float = 0.0, *, told: str = ""
) -> Question:
    """Ask for a number; an answer may be off by `relative` of it. `told` is how the picture writes it."""
    check = {"how": "number", "value": value, "relative": relative}
    return Question(text, told or spelt(value), check, kind)


def words(
    kind: str, text: str, answer: str, also: Iterable[str] = (), among: Iterable[str] = ()
) -> Question:
    """Ask for a word or a name; `also` are other right answers, `among` all that could be named."""
    check = {"how": "words", "accept": list(dict.fromkeys((answer, *also))), "among": list(among)}
    return Question(text, answer, check, kind)


def yes_no(kind: str, text: str, value: bool) -> Question:
    """Ask whether something is so."""
    return Question(text, "Yes" if value else "No", {"how": "yes_no", "value": value}, kind)


def markdown(rows: Rows) -> str:
    """Write rows as a table in markdown, the first one as its header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def html(rows: Rows) -> str:
    """Write rows as a table in HTML, the first one as its header."""
    parts = ["<table>"]
    for place, row in enumerate(rows):
        tag = "td" if place else "th"
        cells = "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in row)
        parts.append(f"<tr>{cells}</tr>")
    return "\n".join([*parts, "</table>"])


def escaped(text: str) -> str:
    """Escape what HTML and SVG would read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(text: str, rows: Rows, relative: float = 0.0, *, as_html: bool = False) -> Question:
    """Ask for a whole table, numbers within `relative`."""
    check = {
        "how": "table",
        "rows": [list(row) for row in rows],
        "header": True,
        "relative": relative,
    }
    return Question(text, html(rows) if as_html else markdown(rows), check, "table")


def latex(text: str, answer: str) -> Question:
    """Ask for a formula."""
    return Question(text, answer, {"how": "latex", "text": answer}, "latex")


def prose(kind: str, text: str, answer: str, errors: float = 0.05) -> Question:
    """Ask for a text; an answer may have so many wrong characters per character of it."""
    return Question(text, answer, {"how": "text", "text": answer, "errors": errors}, kind)


def names(kind: str, text: str, answers: Sequence[str], among: Sequence[str] = ()) -> Question:
    """Ask for several names, in any order; `among` are all that could be named."""
    check = {"how": "names", "names": list(answers), "among": list(among)}
    return Question(text, ", ".join(answers), check, kind)


def graph(
    text: str, answer: str, nodes: Mapping[str, str], edges: Sequence[tuple[str, str, str]]
) -> Question:
    """Ask for a flowchart: its nodes {id: label} and edges (from, to, label)."""
    check = {"how": "graph", "nodes": dict(nodes), "edges": [list(edge) for edge in edges]}
    return Question(text, answer, check, "graph")
