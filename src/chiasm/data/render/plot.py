"""One plotted picture: a look chosen by chance, a figure of that look, its pixels.

    Random ─► Look ─► with look.figure() as axes: ... ─► finished(figure) ─► RGB image

The user's own matplotlib settings are set aside while a picture is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, cast

import numpy as np
from PIL import Image

from chiasm.data.render.paper import font, needed, width
from chiasm.data.render.question_forms import spelt

STYLES = (
    *("default", "default", "bmh", "dark_background", "fivethirtyeight", "ggplot", "grayscale"),
    *("Solarize_Light2", "seaborn-v0_8-darkgrid", "seaborn-v0_8-whitegrid", "seaborn-v0_8-white"),
    *("seaborn-v0_8-ticks", "tableau-colorblind10", "petroff10"),
)
FONTS = {
    "sans": "DejaVu Sans",
    "serif": "DejaVu Serif",
    "mono": "DejaVu Sans Mono",
    "times": "STIXGeneral",
}
PALETTES: Mapping[str, Sequence[str]] = {
    name: inks.split()
    for name, inks in {
        "tableau": "#4e79a7 #f28e2b #e15759 #76b7b2 #59a14f #edc948 #b07aa1 #ff9da7 #9c755f #bab0ac",
        "bold": "#7f3c8d #11a579 #3969ac #f2b701 #e73f74 #80ba5a #e68310 #008695 #cf1c90 #f97b72",
        "earth": "#8c510a #01665e #bf812d #35978f #a6611a #5e4fa2 #d8b365 #543005 #80cdc1 #c7a76c",
        "set": "#e41a1c #377eb8 #4daf4a #984ea3 #ff7f00 #a65628 #f781bf #999999 #66c2a5 #e7298a",
        "sea": "#023858 #f6a600 #3690c0 #d7301f #74c476 #6a51a3 #fdbb84 #00441b #a6bddb #7f2704",
        "soft": "#7293cb #e1974c #84ba5b #d35e60 #808585 #9067a7 #ab6857 #ccc210 #6ea6cd #c994c7",
    }.items()
}


@dataclass(frozen=True)
class Look:
    """How a plotted picture looks."""

    style: str
    palette: str
    face: str
    text: int
    """Height of the letters in pixels."""
    size: tuple[int, int]
    dpi: int
    grid: str
    """Along which axis lines are drawn: "", "x", "y" or "both"."""
    frame: bool
    """Whether the axes' upper and right edges are drawn, too."""
    comma: bool
    """Whether thousands are set off: 12,000."""

    @property
    def colours(self) -> Sequence[str]:
        """Ten colours."""
        return PALETTES[self.palette]

    @property
    def points(self) -> float:
        """Height of the letters in points."""
        return self.text * 72 / self.dpi

    def wide(self, text: str) -> int:
        """Return a text's width in pixels."""
        return width(text, font(self.face, self.text))

    def spell(self, value: float) -> str:
        """Write a number as this look writes numbers."""
        text = spelt(value)
        if not self.comma or abs(value) < 1000:
            return text
        whole, dot, rest = text.partition(".")
        return f"{int(whole):,}{dot}{rest}"


def over(colour: str) -> str:
    """Return black or white, whichever is read better on a colour."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "white"


def choose_look(rng: Random) -> Look:
    """Choose a look; pictures are 336 to 672 pixels wide."""
    wide = rng.choice((336, 400, 448, 512, 560, 672))
    return Look(
        style=rng.choice(STYLES),
        palette=rng.choice(sorted(PALETTES)),
        face=rng.choice(sorted(FONTS)),
        text=rng.randint(11, 13) if wide < 450 else rng.randint(12, 15),
        size=(wide, max(280, round(wide * rng.choice((0.7, 0.75, 0.8, 1.0))))),
        dpi=rng.choice((80, 90, 100, 120)),
        grid=rng.choice(("", "", "y", "both")),
        frame=rng.random() < 0.5,
        comma=rng.random() < 0.5,
    )


@lru_cache(maxsize=512)
def _settings(style: str, face: str, points: float) -> Mapping[str, Any]:
    """All of matplotlib's settings for a look, the defaults first: read and checked only once."""
    import matplotlib
    from matplotlib import style as styles

    settings = dict(cast("dict[str, Any]", matplotlib.rcParamsDefault))
    if style != "default":
        settings.update(cast("dict[str, Any]", styles.library[style]))
    sizes = ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    settings.update(dict.fromkeys(sizes, points))
    settings.update({"font.family": [FONTS[face]], "axes.titlesize": points * 1.15})
    settings.update({"axes.formatter.use_mathtext": False, "axes.unicode_minus": False})
    kept = {name: settings[name] for name in settings if not name.startswith(_NOT_OURS)}
    return kept


_NOT_OURS = ("backend", "interactive", "toolbar", "timezone", "webagg", "tk.", "docstring", "date.")


@contextmanager
def drawing(look: Look) -> Iterator[Any]:
    """Set matplotlib to a look, give an empty figure, and put the user's settings back."""
    with needed("matplotlib", "Charts"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    # A dict beneath: matplotlib checks each of 300 settings anew, which these do not need twice.
    current = cast("dict[str, Any]", matplotlib.rcParams)
    before = dict(current)
    dict.update(current, _settings(look.style, look.face, look.points))
    try:
        figure = Figure(figsize=(look.size[0] / look.dpi, look.size[1] / look.dpi), dpi=look.dpi)
        FigureCanvasAgg(figure)
        yield figure
    finally:
        dict.update(current, before)


def finished(figure: Any) -> Image.Image:
    """Draw a figure's pixels."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


def needs_matplotlib() -> None:
    """Raise UserError where matplotlib is missing."""
    with needed("matplotlib", "Charts"):
        import matplotlib  # noqa: F401


# ---------------------------------------------------------------- axes

LEAST_HEIGHT = 160
"""Pixels of the axes; where names take more room than that leaves, the picture grows."""


@dataclass(frozen=True)
class Axis:
    """One axis: its name ("" draws none), its limits, where it is marked and with what."""

    name: str
    low: float
    high: float
    at: Sequence[float]
    labels: Sequence[str]

    @classmethod
    def of_names(cls, name: str, labels: Sequence[str]) -> Axis:
        """An axis of categories at 0, 1, 2 ..."""
        return cls(name, -0.6, len(labels) - 0.4, range(len(labels)), labels)

    @classmethod
    def of_numbers(cls, name: str, low: float, high: float, spell: Callable[[float], str]) -> Axis:
        """An axis of numbers that begins and ends with a round one."""
        at = ticks(low, high)
        return cls(name, at[0], at[-1], at, [spell(value) for value in at])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers, evenly spaced, that reach from at most `low` to at least `high`."""
    rough = (high - low or abs(high) or 1.0) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 9) for place in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Area:
    """Axes with their names, ticks, title and legend: all but the marks."""

    axes: Any
    look: Look
    x: Axis
    y: Axis
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the axes in pixels."""

    def label(
        self, spots: Sequence[tuple[float, float]], values: Sequence[float], *, to: str, room: float
    ) -> None:
        """Write values at (x, y): "right" of it, "above" it, or in the "middle" of a bar.

        `room` is how wide a label above may be, in units of x; wider ones stand upright.
        """
        left, top, right, bottom = self.box
        x_pixel = (self.x.high - self.x.low) / (right - left)
        y_pixel = (self.y.high - self.y.low) / (bottom - top)
        told = [self.look.spell(value) for value in values]
        upright = to == "above" and max(map(self.look.wide, told)) * 0.95 > room / x_pixel
        shift = {"right": (3 * x_pixel, 0.0), "above": (0.0, 3 * y_pixel), "middle": (0.0, 0.0)}[to]
        for (x, y), text in zip(spots, told, strict=True):
            self.axes.text(
                x + shift[0],
                y + shift[1],
                text,
                ha="left" if to == "right" else "center",
                va="bottom" if to == "above" else "center",
                rotation=90 if upright else 0,
                fontsize=self.look.points * 0.9,
                **({"color": "black", "bbox": _PLATE} if to == "middle" else {}),
            )


_PLATE = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}


def lay_out(
    figure: Any, look: Look, x: Axis, y: Axis, title: str, legend: Sequence[tuple[str, str]]
) -> Area:
    """Give a figure axes with names, ticks, title and a legend of (name, colour).

    Everything stands where it was measured to fit: matplotlib's own layout would draw the figure twice.
    """
    wide, tall = look.size
    line = look.text
    widest = max(look.wide(label) for label in x.labels)
    left = max(look.wide(label) for label in y.labels) + 12 + (line * 3 // 2 if y.name else 0)
    right = wide - max(line, look.wide(x.labels[-1]) // 2 + 2)
    keys = [look.wide(name) + 3 * line for name, _ in legend]
    beside = sum(keys) > wide * 0.95
    right -= max(keys) if beside and keys else 0
    slot = (right - left) / (x.high - x.low) * (x.at[1] - x.at[0] if len(x.at) > 1 else 1)
    turned = widest > slot * 0.94
    bottom = tall - 10 - (round(widest * 0.72) + line if turned else line * 3 // 2)
    bottom -= line * 3 // 2 if x.name else 0
    top = (line * 5 // 2 if title else line) + (line * 2 if keys and not beside else 0)
    if (missing := LEAST_HEIGHT - (bottom - top)) > 0:
        tall, bottom = tall + missing, bottom + missing
        look = replace(look, size=(wide, tall))
        figure.set_size_inches(wide / look.dpi, tall / look.dpi)
    box = (left, top, right, bottom)
    axes = figure.add_axes(
        (left / wide, 1 - bottom / tall, (right - left) / wide, (bottom - top) / tall)
    )
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    turn: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    )
    axes.set_xticks(x.at, x.labels, **turn)
    axes.set_yticks(y.at, y.labels)
    axes.set_axisbelow(True)
    if look.grid:
        axes.grid(True, axis=look.grid)
    if not look.frame:
        axes.spines[["top", "right"]].set_visible(False)
    captions(figure, look, box, (x.name, y.name, title))
    draw_legend(figure, look, legend, keys, box, beside)
    return Area(axes, look, x, y, box)


def captions(
    figure: Any, look: Look, box: tuple[int, int, int, int], told: tuple[str, str, str]
) -> None:
    """The axes' names and the title, smaller where they would not fit."""
    (wide, tall), (left, top, right, bottom) = look.size, box
    x_name, y_name, title = told
    middle = (left + right) / 2 / wide
    if x_name:
        size = look.points * min(1, (wide - 8) / look.wide(x_name))
        figure.text(middle, 5 / tall, x_name, ha="center", va="bottom", fontsize=size)
    if y_name:
        size = look.points * min(1, (tall - 8) / look.wide(y_name))
        place = 1 - (top + bottom) / 2 / tall
        figure.text(4 / wide, place, y_name, ha="left", va="center", rotation=90, fontsize=size)
    if title:
        size = look.points * min(1.2, (wide - 12) / look.wide(title))
        figure.text(0.5, 1 - 6 / tall, title, ha="center", va="top", fontsize=size)


def draw_legend(
    figure: Any,
    look: Look,
    legend: Sequence[tuple[str, str]],
    keys: Sequence[int],
    box: tuple[int, int, int, int],
    beside: bool,
) -> None:
    """A row above the axes, or a column beside them: a square of each colour and its name."""
    (wide, tall), (_, top, right, _) = look.size, box
    from matplotlib.patches import Rectangle

    line = look.text
    x, y = (right + line, top + line) if beside else (max(6, (wide - sum(keys)) // 2), top - line)
    for (name, colour), key in zip(legend, keys, strict=True):
        corner = (x / wide, 1 - (y + line * 0.4) / tall)
        size = (line * 0.9 / wide, line * 0.9 / tall)
        figure.add_artist(Rectangle(corner, *size, facecolor=colour, linewidth=0))
        place = (x + line * 1.3) / wide
        figure.text(place, 1 - y / tall, name, ha="left", va="center", fontsize=look.points)
        x, y = (x, y + round(line * 1.7)) if beside else (x + key, y)
