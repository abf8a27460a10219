"""Questions about a chart, answered from the data behind it, and only those that it lets you answer.

    ChartData + Reading (labels? limits? legend?) ─► value, extreme, difference, sum, average, count,
                                                     compare, trend, title, axis, legend, table

A number without a label can be read off an axis to about 1.5 % of its span: what that does not give to
within 5 % of the answer is not asked, and what is closer than that is not compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from chiasm.data.render.chart_data import ChartData, Points, Sizes
from chiasm.data.render.question_forms import names, number, table, words, yes_no
from chiasm.inputs.question import Question

READ_TO = 0.015
"""How exactly an eye reads a height, as a share of the axis."""
UNLABELLED = 0.05
"""How far an answer may be off where no label tells the value, as a share of the value."""


@dataclass(frozen=True)
class Reading:
    """What a chart lets its reader see."""

    labels: bool
    """Whether every value is written beside its mark."""
    low: float
    high: float
    """The limits of the axis of values."""
    titled: bool = True
    named: bool = True
    """Whether the axes' names are drawn."""
    shares: bool = False
    """Whether values are shares of a whole (a pie)."""

    @property
    def slack(self) -> float:
        """What an eye may be wrong by."""
        return 0.0 if self.labels else READ_TO * (self.high - self.low)

    @property
    def relative(self) -> float:
        """By how much an answer may be off, as a share of the right one."""
        return 0.0 if self.labels else UNLABELLED

    def tells(self, value: float, readings: int = 1) -> bool:
        """Whether a value computed from so many readings comes out well enough."""
        return self.labels or UNLABELLED * abs(value) >= self.slack * readings


Asked = Iterator[Question]
Asks = Callable[[Random, ChartData, Reading], Asked]


def readable(data: ChartData, reading: Reading) -> bool:
    """Whether every value can be read well enough."""
    return all(reading.tells(value) for _, row in data.series for value in row)


def about_chart(
    rng: Random, data: ChartData, reading: Reading, most: int = 6
) -> tuple[Question, ...]:
    """Return up to `most` questions of different kinds, and the one for the whole table first."""
    asked: list[Question] = []
    if readable(data, reading):
        text = rng.choice(
            (
                "Give the data of this chart as a markdown table.",
                "Turn the chart into a markdown table.",
                "Which data does the chart show? Answer with a markdown table.",
            )
        )
        asked.append(table(text, data.rows(), reading.relative))
    return (*asked, *_some(rng, ASKS, (data, reading), most - len(asked)))


def _some(rng: Random, asks: Sequence[Any], about: tuple[Any, ...], most: int) -> list[Question]:
    return [q for ask in rng.sample(asks, len(asks)) for q in ask(rng, *about)][: max(most, 0)]


def _one_series(rng: Random, data: ChartData) -> tuple[str, str, tuple[float, ...]]:
    """A series, and the words that name it in a question: ("", " for Paris", values)."""
    name, values = rng.choice(data.series)
    return name, f" for {name}" if name else "", values


def _what(data: ChartData) -> str:
    return data.value.split(" (")[0].lower()


def _value(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    places = [p for p, value in enumerate(values) if value > 0 and reading.tells(value)]
    if places:
        place = rng.choice(places)
        name = data.names[place]
        what = "share in percent" if reading.shares else _what(data)
        text = rng.choice(
            (
                f"What is the {what} of {name}{told}?",
                f"Which value does the chart show at {name}{told}?",
            )
        )
        yield number("value", text, values[place], reading.relative)


def _extreme(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    most = rng.random() < 0.5
    order = sorted(range(len(values)), key=lambda place: values[place], reverse=most)
    gap = abs(values[order[0]] - values[order[1]])
    if gap > 2 * reading.slack and gap > 0:
        word = rng.choice(("highest", "largest") if most else ("lowest", "smallest"))
        yield words(
            "extreme",
            f"Which {data.category.lower()} has the {word} value{told}?",
            data.names[order[0]],
            among=data.names,
        )


def _extreme_value(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    most = rng.random() < 0.5
    value = max(values) if most else min(values)
    if value > 0 and reading.tells(value):
        word = "highest" if most else "lowest"
        yield number("extreme", f"What is the {word} value{told}?", value, reading.relative)


def _difference(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    one, other = rng.sample(range(len(values)), 2)
    value = round(abs(values[one] - values[other]), 6)
    if value > 0 and reading.tells(value, 2):
        text = f"What is the difference between {data.names[one]} and {data.names[other]}{told}?"
        yield number("difference", text, value, reading.relative or 0.001)


def _sum(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    total = round(sum(values), 6)
    if reading.shares or not reading.tells(total, len(values)):
        return
    if rng.random() < 0.5:
        text = f"What is the sum of all values{told}?"
        yield number("sum", text, total, reading.relative or 0.001)
    else:
        mean = round(total / len(values), 3)
        text = f"What is the average of all values{told}?"
        yield number("average", text, mean, reading.relative or 0.005)


def _count(rng: Random, data: ChartData, reading: Reading) -> Asked:
    if len(data.series) > 1 and rng.random() < 0.5:
        yield number("count", "How many series does the legend name?", len(data.series))
    else:
        noun = {"Country": "countries", "City": "cities", "Company": "companies"}.get(data.category)
        noun = noun or (
            f"values of {data.category}"
            if " " in data.category or data.source != "invented"
            else f"{data.category.lower()}s"
        )
        yield number("count", f"How many {noun} does the chart show?", len(data.names))


def _compare(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    one, other = rng.sample(range(len(values)), 2)
    if abs(values[one] - values[other]) <= 2 * reading.slack or values[one] == values[other]:
        return
    so = rng.random() < 0.5  # first the answer, then the question: both are as likely
    more = rng.random() < 0.5
    high, low = sorted((one, other), key=lambda place: -values[place])
    first, second = (high, low) if more == so else (low, high)
    word = "greater" if more else "smaller"
    text = f"Is the value of {data.names[first]} {word} than that of {data.names[second]}{told}?"
    yield yes_no("compare", text, so)


def _above(rng: Random, data: ChartData, reading: Reading) -> Asked:
    _, told, values = _one_series(rng, data)
    order = sorted(values)
    gaps = [
        (low, high)
        for low, high in itertools.pairwise(order)
        if high - low > max(4 * reading.slack, 0.05 * abs(high))
    ]
    if gaps:
        low, high = rng.choice(gaps)
        limit = float(f"{(low + high) / 2:.2g}")
        if low + reading.slack < limit < high - reading.slack:
            above = sum(value > limit for value in values)
            text = f"How many values{told} are above {limit:g}?"
            yield number("count", text, above)


def _trend(rng: Random, data: ChartData, reading: Reading) -> Asked:
    if not data.ordered:
        return
    _, told, values = _one_series(rng, data)
    change = values[-1] - values[0]
    if abs(change) < max(3 * reading.slack, 0.15 * max(values)):
        return
    so, up = change > 0, rng.random() < 0.5
    # Asked both ways by chance: whether data rises more often than it falls, tells nothing.
    word = "higher" if up else "lower"
    text = f"Is the last value {word} than the first one{told}?"
    yield yes_no("trend", text, so == up)


def _title(rng: Random, data: ChartData, reading: Reading) -> Asked:
    if reading.titled:
        yield words("title", "What is the title of the chart?", data.title)


def _axis(rng: Random, data: ChartData, reading: Reading) -> Asked:
    if reading.named and not reading.shares:
        across = rng.random() < 0.5
        text = f"What is the name of the axis of {'categories' if across else 'values'}?"
        answer = data.category if across else data.value
        yield words("axis", text, answer, () if across else (data.value.split(" (")[0],))


def _legend(rng: Random, data: ChartData, reading: Reading) -> Asked:
    if len(data.series) > 1:
        yield names("legend", "Which series does the legend name?", [s for s, _ in data.series])


ASKS: tuple[Asks, ...] = (
    *(_value, _extreme, _extreme_value, _difference, _sum, _count),
    *(_compare, _above, _trend, _title, _axis, _legend),
)


# ---------------------------------------------------------------- points


def about_points(rng: Random, data: Points, x: Reading, y: Reading) -> tuple[Question, ...]:
    """Return questions about points: how many, names, groups, the trend, the highest, all as a table."""
    asked = [number("count", "How many points does the chart show?", len(data.points))]
    groups = sorted({group for *_, group in data.points})
    if all(x.tells(u) and y.tells(v) for u, v, _ in data.points) and _apart(data, x, y):
        asked.append(_point_table(data))
    along = rng.random() < 0.5
    axis, answer = ("horizontal", data.x) if along else ("vertical", data.y)
    if x.named:
        text = f"What is the name of the {axis} axis?"
        asked.append(words("axis", text, answer, (answer.split(" (")[0],)))
    if len(groups) > 1:
        group = rng.choice(groups)
        size = sum(point[2] == group for point in data.points)
        asked.append(number("count", f"How many points belong to {group}?", size))
        asked.append(names("legend", "Which groups does the legend name?", groups))
    asked += _together(rng, data)
    top = sorted(data.points, key=lambda point: point[1])
    if top[-1][1] - top[-2][1] > 2 * y.slack and x.tells(top[-1][0]):
        text = f"What is the {data.x.split(' (')[0].lower()} of the highest point?"
        asked.append(number("value", text, top[-1][0], x.relative))
    return tuple(asked)


def _apart(data: Points, x: Reading, y: Reading) -> bool:
    """Whether no two points lie so near that they may look like one, or change places when sorted."""
    across = sorted(point[0] for point in data.points)
    return all(b - a > 2 * x.slack for a, b in itertools.pairwise(across))


def _point_table(data: Points) -> Question:
    text = "Give the points, from left to right, as a markdown table."
    grouped = any(group for *_, group in data.points)
    header = [data.x, data.y, *(["Group"] if grouped else [])]
    rows = [
        [f"{u:g}", f"{v:g}", *([group] if grouped else [])] for u, v, group in sorted(data.points)
    ]
    return table(text, [header, *rows], UNLABELLED)


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Pearson's r."""
    count = len(pairs)
    mean_x, mean_y = (sum(pair[side] for pair in pairs) / count for side in (0, 1))
    xx = sum((u - mean_x) ** 2 for u, _ in pairs)
    yy = sum((v - mean_y) ** 2 for _, v in pairs)
    xy = sum((u - mean_x) * (v - mean_y) for u, v in pairs)
    return float(xy / (xx * yy) ** 0.5) if xx and yy else 0.0


def _together(rng: Random, data: Points) -> Asked:
    r = correlation([(u, v) for u, v, _ in data.points])
    if abs(r) > 0.6:  # asked both ways by chance
        up = rng.random() < 0.5
        text = f"As {data.x.split(' (')[0].lower()} grows, does {data.y.split(' (')[0].lower()} mostly "
        yield yes_no("trend", f"{text}{'grow, too' if up else 'shrink'}?", (r > 0) == up)


# ---------------------------------------------------------------- histograms


def about_sizes(rng: Random, data: Sizes, reading: Reading) -> tuple[Question, ...]:
    """Return questions about a histogram: bins, their counts, the fullest, the total, the table."""
    asked = [number("count", "How many bins does the histogram have?", len(data.counts))]
    bins = [f"{low:g}–{high:g}" for low, high in zip(data.edges, data.edges[1:], strict=False)]
    if all(reading.tells(count) for count in data.counts):
        rows = [
            [data.value, "Count"],
            *([b, str(n)] for b, n in zip(bins, data.counts, strict=True)),
        ]
        text = "Give the counts of the bins as a markdown table."
        asked.append(table(text, rows, reading.relative))
    told = [p for p, count in enumerate(data.counts) if count and reading.tells(count)]
    if told:
        place = rng.choice(told)
        text = f"How many values lie between {data.edges[place]:g} and {data.edges[place + 1]:g}?"
        asked.append(number("value", text, data.counts[place], reading.relative))
    order = sorted(range(len(bins)), key=lambda place: -data.counts[place])
    if data.counts[order[0]] - data.counts[order[1]] > max(2 * reading.slack, 0):
        text = "Which bin is the fullest? Give its lower and upper edge."
        low, high = data.edges[order[0]], data.edges[order[0] + 1]
        others = (f"{low:g}-{high:g}", f"{low:g} to {high:g}", f"{low:g} and {high:g}")
        asked.append(words("extreme", text, bins[order[0]], others))
    if reading.labels:
        asked.append(number("sum", "How many values are there in all?", sum(data.counts)))
    if reading.named:
        short = data.value.split(" (")[0]
        asked.append(
            words("axis", "What is the name of the horizontal axis?", data.value, (short,))
        )
    return tuple(asked)
