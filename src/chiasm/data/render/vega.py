"""Charts drawn by Vega-Lite: the same data and questions as charts.py, in another family of looks.

ChartData, Sizes ─► a Vega-Lite specification ─► vl-convert (no browser) ─► PNG
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import Any

from chiasm.data.render.chart_data import ChartData, chart_data, shares
from chiasm.data.render.chart_questions import Reading, about_chart, readable
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.paper import font_folder, needed
from chiasm.data.render.plot import FONTS, PALETTES, ticks
from chiasm.data.render.question_forms import spelt

MARKS = ("bar", "bar", "across", "line", "area", "grouped", "arc")


@lru_cache(maxsize=1)
def engine() -> Any:
    """Return vl-convert with our fonts; raises UserError where it is missing."""
    with needed("vl-convert-python", "Vega-Lite charts"):
        import vl_convert as converter

    converter.register_font_directory(str(font_folder()))
    return converter


def needs_vega() -> None:
    """Raise UserError where vl-convert or the fonts are missing."""
    with needed("vl-convert-python", "Vega-Lite charts"):
        import vl_convert  # noqa: F401
    font_folder()


def draw_vega(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one chart."""
    mark = rng.choice(MARKS)
    several = mark == "grouped" or (mark == "line" and rng.random() < 0.4)
    if mark == "arc":
        data = shares(rng, library)
    else:
        data = chart_data(rng, library, several=several, in_time=mark in ("line", "area"))
    colours = list(PALETTES[rng.choice(sorted(PALETTES))])
    limits = ticks(0, 1.08 * max(max(values) for _, values in data.series))
    free = Reading(False, limits[0], limits[-1])
    labels = mark == "arc" or (not several and (rng.random() < 0.4 or not readable(data, free)))
    titled, named = rng.random() < 0.85, rng.random() < 0.85
    spec = _specification(rng, data, mark, limits, titled=titled, named=named)
    if labels:
        spec["layer"] = _with_labels(mark, spec)
    ground = rng.choice(("#ffffff", "#ffffff", "#fafafa", "#f4f1ea"))
    spec["config"] = _config(rng, colours, ground)
    scale = rng.choice((1.0, 1.2, 1.4))
    picture = engine().vegalite_to_png(spec, vl_version="5.20", scale=scale)
    reading = Reading(labels, limits[0], limits[-1], titled, named, shares=mark == "arc")
    truth = {
        "type": f"vega-{mark}",
        "title": data.title,
        "source": data.source,
        "rows": data.rows(),
        "labels": labels,
        "limits": [limits[0], limits[-1]],
        "specification": spec,
    }
    questions = about_chart(rng, data, reading)
    return Drawn(bytes(picture), truth, questions, f"vega/{mark}")


def _specification(
    rng: Random, data: ChartData, mark: str, limits: list[float], *, titled: bool, named: bool
) -> dict[str, Any]:
    """The data, the mark, and what stands for what."""
    values = [
        {
            "name": name,
            "series": series or data.value,
            "value": numbers[place],
            "told": spelt(numbers[place]) + ("%" if mark == "arc" else ""),
        }
        for series, numbers in data.series
        for place, name in enumerate(data.names)
    ]
    things = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": data.category if named else None,
        "axis": {"labelAngle": 0 if mark == "across" else rng.choice((-90, -45))},
    }
    amounts = {
        "field": "value",
        "type": "quantitative",
        "title": data.value if named else None,
        "scale": {"domain": [limits[0], limits[-1]], "nice": False},
        "axis": {"values": limits, "grid": rng.random() < 0.6},
        "stack": None,
    }
    ink = {"field": "series", "type": "nominal", "sort": None, "title": None}
    channels: dict[str, Any] = {"x": things, "y": amounts}
    if mark == "across":
        channels = {"x": amounts, "y": things}
    elif mark == "grouped":
        channels |= {"xOffset": ink, "color": ink}
    elif mark == "arc":
        share = {"field": "value", "type": "quantitative", "stack": True}
        channels = {"theta": share, "color": {**ink, "field": "name"}}
    if mark == "line" and len(data.series) > 1:
        channels["color"] = ink
    kind = {"across": "bar", "grouped": "bar"}.get(mark, mark)
    shape: dict[str, Any] = {"type": kind}
    if kind in ("line", "area"):
        shape |= {"point": rng.random() < 0.7} | ({"opacity": 0.6} if kind == "area" else {})
    if kind == "arc" and rng.random() < 0.4:
        shape["innerRadius"] = 45
    spec: dict[str, Any] = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": values},
        "width": rng.choice((280, 340, 420)),
        "height": rng.choice((200, 240, 300)),
        "encoding": channels,
        "layer": [{"mark": shape}],
    }
    return {**spec, "title": data.title} if titled else spec


def _with_labels(mark: str, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layer of marks, and one of values: beside them, or in their middle."""
    [marks] = spec["layer"]
    text: dict[str, Any] = {"type": "text", "color": "#222222"}
    channels: dict[str, Any] = {"text": {"field": "told", "type": "nominal"}}
    if mark == "arc":
        text |= {"radius": 80}
        channels["color"] = {"value": "black"}
    elif mark == "across":
        text |= {"align": "left", "dx": 3}
    else:
        text |= {"baseline": "bottom", "dy": -4}
    return [marks, {"mark": text, "encoding": channels}]


def _config(rng: Random, colours: list[str], ground: str) -> dict[str, Any]:
    face, size = FONTS[rng.choice(sorted(FONTS))], rng.randint(10, 13)
    told = {"labelFontSize": size, "titleFontSize": size + 1}
    return {
        "font": face,
        "background": ground,
        "axis": {**told, "domain": rng.random() < 0.7, "ticks": rng.random() < 0.7},
        "legend": {**told, "orient": rng.choice(("right", "top", "bottom"))},
        "title": {"fontSize": size + 4, "anchor": rng.choice(("start", "middle"))},
        "text": {"fontSize": size},
        "range": {"category": colours},
        "bar": {"color": colours[0]},
        "line": {"color": colours[0]},
        "area": {"color": colours[0]},
        "view": {"stroke": "transparent" if rng.random() < 0.5 else "#cccccc"},
    }


KINDS: tuple[Kind, ...] = (
    Kind(
        "vega-charts",
        "charts in Vega-Lite's looks",
        draw_vega,
        "vl-convert",
        needs_vega,
        ("vl-convert-python", "matplotlib"),
        "tables",
    ),
)
