"""Flowcharts laid out by Graphviz, drawn by resvg, and mermaid text as their answer.

steps, decisions, arrows ─┬─► dot ─► SVG ─► PNG
                          └─► mermaid, what follows, whether one gets from here to there
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.render import vocabulary as words
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.paper import FACES, font, font_folder, needed, width, wrapped
from chiasm.data.render.plot import FONTS
from chiasm.data.render.question_forms import graph, number, yes_no
from chiasm.data.render.question_forms import words as ask_words
from chiasm.inputs.question import Question

SLOWEST = 30.0
"""Seconds that Graphviz may take for one picture: it takes 15 ms."""


@dataclass(frozen=True)
class Chart:
    """Boxes and arrows; the i-th box is called `name(i)`."""

    labels: tuple[str, ...]
    roles: tuple[str, ...]
    """What each box is: "end", "step", "decision" or "thing"."""
    arrows: tuple[tuple[int, int, str], ...]
    """(from, to, label)."""

    def reached(self, start: int) -> set[int]:
        """Return the boxes that one gets to from `start` along one arrow or more."""
        seen: set[int] = set()
        ahead = [start]
        while ahead:
            here = ahead.pop()
            fresh = {to for source, to, _ in self.arrows if source == here} - seen
            seen |= fresh
            ahead += fresh
        return seen


def name(place: int) -> str:
    """Return a box's identifier: A, B, ..."""
    return chr(65 + place)


def flow(rng: Random) -> Chart:
    """Return a way from Start to End with steps and decisions, some of which skip steps or go back."""
    steps = rng.randint(2, 5)
    things = rng.sample(words.NOUNS, steps + 4)
    middle = [
        (f"{rng.choice(words.ACTIONS)} the {things[place]}", "step") for place in range(steps)
    ]
    for place in range(rng.choice((0, 1, 1, 2))):
        asked = f"{things[steps + place].capitalize()} {rng.choice(words.STATES)}?"
        middle.insert(rng.randint(1, len(middle)), (asked, "decision"))
    boxes = [("Start", "end"), *middle, ("End", "end")]
    arrows: list[tuple[int, int, str]] = []
    last = len(boxes) - 1
    for place, (_, role) in enumerate(boxes[:-1]):
        if role != "decision":
            arrows.append((place, place + 1, ""))
            continue
        straight, other = rng.choice((("yes", "no"), ("no", "yes")))
        arrows.append((place, place + 1, straight))
        way = rng.choice(("skip", "back", "aside"))
        if way == "skip" and place + 2 <= last:
            arrows.append((place, rng.randint(place + 2, last), other))
        elif way == "back" and place > 1:
            arrows.append((place, rng.randint(1, place - 1), other))
        else:
            extra_step = f"{rng.choice(words.ACTIONS)} the {things[-1 - (len(boxes) - last)]}"
            boxes.append((extra_step, "step"))
            arrows += [(place, len(boxes) - 1, other), (len(boxes) - 1, last, "")]
    labels, roles = zip(*boxes, strict=True)
    return Chart(_apart(labels), tuple(roles), tuple(arrows))


def _apart(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Tell boxes of the same label apart: "Sign the letter 2"."""
    seen: dict[str, int] = {}
    told = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        told.append(label if seen[label] == 1 else f"{label} {seen[label]}")
    return tuple(told)


def web(rng: Random) -> Chart:
    """Return things that depend on others: arrows never lead in a circle."""
    count = rng.randint(4, 8)
    pool = rng.choice(
        (words.CITIES, words.DEPARTMENTS, words.SUBJECTS, words.COMPANIES, words.PRODUCTS)
    )
    labels = tuple(rng.sample(pool, count))
    arrows = {(rng.randrange(place), place, "") for place in range(1, count)}
    for _ in range(rng.randint(0, 3)):
        start, end = sorted(rng.sample(range(count), 2))
        arrows.add((start, end, ""))
    return Chart(labels, ("thing",) * count, tuple(sorted(arrows)))


# ---------------------------------------------------------------- notations

_BRACKETS = {"end": ("([", "])"), "step": ("[", "]"), "decision": ("{", "}"), "thing": ("[", "]")}


def mermaid(chart: Chart, across: bool) -> str:
    """Write a flowchart in mermaid; every box is named in full where it first stands."""
    lines, known = [f"flowchart {'LR' if across else 'TD'}"], set[int]()

    def box(place: int) -> str:
        if place in known:
            return name(place)
        known.add(place)
        left, right = _BRACKETS[chart.roles[place]]
        return f"{name(place)}{left}{chart.labels[place]}{right}"

    for start, end, label in chart.arrows:
        first = box(start)
        lines.append(f"    {first} -->{f'|{label}|' if label else ''} {box(end)}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Look:
    face: str
    size: int
    ink: str
    fills: Mapping[str, str]
    shapes: Mapping[str, str]
    rounded: bool
    across: bool
    paper: str
    lines: str


def _choose(rng: Random, *, short: bool) -> _Look:
    tints = rng.sample(
        ("#ffffff", "#dbe9f6", "#fde2c8", "#dff0d8", "#f6dfea", "#fff6c9", "#e6e0f3", "#e8e8e8"), 4
    )
    plain = rng.random() < 0.25
    return _Look(
        face=rng.choice(sorted(FONTS)),
        size=rng.randint(11, 14),
        ink=rng.choice(("#000000", "#222222", "#1c2b4a", "#3b1f2b")),
        fills={
            role: "#ffffff" if plain else tint
            for role, tint in zip(("end", "step", "decision", "thing"), tints, strict=True)
        },
        shapes={
            "end": rng.choice(("ellipse", "box", "oval")),
            "step": "box",
            "decision": rng.choice(("diamond", "diamond", "hexagon")),
            "thing": rng.choice(("box", "ellipse", "box", "octagon")),
        },
        rounded=rng.random() < 0.5,
        across=short and rng.random() < 0.5,
        paper=rng.choice(("#ffffff", "#ffffff", "#faf8f3", "#f3f6fa")),
        lines=rng.choice(("spline", "spline", "polyline", "ortho")),
    )


def dot(chart: Chart, look: _Look) -> str:
    """Write a flowchart in Graphviz's language; the boxes' sizes are measured with our own fonts."""
    letters = font(look.face, look.size)
    has_labels = any(label for *_, label in chart.arrows)
    lines = "polyline" if look.lines == "ortho" and has_labels else look.lines  # ortho drops labels
    told = [
        "digraph {",
        f'graph [rankdir={"LR" if look.across else "TB"} bgcolor="{look.paper}" splines={lines}',
        "ranksep=0.35 nodesep=0.3 pad=0.15]",
        f'node [fontname="{FONTS[look.face]}" fontsize={look.size} fontcolor="{look.ink}"',
        f'color="{look.ink}" fixedsize=true]',
        f'edge [fontname="{FONTS[look.face]}" fontsize={look.size - 1} fontcolor="{look.ink}"',
        f'color="{look.ink}" arrowsize=0.7]',
    ]
    for place, (label, role) in enumerate(zip(chart.labels, chart.roles, strict=True)):
        pieces = wrapped(label, letters, look.size * 9)
        shape = look.shapes[role]
        grown = {"diamond": 1.75, "hexagon": 1.35, "ellipse": 1.3, "oval": 1.3, "octagon": 1.3}
        wide = (max(width(piece, letters) for piece in pieces) + 14) * grown.get(shape, 1.0)
        tall = (len(pieces) * look.size * 1.25 + 12) * (
            grown.get(shape, 1.0) if shape != "hexagon" else 1.1
        )
        style = "filled,rounded" if look.rounded and shape == "box" else "filled"
        inside = "\\n".join(pieces)
        told.append(
            f'{name(place)} [label="{inside}" shape={shape} style="{style}" fillcolor="{look.fills[role]}" '
            f"width={wide / 72:.3f} height={tall / 72:.3f}]"
        )
    for start, end, label in chart.arrows:
        told.append(f'{name(start)} -> {name(end)} [label="{f" {label} " if label else ""}"]')
    return "\n".join([*told, "}"])


def laid_out(source: str) -> str:
    """Return the SVG that Graphviz makes of a graph; raises UserError where it is missing."""
    done = subprocess.run(
        ["dot", "-Tsvg"], input=source.encode(), capture_output=True, timeout=SLOWEST, check=False
    )
    if done.returncode:
        raise UserError(
            f"Graphviz refused a flowchart: {done.stderr.decode(errors='replace')[:200]}."
        )
    return done.stdout.decode()


def painted(svg: str, face: str, scale: float) -> bytes:
    """Return the PNG of an SVG, its letters from our own font."""
    text = re.sub(r"<!DOCTYPE.*?>", "", svg, flags=re.S)
    with needed("resvg-py", "Flowcharts"):
        import resvg_py

    picture: bytes = resvg_py.svg_to_bytes(
        svg_string=text,
        skip_system_fonts=True,
        font_files=[str(font_folder() / FACES[face])],
        dpi=72 * scale,
    )
    return picture


def needs_graphviz() -> None:
    """Raise UserError where Graphviz, resvg or the fonts are missing."""
    if shutil.which("dot") is None:
        raise UserError(
            "Flowcharts need Graphviz's program dot, which is not installed: apt-get install graphviz "
            "(or brew install graphviz)."
        )
    with needed("resvg-py", "Flowcharts"):
        import resvg_py  # noqa: F401
    font_folder()


# ---------------------------------------------------------------- drawing and asking


def draw_flowchart(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one flowchart."""
    chart = flow(rng) if rng.random() < 0.7 else web(rng)
    look = _choose(rng, short=len(chart.labels) <= 6)
    source = dot(chart, look)
    data = painted(laid_out(source), look.face, rng.choice((1.0, 1.0, 1.25)))
    nodes = {name(place): label for place, label in enumerate(chart.labels)}
    arrows = [(name(start), name(end), label) for start, end, label in chart.arrows]
    truth = {
        "nodes": nodes,
        "roles": {name(place): role for place, role in enumerate(chart.roles)},
        "edges": [list(arrow) for arrow in arrows],
        "dot": source,
    }
    text = rng.choice(("Write this flowchart in mermaid.", "Turn the picture into mermaid code."))
    whole = graph(text, mermaid(chart, look.across), nodes, arrows)
    style = f"flowchart/{'across' if look.across else 'down'}"
    return Drawn(data, truth, (whole, *about(rng, chart)), style)


def about(rng: Random, chart: Chart) -> list[Question]:
    """Return questions about boxes, arrows, what follows what, and whether one gets somewhere."""
    asked = [number("count", "How many boxes does the flowchart have?", len(chart.labels))]
    asked.append(number("count", "How many arrows are there?", len(chart.arrows)))
    labels = chart.labels
    after = {place: [a for a in chart.arrows if a[0] == place] for place in range(len(labels))}
    single = [place for place, out in after.items() if len(out) == 1]
    if single:
        place = rng.choice(single)
        answer = labels[after[place][0][1]]
        text = f'What comes right after "{labels[place]}"?'
        asked.append(ask_words("next", text, answer, among=labels))
    decisions = [place for place, role in enumerate(chart.roles) if role == "decision"]
    if decisions:
        place = rng.choice(decisions)
        _, to, label = rng.choice(after[place])
        text = f'Where does the arrow "{label}" of "{labels[place]}" lead?'
        asked.append(ask_words("branch", text, labels[to], among=labels))
    if "decision" in chart.roles or "step" in chart.roles:
        text = "How many decisions (questions with two answers) are there?"
        asked.append(number("count", text, len(decisions)))
    reached = {place: chart.reached(place) for place in range(len(labels))}
    inner = [place for place, role in enumerate(chart.roles) if role != "end"]  # from Start, always
    pairs = [(a, b) for a in inner for b in inner if a != b]
    so = rng.random() < 0.5  # the answer first: yes is as likely as no
    fitting = [pair for pair in pairs if (pair[1] in reached[pair[0]]) == so]
    if 0 < len(fitting) < len(pairs):
        start, end = rng.choice(fitting)
        text = f'Can one get from "{labels[start]}" to "{labels[end]}" along the arrows?'
        asked.append(yes_no("path", text, so))
    return asked


KINDS: tuple[Kind, ...] = (
    Kind(
        "flowcharts",
        "flowcharts, mermaid as answer",
        draw_flowchart,
        "graphviz",
        needs_graphviz,
        ("dot", "resvg-py", "matplotlib"),
    ),
)
