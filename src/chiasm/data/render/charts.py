"""Charts drawn by matplotlib: bars, lines, areas, pies, scatters, histograms, in many looks.

    ChartData ─┐                         ┌─ Reading: what can be read off it ─► questions
    Points ────┼─► axes ─► bars, lines ──┤
    Sizes ─────┘                         └─ pixels ─► PNG or JPEG

The truth holds the data, the colours, the axes' box in pixels and the limits of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from chiasm.data.render.chart_data import ChartData, chart_data, points, shares, sizes
from chiasm.data.render.chart_questions import (
    Reading,
    about_chart,
    about_points,
    about_sizes,
    readable,
)
from chiasm.data.render.drawn import Draw, Drawn, Kind
from chiasm.data.render.paper import encoded
from chiasm.data.render.plot import (
    LEAST_HEIGHT,
    Area,
    Axis,
    Look,
    captions,
    choose_look,
    draw_legend,
    drawing,
    finished,
    lay_out,
    needs_matplotlib,
    over,
)

HEADROOM = 0.15
"""Share of the span that stays free above the highest mark for a label that lies; upright ones take more."""


@dataclass(frozen=True)
class Sheet:
    """An empty figure, and what was decided about the chart that goes onto it."""

    figure: Any
    look: Look
    rng: Random
    titled: bool
    named: bool

    def area(self, data: ChartData, values: Axis, *, across: bool = False) -> Area:
        """Return axes for a chart over categories; `across` puts the categories on the left."""
        things = Axis.of_names(data.category if self.named else "", data.names)
        x, y = (values, things) if across else (things, values)
        inks = zip((name for name, _ in data.series), self.look.colours, strict=False)
        legend = list(inks) if len(data.series) > 1 else []
        area = lay_out(self.figure, self.look, x, y, data.title if self.titled else "", legend)
        if across:
            area.axes.invert_yaxis()  # the first category on top
        return area

    def values(self, data: ChartData, low: float, high: float, labels: bool) -> Axis:
        """Return the axis of values."""
        head = 0.02
        if labels:
            told = [self.look.spell(value) for _, values in data.series for value in values]
            longest = max(map(self.look.wide, told))
            slot = 0.5 * self.look.size[0] / len(told)
            head = max(HEADROOM, longest / LEAST_HEIGHT * 1.15 if longest > slot else 0)
        name = data.value if self.named else ""
        return Axis.of_numbers(name, low, high + head * (high - low), self.look.spell)

    def reading(self, values: Axis, labels: bool) -> Reading:
        """Return what can be read off the chart."""
        return Reading(labels, values.low, values.high, self.titled, self.named)

    def labels(self, data: ChartData, low: float, high: float) -> bool:
        """Values are written where chance wants it, and where they could not be read otherwise."""
        free = self.reading(self.values(data, low, high, False), False)
        return self.rng.random() < 0.45 or not readable(data, free)


Plotted = tuple[Area, Reading, Mapping[str, str]]
"""What was drawn on, what can be read, the colour of each series or category."""


def _bars(sheet: Sheet, data: ChartData, *, across: bool = False, piled: bool = False) -> Plotted:
    """Bars upwards, or to the right where `across`; several series side by side, or `piled`."""
    columns = list(zip(*(values for _, values in data.series), strict=True))
    high = max(sum(column) if piled else max(column) for column in columns)
    labels = piled or sheet.labels(data, 0, high)
    axis = sheet.values(data, 0, high, labels and not piled)
    area = sheet.area(data, axis, across=across)
    rows = 1 if piled else len(data.series)
    thick = sheet.rng.uniform(0.55, 0.85) / rows
    motley = len(data.series) == 1 and sheet.rng.random() < 0.4
    inks: dict[str, str] = {}
    base = [0.0] * len(data.names)
    for number, (series, values) in enumerate(data.series):
        at = [
            place + (0 if piled else number - (rows - 1) / 2) * thick for place in range(len(base))
        ]
        colours = [sheet.look.colours[place if motley else number] for place in range(len(at))]
        inks.update(zip(data.names, colours, strict=True) if motley else [(series, colours[0])])
        if across:
            area.axes.barh(at, values, thick, left=base, color=colours, linewidth=0)
        else:
            area.axes.bar(at, values, thick, bottom=base, color=colours, linewidth=0)
        if labels:
            ends = [b + v / (2 if piled else 1) for b, v in zip(base, values, strict=True)]
            spots = list(zip(ends, at, strict=True) if across else zip(at, ends, strict=True))
            to = "middle" if piled else "right" if across else "above"
            area.label(spots, values, to=to, room=thick)
        base = [b + v for b, v in zip(base, values, strict=True)] if piled else base
    return area, sheet.reading(axis, labels), inks


def _lines(sheet: Sheet, data: ChartData, *, filled: bool = False) -> Plotted:
    """Lines with or without marks; areas down to zero where `filled`."""
    every = [value for _, values in data.series for value in values]
    low = 0.0 if filled or sheet.rng.random() < 0.5 else min(every)
    single = len(data.series) == 1
    labels = single and sheet.labels(data, low, max(every))
    axis = sheet.values(data, low, max(every), labels)
    area = sheet.area(data, axis)
    mark = sheet.rng.choice(("o", "s", "^", "D") if labels or filled else ("", "o", "s", "^", "D"))
    thick = sheet.rng.uniform(1.2, 2.6)
    inks: dict[str, str] = {}
    for (series, values), ink in zip(data.series, sheet.look.colours, strict=False):
        at, inks[series] = list(range(len(values))), ink
        area.axes.plot(at, values, color=ink, linewidth=thick, marker=mark, markersize=5)
        if filled:
            area.axes.fill_between(at, values, color=ink, alpha=0.4, linewidth=0)
        if labels:
            area.label(list(zip(at, values, strict=True)), values, to="above", room=1.0)
    return area, sheet.reading(axis, labels), inks


def _pie(sheet: Sheet, data: ChartData) -> Plotted:
    """A pie or a ring of shares; names stand beside the slices or in a legend."""
    look, labels = sheet.look, sheet.rng.random() < 0.7
    shares = data.series[0][1]
    inks = dict(zip(data.names, look.colours, strict=False))
    wide, tall = look.size
    key = max(map(look.wide, data.names)) + 3 * look.text
    beside = wide - 2 * key < 150 or sheet.rng.random() < 0.4
    top = look.text * 5 // 2 if sheet.titled else look.text
    room = wide - key if beside else wide - 2 * key + 4 * look.text
    side = min(room, tall - top - (8 if beside else 2 * look.text)) - 10
    left = 6 if beside else (wide - side) // 2
    box = (left, top + (tall - top - side) // 2, left + side, top + (tall - top - side) // 2 + side)
    axes = sheet.figure.add_axes((left / wide, 1 - box[3] / tall, side / wide, side / tall))
    hole = sheet.rng.choice((0.0, 0.0, 0.45))
    _, _, *told = axes.pie(
        shares,
        colors=list(inks.values()),
        startangle=sheet.rng.randrange(0, 360, 15),
        counterclock=sheet.rng.random() < 0.5,
        radius=1.0,
        labels=None if beside else data.names,
        labeldistance=1.06,
        autopct=(lambda share: f"{round(share, 1):g}%") if labels else None,
        pctdistance=(1 + hole) / 2 if hole else 0.65,
        wedgeprops={"width": 1 - hole, "linewidth": 0} if hole else {"linewidth": 0},
        textprops={"fontsize": look.points * 0.95},
    )
    for text, ink in zip(told[0] if told else (), inks.values(), strict=False):
        text.set_color(over(ink))
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02))
    title = data.title if sheet.titled else ""
    captions(sheet.figure, look, box, ("", "", title))
    if beside:
        key_column = [look.wide(name) + 3 * look.text for name in data.names]
        draw_legend(
            sheet.figure, look, list(inks.items()), key_column, (*box[:2], wide - key, box[3]), True
        )
    area = Area(axes, look, Axis("", -1, 1, (), ()), Axis("", -1, 1, (), ()), box)
    # Angles are read less well than heights: twice the slack.
    return area, Reading(labels, 0, 200, sheet.titled, False, shares=True), inks


def _drawn_chart(
    rng: Random,
    library: Mapping[str, Any],
    *,
    kind: str,
    plot: Callable[[Sheet, ChartData], Plotted],
    several: float = 0.0,
    in_time: float = 0.3,
) -> Drawn:
    """Draw one chart over categories; `several` and `in_time` are the chances of either."""
    look = choose_look(rng)
    data = _data(rng, library, kind, rng.random() < several, rng.random() < in_time)
    with drawing(look) as figure:
        sheet = Sheet(figure, look, rng, rng.random() < 0.85, rng.random() < 0.85)
        area, reading, inks = plot(sheet, data)
        image = finished(figure)
    truth = {
        "type": kind,
        "title": data.title,
        "source": data.source,
        "rows": data.rows(),
        "labels": reading.labels,
        "colours": dict(inks),
        "box": list(area.box),
        "limits": [reading.low, reading.high],
    }
    questions = about_chart(rng, data, reading)
    return Drawn(encoded(image, rng), truth, questions, f"{kind}/{look.style}")


def _data(
    rng: Random, library: Mapping[str, Any], kind: str, several: bool, in_time: bool
) -> ChartData:
    """Data that a chart of this kind can show: piles whose every piece has room for its label."""
    if kind == "pie":
        return shares(rng, library)
    data = chart_data(rng, library, several=several, in_time=in_time)
    if kind == "piled-bars":
        highest = max(map(sum, zip(*(values for _, values in data.series), strict=True)))
        if min(min(values) for _, values in data.series) < 0.07 * highest:
            return chart_data(rng, {}, several=several, in_time=in_time)
    return data


def _scatter(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw points."""
    look, data = choose_look(rng), points(rng, library)
    named, titled = rng.random() < 0.9, rng.random() < 0.8
    groups = sorted({group for *_, group in data.points})
    inks = dict(zip(groups, look.colours, strict=False))
    sides = []
    for name, held in (
        (data.x, [x for x, _, _ in data.points]),
        (data.y, [y for _, y, _ in data.points]),
    ):
        edge = 0.06 * (max(held) - min(held))
        low = 0.0 if min(held) >= 0 and rng.random() < 0.3 else min(held) - edge
        sides.append(Axis.of_numbers(name if named else "", low, max(held) + edge, look.spell))
    x, y = sides
    with drawing(look) as figure:
        legend = list(inks.items()) if len(groups) > 1 else []
        area = lay_out(figure, look, x, y, data.title if titled else "", legend)
        mark, size = rng.choice("osD^v"), rng.uniform(14, 30)
        for group in groups:
            at = [point for point in data.points if point[2] == group]
            across, up = [point[0] for point in at], [point[1] for point in at]
            area.axes.scatter(across, up, s=size, c=inks[group], marker=mark, linewidths=0)
        image = finished(figure)
    readings = [Reading(False, axis.low, axis.high, titled, named) for axis in sides]
    truth = {
        "type": "scatter",
        "title": data.title,
        "source": data.source,
        "points": [list(point) for point in data.points],
        "colours": inks,
        "box": list(area.box),
        "limits": [x.low, x.high, y.low, y.high],
    }
    questions = about_points(rng, data, *readings)
    return Drawn(encoded(image, rng), truth, questions, f"scatter/{look.style}")


def _histogram(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a histogram."""
    look, data = choose_look(rng), sizes(rng, library)
    labels, named, titled = rng.random() < 0.5, rng.random() < 0.9, rng.random() < 0.8
    room = 1 + (HEADROOM if labels else 0.03)
    told = [f"{edge:g}" for edge in data.edges]
    x = Axis(data.value if named else "", data.edges[0], data.edges[-1], data.edges, told)
    y = Axis.of_numbers("Count" if named else "", 0, max(data.counts) * room, look.spell)
    ink = rng.choice(look.colours[:6])
    with drawing(look) as figure:
        area = lay_out(figure, look, x, y, data.title if titled else "", [])
        width = data.edges[1] - data.edges[0]
        middles = [edge + width / 2 for edge in data.edges[:-1]]
        area.axes.bar(middles, data.counts, width, color=ink, edgecolor="white", linewidth=0.8)
        if labels:
            spots = list(zip(middles, data.counts, strict=True))
            area.label(spots, data.counts, to="above", room=width)
        image = finished(figure)
    truth = {
        "type": "histogram",
        "title": data.title,
        "source": data.source,
        "edges": list(data.edges),
        "counts": list(data.counts),
        "colours": {"": ink},
        "labels": labels,
        "box": list(area.box),
        "limits": [y.low, y.high],
    }
    questions = about_sizes(rng, data, Reading(labels, y.low, y.high, titled, named))
    return Drawn(encoded(image, rng), truth, questions, f"histogram/{look.style}")


_DRAWS: Mapping[str, tuple[str, Draw]] = {
    "bars": ("bars upwards", partial(_drawn_chart, kind="bars", plot=_bars)),
    "horizontal-bars": (
        "bars to the right",
        partial(_drawn_chart, kind="horizontal-bars", plot=partial(_bars, across=True)),
    ),
    "grouped-bars": (
        "bars of several series, side by side",
        partial(_drawn_chart, kind="grouped-bars", plot=_bars, several=1.0),
    ),
    "piled-bars": (
        "bars of several series, one on another",
        partial(_drawn_chart, kind="piled-bars", plot=partial(_bars, piled=True), several=1.0),
    ),
    "lines": (
        "one line or several",
        partial(_drawn_chart, kind="lines", plot=_lines, several=0.5, in_time=0.9),
    ),
    "areas": (
        "a line and the area below it",
        partial(_drawn_chart, kind="areas", plot=partial(_lines, filled=True), in_time=0.9),
    ),
    "pies": ("pies and rings of shares", partial(_drawn_chart, kind="pie", plot=_pie)),
    "scatters": ("points in a plane", _scatter),
    "histograms": ("counts between edges", _histogram),
}


def _any_chart(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one of them all."""
    return _DRAWS[rng.choice(sorted(_DRAWS))][1](rng, library)


KINDS: tuple[Kind, ...] = (
    Kind(
        "charts",
        "charts of every kind below",
        _any_chart,
        "matplotlib",
        needs_matplotlib,
        ("matplotlib", "numpy"),
        "tables",
    ),
    *(
        Kind(
            name,
            does,
            draw,
            "matplotlib",
            needs_matplotlib,
            ("matplotlib", "numpy"),
            "tables",
        )
        for name, (does, draw) in _DRAWS.items()
    ),
)
