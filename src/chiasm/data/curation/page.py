"""report.html: what was kept and dropped and why, in one file that fetches nothing.

funnel ── sources and licences ── kept examples ── dropped examples by reason ── facts
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chiasm.data.curation.ledger import Ledger

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8884 }
th:first-child, td:first-child, .text { text-align: left !important }
small { opacity: .7 }
td.bar { width: 16rem } td.bar i { display: block; height: .8rem; background: #3b78c2 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem }
figure { margin: 0; padding: .5rem; border: 1px solid #8884; border-radius: .4rem; overflow: hidden }
figure img { width: 100%; height: 8rem; object-fit: contain }
figcaption { overflow-wrap: anywhere; font-size: .9rem } figcaption small { display: block }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .2rem }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .8rem }
.plots { display: flex; flex-wrap: wrap; gap: 1.2rem }
"""
SHORT = 160
"""Characters of a caption that a card shows."""
BINS = 40
"""Bars of a histogram."""


@dataclass(frozen=True)
class Card:
    """What is shown of one record."""

    picture: str
    """A data URL, or empty."""
    caption: str
    key: str
    note: str


def page(title: str, sections: Sequence[str]) -> str:
    """Return one HTML file; nothing in it runs or is fetched."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        # A browser that obeys this fetches nothing, whatever a caption contains.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>{''.join(sections)}</html>\n"
    )


def funnel(ledger: Ledger) -> str:
    """Return the table of what is left after each step, with reasons."""
    total, left = ledger.total, ledger.total.n_in
    rows = [_row("came", "", "", left, total.n_in)]
    for step in ledger.steps:
        found = total.dropped.get(step, {})
        left -= sum(found.values())
        rows.append(_row(step, "", "", left, total.n_in))
        for reason, count in sorted(found.items()):
            rows.append(_row("", reason, f"−{count:,}", None, total.n_in))
    head = "<tr><th>step<th class=text>reason<th>dropped<th>left<th></tr>"
    return (
        f"<p>{total.n_kept:,} of {total.n_in:,} records are kept; every other has its reason below, and in "
        f"receipts/dropped.parquet.</p><table>{head}{''.join(rows)}</table>"
    )


def _row(step: str, reason: str, dropped: str, left: int | None, whole: int) -> str:
    told, bar = ("", "") if left is None else (f"{left:,}", f"{left / max(1, whole):.2%}")
    line = f'<i style="width:{bar}"></i>' if bar else ""
    step, reason = html.escape(step), html.escape(reason)
    return f"<tr><td>{step}<td class=text>{reason}<td>{dropped}<td>{told}<td class=bar>{line}</tr>"


def sources(counts: Mapping[str, Counter[str]], licences: Counter[tuple[str, str]]) -> str:
    """Return the table of sources, and that of licences of what is kept."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td>{found['in']:,}<td>{found['kept']:,}</tr>"
        for name, found in sorted(counts.items())
    )
    told = "".join(
        f"<tr><td>{html.escape(source)}<td class=text>{html.escape(licence or 'unknown')}<td>{count:,}</tr>"
        for (source, licence), count in sorted(licences.items())
    )
    return (
        f"<h2>Sources</h2><table><tr><th>source<th>came<th>kept</tr>{rows}</table>"
        "<h2>Licences of what is kept</h2><table><tr><th>source<th class=text>licence<th>records</tr>"
        f"{told}</table>"
    )


def cards(head: str, about: str, shown: Sequence[Card]) -> str:
    """Return examples under a head."""
    told = f"<p>{html.escape(about)}</p>" if about else ""
    body = "".join(map(_card, shown))
    return f"<h2>{html.escape(head)}</h2>{told}<div class=cards>{body}</div>"


def _card(card: Card) -> str:
    caption = card.caption if len(card.caption) <= SHORT else card.caption[: SHORT - 1] + "…"
    picture = f'<img alt="" src="{card.picture}">' if card.picture else ""
    note = f"<small>{html.escape(card.note)}</small>" if card.note else ""
    return (
        f"<figure>{picture}<figcaption>{html.escape(caption)}{note}"
        f"<small>{html.escape(card.key)}</small></figcaption></figure>"
    )


def pairs(head: str, about: str, shown: Sequence[tuple[Card, Card]]) -> str:
    """Return records side by side with those that stayed in their place."""
    body = "".join(f"<div class=pair>{_card(one)}{_card(other)}</div>" for one, other in shown)
    return f"<h2>{html.escape(head)}</h2><p>{html.escape(about)}</p><div class=pairs>{body}</div>"


def drawing(head: str, svg: str) -> str:
    """Return a drawing of ours under a head."""
    return f"<h2>{html.escape(head)}</h2>{svg}"


# ---- facts -------------------------------------------------------------------------------------


def facts(
    numbers: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    words: Mapping[str, Counter[str]],
) -> str:
    """Return a histogram of each fact that is a number, and the most frequent values of the others."""
    plots = "".join(histogram(name, *held) for name, held in sorted(numbers.items()))
    tables = "".join(_frequent(name, found) for name, found in sorted(words.items()))
    return (
        "<h2>What the steps found out</h2><p>Blue: kept; grey: dropped.</p>"
        f"<div class=plots>{plots}{tables}</div>"
    )


def histogram(name: str, kept: Sequence[float], dropped: Sequence[float]) -> str:
    """Return a histogram as SVG: kept from below, dropped above it."""
    values = [*kept, *dropped]
    low, high = min(values), max(values)
    counts = [[0] * BINS, [0] * BINS]
    for which, held in enumerate((kept, dropped)):
        for value in held:
            place = int((value - low) / (high - low) * BINS) if high > low else 0
            counts[which][min(place, BINS - 1)] += 1
    most = max(map(sum, zip(*counts, strict=True)))
    bars = []
    for place, (stays, goes) in enumerate(zip(*counts, strict=True)):
        under, over = 80 * stays / most, 80 * goes / most
        x = 6 * place
        bars.append(
            f'<rect x="{x}" y="{80 - under:.1f}" width="5" height="{under:.1f}" fill="#3b78c2"/>'
        )
        bars.append(
            f'<rect x="{x}" y="{80 - under - over:.1f}" width="5" height="{over:.1f}" fill="#999"/>'
        )
    told = f"{low:.4g} to {high:.4g}<small>{len(kept):,} kept, {len(dropped):,} dropped</small>"
    return (
        f"<figure><svg width={6 * BINS} height=80>{''.join(bars)}</svg>"
        f"<figcaption>{html.escape(name)}: {told}</figcaption></figure>"
    )


def _frequent(name: str, found: Counter[str], most: int = 12) -> str:
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:most]
    rows = "".join(f"<tr><td>{html.escape(word[:60])}<td>{count:,}</tr>" for word, count in ordered)
    return f"<table><tr><th>{html.escape(name)}<th>records</tr>{rows}</table>"
