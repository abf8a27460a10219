"""How even a vocabulary is used: how often the n-gram of each rank is said, before and after.

count │╲                 before ──   after ╌╌
      │ ╲╌╌╌╌            on two logarithmic axes, a steep line is a vocabulary
      │   ╲  ╌╌╌         of which few n-grams are said all the time
      └───────── rank
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiasm.data.curation.diversity import caption_grams, counted

WIDTH, HEIGHT, MARGIN = 480, 300, 44
POINTS = 200
"""Ranks that a line is drawn through."""


@dataclass(frozen=True)
class Histogram:
    """In how many captions each n-gram is."""

    captions: int
    counts: NDArray[np.int64]
    """Greatest first."""

    @property
    def entropy(self) -> float:
        """In bits: how many yes-or-no questions tell which n-gram a random one is."""
        shares = self.counts / max(1, self.counts.sum())
        return float(-(shares * np.log2(shares, where=shares > 0, out=np.zeros_like(shares))).sum())

    @property
    def gini(self) -> float:
        """0 when all n-grams are equally frequent, towards 1 when one is nearly all of them."""
        count = len(self.counts)
        if not count:
            return 0.0
        ranks = np.arange(1, count + 1)
        return float(1 + 1 / count - 2 * (ranks * self.counts).sum() / (count * self.counts.sum()))

    def points(self) -> list[tuple[int, int]]:
        """Return (rank, count) at up to POINTS ranks, evenly far apart on a logarithmic axis."""
        if not len(self.counts):
            return []
        ranks = np.unique(np.geomspace(1, len(self.counts), POINTS).astype(int))
        return [(int(rank), int(self.counts[rank - 1])) for rank in ranks]


def histogram(captions: Sequence[str], words: int = 2) -> Histogram:
    """Return in how many captions each n-gram of 1 to `words` words is."""
    _, counts, _ = counted(caption_grams(captions, words))
    return Histogram(len(captions), np.sort(counts)[::-1])


def flattening_svg(before: Histogram, after: Histogram) -> str:
    """Return a drawing of two histograms, count over rank, both axes logarithmic, as one <svg> element."""
    most = (
        max(2, len(before.counts), len(after.counts)),
        max(2, *before.counts[:1], *after.counts[:1]),
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="sans-serif" font-size="11">',
        "<title>In how many captions the n-gram of each rank is, before and after</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_ticks(most),
    ]
    drawn = ((before, "before", "#888", ""), (after, "after", "#06c", ' stroke-dasharray="5 2"'))
    for row, (one, name, colour, dashes) in enumerate(drawn):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(p, most) for p in one.points()))
        lines.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dashes} points="{places}"/>'
        )
        said = f"{name}: {one.captions:,} captions, {one.entropy:.2f} bits, Gini {one.gini:.3f}"
        lines.append(
            f'<text x="{WIDTH - MARGIN}" y="{20 + 16 * row}" text-anchor="end" fill="{colour}">{said}</text>'
        )
    return "\n".join([*lines, "</svg>"])


def _place(point: tuple[float, float], most: tuple[int, int]) -> tuple[float, float]:
    right, up = (math.log(value) / math.log(top) for value, top in zip(point, most, strict=True))
    return MARGIN + right * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)


def _ticks(most: tuple[int, int]) -> list[str]:
    """Axes with a mark at each power of ten."""
    left, bottom = _place((1, 1), most)
    right, top = _place(most, most)
    grey = 'stroke="#999"'
    out = [
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" {grey}/>',
        f'<text x="{(left + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">rank of n-gram</text>',
        f'<text x="12" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {HEIGHT / 2})">captions with it</text>',
    ]
    for axis in (0, 1):
        for power in range(int(math.log10(most[axis])) + 1):
            value = 10**power
            x, y = _place((value, 1) if axis == 0 else (1, value), most)
            at = (x, y + 14, "middle") if axis == 0 else (x - 5, y + 4, "end")
            out.append(
                f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{at[2]}">{value:,}</text>'
            )
    return out
