"""Flowcharts in mermaid, compared by what stands in their boxes and on their arrows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pydantic import model_validator

from chiasm.evaluation.verify.normal import Verifier, alike, unfenced

_NAME = re.compile(r"\w+(?:[.-]\w+)*")
_SHAPES = (
    *(("(((", ")))"), ("([", "])"), ("[[", "]]"), ("[(", ")]"), ("((", "))"), ("{{", "}}")),
    *(("[/", "/]"), ("[\\", "\\]"), ("[/", "\\]"), ("[\\", "/]")),
    *(("[", "]"), ("(", ")"), ("{", "}"), (">", "]")),
)
_LINK = re.compile(
    r"\s*(?P<back><)?(?:"
    r"(?:--+|==+|-\.)\s+(?P<inside>[^|\n]+?)\s+(?:--+|==+|\.+-)(?P<head1>[>xo])?"
    r"|(?:--+|==+|-\.+-)(?P<head2>[>xo])?"
    r")(?:\s*\|(?P<label>[^|\n]*)\|)?\s*"
)
_SKIPPED = re.compile(
    r"^(?:flowchart|graph|subgraph|end|style|classDef|class|linkStyle|click|direction|accTitle|accDescr)\b"
)


class Graph(Verifier):
    """{"how": "graph", "nodes": {"a": "Start", "b": "Valid?"}, "edges": [["a", "b", "yes"]]}

    Right is a mermaid flowchart with the same boxes and arrows. Boxes are compared by their labels (not
    by their identifiers, shapes or order), arrows by the labels of both ends and their own ("" for none);
    case, quotes, line breaks and white space do not count.
    """

    how: Literal["graph"] = "graph"
    nodes: dict[str, str]
    """The label of each node's identifier."""
    edges: tuple[tuple[str, str, str], ...]
    """Identifier from, identifier to, label."""
    directed: bool = True
    """Whether it matters where an arrow points."""

    @model_validator(mode="after")
    def _knows_its_nodes(self) -> Graph:
        if unknown := {end for edge in self.edges for end in edge[:2]} - set(self.nodes):
            raise ValueError(f"edges name unknown nodes: {', '.join(sorted(unknown))}")
        return self

    def right(self, answer: str) -> bool:
        """Return whether the flowchart of the answer is ours."""
        read = parsed(unfenced(answer))
        if read is None or (self.directed and read.plain_lines):
            return False
        mine, yours = Chart(self.nodes, list(self.edges)), read
        return _boxes(mine) == _boxes(yours) and self._arrows(mine) == self._arrows(yours)

    def _arrows(self, chart: Chart) -> Counter[tuple[str, ...]]:
        arrows: Counter[tuple[str, ...]] = Counter()
        for start, end, label in chart.edges:
            ends = [_label(chart.nodes[start]), _label(chart.nodes[end])]
            arrows[(*(ends if self.directed else sorted(ends)), _label(label))] += 1
        return arrows


@dataclass
class Chart:
    """What a flowchart says."""

    nodes: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)
    plain_lines: bool = False
    """Whether some edge has no head."""


def _boxes(chart: Chart) -> Counter[str]:
    return Counter(map(_label, chart.nodes.values()))


def _label(text: str) -> str:
    text = re.sub(r"<br\s*/?>|\\n", " ", alike(text), flags=re.I)
    text = text.replace("#quot;", '"').replace("&quot;", '"').replace("&amp;", "&")
    return " ".join(text.strip().strip('"').split()).casefold()


def parsed(text: str) -> Chart | None:
    """Read a mermaid flowchart; None for what is none.

    Known are `A[x] --> B(y)`, chains, `A & B --> C`, labels as `-->|x|` and `-- x -->`, thick and
    dotted lines; subgraphs are seen through, styles skipped.
    """
    lines = [line.strip() for line in re.split(r"[\n;]", text) if line.strip()]
    starts = [i for i, line in enumerate(lines) if re.match(r"(?:flowchart|graph)\b", line)]
    if len(starts) != 1:
        return None
    chart = Chart()
    for line in lines[starts[0] + 1 :]:
        if line.startswith("%%") or _SKIPPED.match(line):
            continue
        if not _statement(line, chart):
            return None
    return chart


def _statement(line: str, chart: Chart) -> bool:
    """Read `A[x] & B --> C -->|y| D` into the chart; False when it is something else."""
    before: list[str] = []
    place, label, back, headed = 0, "", False, True
    while True:
        ends, place = _ends(line, place, chart)
        if not ends:
            return False
        for start in before:
            for end in ends:
                chart.plain_lines |= not headed
                if headed or not back:
                    chart.edges.append((start, end, label))
                if back:
                    chart.edges.append((end, start, label))
        if not line[place:].strip():
            return True
        link = _LINK.match(line, place)
        if link is None:
            return False
        label = (link["inside"] or "") + (link["label"] or "")
        back, headed = bool(link["back"]), bool(link["head1"] or link["head2"])
        headed |= back
        before, place = ends, link.end()


def _ends(line: str, place: int, chart: Chart) -> tuple[list[str], int]:
    """Read `A[x] & B`: identifiers, and where the text goes on."""
    found: list[str] = []
    while True:
        name = _NAME.match(line, place)
        if name is None:
            return [], place
        place = name.end()
        label, place = _shape(line, place)
        place += len(marked[0]) if (marked := re.match(r":::\w+", line[place:])) else 0
        if label is not None:
            chart.nodes[name[0]] = label
        else:
            chart.nodes.setdefault(name[0], name[0])
        found.append(name[0])
        more = re.match(r"\s*&\s*", line[place:])
        if more is None:
            return found, place
        place += more.end()


def _shape(line: str, place: int) -> tuple[str | None, int]:
    for left, right in _SHAPES:
        if not line.startswith(left, place):
            continue
        inside = place + len(left)
        if line.startswith('"', inside) and (end := line.find('"' + right, inside + 1)) >= 0:
            return line[inside + 1 : end], end + 1 + len(right)
        if (end := line.find(right, inside)) >= 0:
            return line[inside:end], end + len(right)
    return None, place
