"""What a chart shows: series over categories, or points; from real tables, or invented.

library["tables"] ─► columns ─► group and average ─┐
a vocabulary and chance ───────────────────────────┴─► ChartData, Points, Sizes ─► charts.py, vega.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from chiasm.data.render import vocabulary as words
from chiasm.data.render.question_forms import significant, spelt

TRIES = 6
"""So many tables are tried for a chart that needs names, years or both: not every one has them."""
SEEN_ROWS = 1000
"""So many rows of a real table are looked at: a chart is drawn in less time than a long one is read."""


@dataclass(frozen=True)
class ChartData:
    """Numbers over categories; as exact as charts write them."""

    title: str
    category: str
    """What the categories are: "Month"."""
    value: str
    """What the numbers are: "Sales (thousands)"."""
    names: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    """(name, values): one whose name is empty, or several."""
    source: str
    """The real table's name, or "invented"."""
    ordered: bool = False
    """Whether the categories follow one another in time."""

    def rows(self) -> list[list[str]]:
        """Return the table, header first: one row per category, one column per series."""
        header = [self.category, *(name or self.value for name, _ in self.series)]
        body = [
            [name, *(spelt(values[place]) for _, values in self.series)]
            for place, name in enumerate(self.names)
        ]
        return [header, *body]


@dataclass(frozen=True)
class Points:
    """Points in a plane, perhaps of several groups."""

    title: str
    x: str
    y: str
    points: tuple[tuple[float, float, str], ...]
    """(x, y, group); the group is empty where there is only one."""
    source: str


@dataclass(frozen=True)
class Sizes:
    """How many of a number's values fall between edges."""

    title: str
    value: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    source: str


_MEASURES = (
    *(("Sales", "thousands"), ("Revenue", "million dollars"), ("Visitors", "thousands")),
    *(("Output", "tonnes"), ("Price", "dollars"), ("Orders", ""), ("Cost", "thousand dollars")),
    *(
        ("Rainfall", "mm"),
        ("Energy use", "kWh"),
        ("Score", ""),
        ("Members", ""),
        ("Exports", "tonnes"),
    ),
    *(("Passengers", "thousands"), ("Downloads", "millions"), ("Weight", "kg"), ("Length", "cm")),
)
_OVER_TIME = (
    ("Month", words.SHORT_MONTHS),
    ("Month", words.MONTHS[:8]),
    ("Weekday", words.WEEKDAYS),
    ("Quarter", words.QUARTERS),
)
_OVER_THINGS = (
    *(("Country", words.COUNTRIES), ("City", words.CITIES), ("Product", words.PRODUCTS)),
    *(("Animal", words.ANIMALS), ("Department", words.DEPARTMENTS), ("Subject", words.SUBJECTS)),
    *(("Sport", words.SPORTS), ("Name", words.FIRST_NAMES), ("Company", words.COMPANIES)),
)


def chart_data(
    rng: Random, library: Mapping[str, Any], *, several: bool, in_time: bool, least: float = 0.3
) -> ChartData:
    """Return numbers over categories, from a real table three times in four where there are any.

    `several` asks for two to four series, `in_time` for categories that follow one another; invented
    values lie between `least` and one times the greatest.
    """
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = library.get("tables") or {}
    if tables and rng.random() < 0.75:
        for name in rng.sample(sorted(tables), min(len(tables), TRIES)):
            real = _grouped(rng, name, tables[name][:SEEN_ROWS], several, in_time)
            if real is not None:
                return real
    return _invented(rng, several, in_time, least)


def _invented(rng: Random, several: bool, in_time: bool, least: float) -> ChartData:
    count = rng.randint(3, 5 if several else 8)
    category, names = _categories(rng, count, in_time)
    what, unit = rng.choice(_MEASURES)
    value = f"{what} ({unit})" if unit else what
    top = rng.choice((8, 20, 50, 90, 150, 400, 900, 2500, 9000))
    kinds = [""]
    if several:
        _, pool = rng.choice([thing for thing in _OVER_THINGS if thing[0] != category])
        kinds = rng.sample(pool, rng.randint(2, 4 if count < 5 else 3))
    drift = rng.choice((-1, 0, 1)) if in_time else 0
    series = tuple((kind, _values(rng, len(names), top, least, drift)) for kind in kinds)
    year = rng.randint(1990, 2029)
    over = category.lower()
    dated = (f"{what} by {over}, {year}", f"{what} in {year}", f"{what} per {over}")
    title = f"{what} by year" if category == "Year" else rng.choice(dated)
    return ChartData(title, category, value, names, series, "invented", in_time)


def _categories(rng: Random, count: int, in_time: bool) -> tuple[str, tuple[str, ...]]:
    if not in_time:
        category, pool = rng.choice(_OVER_THINGS)
        return category, tuple(rng.sample(pool, count))
    if rng.random() < 0.4:
        first, step = rng.randint(1950, 2015), rng.choice((1, 1, 2, 5))
        return "Year", tuple(str(first + step * place) for place in range(count))
    category, pool = rng.choice(_OVER_TIME)
    start = rng.randint(0, max(0, len(pool) - count))
    return category, tuple(pool[start : start + count])


def _values(rng: Random, count: int, top: float, least: float, drift: int) -> tuple[float, ...]:
    """Random values; with a drift of 1 or -1 they rise or fall, with some noise."""
    shares = [rng.uniform(least, 1) for _ in range(count)]
    if drift:
        shares.sort(reverse=drift < 0)
        shares = [min(1.0, max(least, share + rng.gauss(0, 0.04))) for share in shares]
    whole = top >= 50 or rng.random() < 0.5
    return tuple(float(round(s * top)) if whole else significant(s * top) for s in shares)


def shares(rng: Random, library: Mapping[str, Any]) -> ChartData:
    """Return three to seven whole shares of 100, none below 3."""
    for given in (library, {}):  # a table of which one thing has nearly all, makes no pie
        data = chart_data(rng, given, several=False, in_time=rng.random() < 0.15)
        _, values = data.series[0]
        kept = [(n, v) for n, v in zip(data.names, values, strict=True) if v > 0.05 * max(values)][
            :7
        ]
        if len(kept) >= 3:
            break
    total = sum(value for _, value in kept)
    parts = [max(3, int(100 * value / total)) for _, value in kept]
    parts[parts.index(max(parts))] += 100 - sum(parts)
    series = (("", tuple(map(float, parts))),)
    return replace(data, names=tuple(name for name, _ in kept), series=series, value="Share (%)")


# ---------------------------------------------------------------- real tables


def numbers_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns that hold numbers in at least nine rows of ten, identifiers left out."""
    found = []
    for name in rows[0] if rows else ():
        values = [row.get(name) for row in rows]
        held = [
            v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v == v
        ]
        named = re.search(r"(^|_| )(id|code|index|year|lat\w*|lon\w*|key)$", str(name).lower())
        if len(held) >= 0.9 * len(rows) and len(set(held)) > 3 and not named:
            found.append(str(name))
    return found


def names_of(rows: Sequence[Mapping[str, Any]], most: int = 12) -> list[str]:
    """Return the columns that hold a few short names: 3 to `most` different ones, repeated or not."""
    found = []
    for name in rows[0] if rows else ():
        values = {held for row in rows if isinstance(held := row.get(name), str)}
        short = all(0 < len(text) <= 24 and text.isprintable() for text in values)
        if 3 <= len(values) <= most and short:
            found.append(str(name))
    return found


def _moments(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Columns that tell a year: by their name, or because they hold dates; (column, year per row)."""
    found: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        texts = [str(row.get(name)) for row in rows]
        years = [m.group(1) if (m := re.match(r"(\d{4})(-\d\d|$)", t)) else "" for t in texts]
        plausible = sum("1500" < year < "2100" for year in years)
        if plausible >= 0.9 * len(rows) and len(set(years) - {""}) >= 3:
            found[str(name)] = years
    return found


def _grouped(
    rng: Random, table: str, rows: Sequence[Mapping[str, Any]], several: bool, in_time: bool
) -> ChartData | None:
    """Means of a column of numbers over a column of names or years; None where the table has none."""
    numbers = numbers_of(rows)
    named = {name: _named(rows, name) for name in names_of(rows)}
    over = _moments(rows) if in_time else named
    split = [name for name in named if not (in_time is False and len(named) < 2)]
    if not numbers or not over or (several and not split):
        return None
    number, by = rng.choice(numbers), rng.choice(sorted(over))
    splits = [name for name in split if name != by]
    if several and not splits:
        return None
    second = named[rng.choice(splits)] if several else [""] * len(rows)
    cells: dict[tuple[str, str], list[float]] = {}
    for row, group, kind in zip(rows, over[by], second, strict=True):
        value = row.get(number)
        if group and isinstance(value, int | float) and value == value and (kind or not several):
            cells.setdefault((group, kind), []).append(float(value))
    chosen = _full_grid(rng, cells, several, in_time)
    if chosen is None:
        return None
    groups, kinds = chosen
    means = {cell: sum(cells[cell]) / len(cells[cell]) for cell in cells}
    shown = [means[group, kind] for group in groups for kind in kinds]
    if min(shown) < 0 or max(shown) < 0.01 or len({significant(value) for value in shown}) < 3:
        return None
    label = "Year" if in_time else by.replace("_", " ")
    pretty, scale = _scaled(number, max(shown))
    series = tuple(
        (kind, tuple(significant(means[group, kind] / scale) for group in groups)) for kind in kinds
    )
    told = f" ({table})" if rng.random() < 0.5 else ""
    title = f"Mean {number.replace('_', ' ')} by {label.lower()}{told}"
    return ChartData(title, label, pretty, tuple(groups), series, table, in_time)


def _named(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """A column of names; where they are the first days of years, the years."""
    told = [str(row.get(column) or "") for row in rows]
    years = all(re.fullmatch(r"\d{4}-01-01", text) for text in told if text)
    return [text[:4] for text in told] if years else told


def _scaled(column: str, greatest: float) -> tuple[str, float]:
    """A column's name for people, and what its numbers are divided by to stay short."""
    pretty = column.replace("_", " ")
    for scale, word in ((1e9, "billions"), (1e6, "millions")):
        if greatest >= scale:
            return f"{pretty} ({word})", scale
    return pretty, 1.0


def _full_grid(
    rng: Random, cells: Mapping[tuple[str, str], Sequence[float]], several: bool, in_time: bool
) -> tuple[list[str], list[str]] | None:
    """Choose groups and kinds of which every pair has a value; None where there are too few."""
    kinds = sorted({kind for _, kind in cells})
    kinds = sorted(rng.sample(kinds, min(len(kinds), rng.randint(2, 4)))) if several else [""]
    groups = sorted({group for group, _ in cells})
    groups = [group for group in groups if all((group, kind) in cells for kind in kinds)]
    if len(groups) < 3 or (several and len(kinds) < 2):
        return None
    most = min(len(groups), 5 if several else 10)
    if in_time:
        start = rng.randint(0, len(groups) - most)
        return groups[start : start + most], kinds
    return rng.sample(groups, min(len(groups), rng.randint(3, most))), kinds


# ---------------------------------------------------------------- points and sizes


def points(rng: Random, library: Mapping[str, Any]) -> Points:
    """Return 6 to 24 points whose two coordinates rise together, fall, or have nothing to do."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = library.get("tables") or {}
    if tables and rng.random() < 0.6:
        name = rng.choice(sorted(tables))
        rows = tables[name][:SEEN_ROWS]
        if len(numbers := numbers_of(rows)) >= 2:
            x, y = rng.sample(numbers, 2)
            full = [
                (float(row[x]), float(row[y]))
                for row in rows
                if all(isinstance(row.get(c), int | float) and row[c] == row[c] for c in (x, y))
            ]
            taken = rng.sample(full, min(len(full), rng.randint(8, 24)))
            (x_name, x_scale), (y_name, y_scale) = (
                _scaled(column, max((abs(pair[side]) for pair in taken), default=0))
                for side, column in ((0, x), (1, y))
            )
            kept = _apart(
                [(significant(u / x_scale), significant(v / y_scale), "") for u, v in taken]
            )
            if len(kept) >= 6:
                title = f"{y.replace('_', ' ')} and {x.replace('_', ' ')}"
                return Points(title, x_name, y_name, kept, name)
    return _invented_points(rng)


def _invented_points(rng: Random) -> Points:
    (x, x_unit), (y, y_unit) = rng.sample(_MEASURES, 2)
    groups = rng.sample(words.CITIES, rng.choice((2, 3))) if rng.random() < 0.4 else [""]
    slope, noise = rng.choice((-0.8, 0.0, 0.8)), rng.uniform(0.02, 0.08)
    wide, tall = rng.choice((10, 40, 100, 500)), rng.choice((10, 60, 100, 800))
    found: list[tuple[float, float, str]] = []
    for _ in range(rng.randint(7, 20)):
        u = rng.uniform(-0.5, 0.5)
        v = slope * u + rng.gauss(0, noise) if slope else rng.uniform(-0.4, 0.4)
        place = (significant(wide * (1 + u)), significant(tall * (1 + max(-0.6, min(0.6, v)))))
        found.append((*place, rng.choice(groups)))
    named = [f"{what} ({unit})" if unit else what for what, unit in ((x, x_unit), (y, y_unit))]
    return Points(f"{y} and {x.lower()}", named[0], named[1], _apart(found), "invented")


def _apart(found: Sequence[tuple[float, float, str]]) -> tuple[tuple[float, float, str], ...]:
    """Leave out points that would touch another one, and all of them where they have no extent."""
    sides = [x for x, _, _ in found], [y for _, y, _ in found]
    wide, tall = (max(held, default=0) - min(held, default=0) for held in sides)
    kept: list[tuple[float, float, str]] = []
    for u, v, group in found if wide and tall else ():
        near = ((abs(u - x) / wide, abs(v - y) / tall) for x, y, _ in kept)
        if all(max(pair) > 0.06 for pair in near):
            kept.append((u, v, group))
    return tuple(sorted(kept))


def sizes(rng: Random, library: Mapping[str, Any]) -> Sizes:
    """Return a histogram of 4 to 10 bins between round edges."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = library.get("tables") or {}
    if tables and rng.random() < 0.67:
        name = rng.choice(sorted(tables))
        rows = tables[name][:SEEN_ROWS]
        if numbers := numbers_of(rows):
            column = rng.choice(numbers)
            held = [
                float(v) for row in rows if isinstance(v := row.get(column), int | float) and v == v
            ]
            if (found := _binned(held)) and max(found[1]) >= 3:
                what = column.replace("_", " ")
                return Sizes(f"Distribution of {what}", what, *found, name)
    what, unit = rng.choice(_MEASURES)
    width, bins = rng.choice((1, 2, 5, 10, 20, 50, 100)), rng.randint(4, 9)
    start = width * rng.randint(0, 6)
    edges = tuple(float(start + width * place) for place in range(bins + 1))
    top = rng.choice((8, 20, 45, 120))
    counts = tuple(max(1, round(top * rng.uniform(0.1, 1))) for _ in range(bins))
    value = f"{what} ({unit})" if unit else what
    return Sizes(f"Distribution of {what.lower()}", value, edges, counts, "invented")


def _binned(values: Sequence[float]) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    """Counts between round edges, 4 to 10 bins, the first and the last not empty."""
    low, high = min(values), max(values)
    if not high > low:
        return None
    digits = math.floor(math.log10(high - low))
    for step in (0.2, 0.5, 1, 2, 5):
        width = step * 10.0**digits
        first, last = int(low // width), int(high // width)
        if last - first + 1 <= 10:
            counts = [0] * (last - first + 1)
            for value in values:
                counts[int(value // width) - first] += 1
            edges = tuple(
                significant((first + place) * width, 6) for place in range(len(counts) + 1)
            )
            return (edges, tuple(counts)) if len(counts) >= 4 else None
    return None
