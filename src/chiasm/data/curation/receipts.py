"""What a curation shows for itself: one pass over all records, then the ledger and a page.

fates of all records ─► Survey: counts, values of facts, chosen examples ─► ledger.json, report.html
                                     └─ by chance, from the seed ─► read and decoded again, small
"""

from __future__ import annotations

import base64
import heapq
import io
import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from chiasm.base.files import write_atomic
from chiasm.data.curation import ledger as ledgers
from chiasm.data.curation import page, workfile
from chiasm.data.curation.flattening import flattening_svg, histogram
from chiasm.data.curation.records import Refused, changed
from chiasm.data.curation.stage import Bench, left
from chiasm.data.curation.step import Item

EXAMPLES, KEPT = 4, 16
"""Records that the page shows of each reason, and of what is kept."""
SIDE, QUALITY = 160, 70
"""Size of a thumbnail, in pixels, and how well its JPEG is encoded."""
EXACT = 2**53
"""Whole numbers beyond are no quantities (hashes), and get no histogram."""
LIKE = "like "
"""Begins the note of a record that is dropped for another one, whose key follows."""
FLATTENING = ("resample", "rarity")
"""Kinds of steps that make a vocabulary flatter."""
MOST = 3_500_000
"""Bytes of all thumbnails; pictures beyond are named but not shown."""


@dataclass
class Survey:
    """What the page tells, gathered record by record."""

    seed: int
    examples: dict[tuple[str, str], list[tuple[str, int, dict[str, Any]]]] = field(
        default_factory=dict
    )
    """(step, reason) -> the records that are shown; ("", "") for what is kept."""
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    """Source -> how many records came, how many are kept."""
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, licence) of what is kept."""
    numbers: dict[str, tuple[array[float], array[float]]] = field(default_factory=dict)
    """Fact -> its values in what is kept, and in what is dropped."""
    hashes: set[str] = field(default_factory=set)
    """Facts that are no quantities."""
    words: dict[str, Counter[str]] = field(default_factory=dict)
    """Fact -> how often each word stands there, in what came."""

    def take(self, row: dict[str, Any]) -> None:
        """Look at one record."""
        kept = not row["reason"]
        counts = self.sources.setdefault(row["source"], Counter())
        counts["in"] += 1
        counts["kept"] += kept
        if kept:
            self.licences[row["source"], row["licence"]] += 1
        self._offer(row, KEPT if kept else EXAMPLES)
        for name, value in row.items():
            if name in workfile.RECORD or value is None or isinstance(value, bytes):
                continue
            if isinstance(value, str):
                self.words.setdefault(name, Counter())[value] += 1
            elif abs(value) >= EXACT:
                self.hashes.add(name)
            elif math.isfinite(value):
                held = self.numbers.setdefault(name, (array("d"), array("d")))
                held[not kept].append(value)

    def _offer(self, row: dict[str, Any], most: int) -> None:
        """Keep the records with the smallest hashes: a draw that no order of work can change."""
        held = self.examples.setdefault((row["step"], row["reason"]), [])
        drawn = sha256(f"{self.seed}/example/{row['position']}".encode()).hexdigest()
        held.append((drawn, row["position"], row))
        if len(held) > 4 * most:
            held[:] = heapq.nsmallest(most, held, key=lambda each: each[0])

    def chosen(self, step: str, reason: str) -> list[dict[str, Any]]:
        """Return the records to show, in the order of their positions."""
        most = EXAMPLES if reason else KEPT
        found = heapq.nsmallest(most, self.examples.get((step, reason), []), key=lambda e: e[0])
        return [row for _, _, row in sorted(found, key=lambda each: each[1])]


def write(bench: Bench) -> ledgers.Ledger:
    """Write ledger.json, the table of dropped records and report.html; return the ledger."""
    book, survey = ledgers.empty(bench), Survey(bench.job.recipe.seed)
    dropped: list[dict[str, Any]] = []
    for shard, rows in ledgers.fates(bench):
        ledgers.enter(book, len(bench.span(shard)), rows)
        for row in rows:
            survey.take(row)
            if row["reason"]:
                dropped.append({name: row[name] for name in ledgers.DROPPED})
    ledgers.write_ledger(bench, book, dropped)
    write_atomic(bench.job.out / "report.html", _page(bench, book, survey))
    return book


def _page(bench: Bench, book: ledgers.Ledger, survey: Survey) -> str:
    thumbs = Thumbs(bench)
    twins = _twins(bench, book, survey)
    sections = [page.funnel(book), page.sources(survey.sources, survey.licences)]
    sections.append(page.cards("Kept", "", thumbs.cards(survey.chosen("", ""))))
    for step in book.steps:
        for reason, count in sorted(book.total.dropped.get(step, {}).items()):
            rows = survey.chosen(step, reason)
            head, about = f"{step}: {reason} ({count:,})", book.reasons[step][reason]
            beside = [twins[row["note"]] | {"note": ""} for row in rows if row["note"] in twins]
            if len(beside) == len(rows):
                cards = zip(thumbs.cards(rows), thumbs.cards(beside), strict=True)
                sections.append(page.pairs(head, f"{about} (right)", list(cards)))
            else:
                sections.append(page.cards(head, about, thumbs.cards(rows)))
    sections += _flattened(bench)
    numbers = {name: held for name, held in survey.numbers.items() if name not in survey.hashes}
    sections.append(page.facts(numbers, survey.words))
    return page.page("Curation", sections)


def _twins(bench: Bench, book: ledgers.Ledger, survey: Survey) -> dict[str, dict[str, Any]]:
    """{note: record} of the records that stayed in the place of those that are shown."""
    shown = (
        row
        for step, found in book.total.dropped.items()
        for why in found
        for row in survey.chosen(step, why)
    )
    wanted = {row["note"] for row in shown if row["note"].startswith(LIKE)}
    found: dict[str, dict[str, Any]] = {}
    if wanted:
        for _, rows in ledgers.fates(bench):
            for row in rows:
                if (note := LIKE + row["key"]) in wanted:
                    found.setdefault(note, row)
    return found


def _flattened(bench: Bench) -> list[str]:
    """How often n-grams are said before and after each step that makes this more even."""
    found = []
    for stage in (each for each in bench.stages if each.whole):
        if bench.job.recipe.steps[stage.first].kind in FLATTENING:
            table = left(bench, stage.number, facts=False)
            gone = set(
                workfile.read(bench.job.whole(stage.number), ["position"])["position"].to_pylist()
            )
            both = zip(table["caption"].to_pylist(), table["position"].to_pylist(), strict=True)
            after = [caption for caption, position in both if position not in gone]
            drawn = flattening_svg(histogram(table["caption"].to_pylist()), histogram(after))
            found.append(
                page.drawing(f"{bench.names[stage.first]}: how often each n-gram is said", drawn)
            )
    return found


class Thumbs:
    """Small pictures of records, until the page is full."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.left = bench, MOST

    def cards(self, rows: Iterable[dict[str, Any]]) -> list[page.Card]:
        """Return what the page shows of records."""
        return [
            page.Card(self.picture(row), row["caption"], row["key"], row["note"]) for row in rows
        ]

    def picture(self, row: dict[str, Any]) -> str:
        """Return a record's thumbnail as a data URL; empty where there is none."""
        if self.left <= 0:
            return ""
        try:
            pair = self.bench.reader.read(row["position"]).pair
            pair = changed(pair, row["changed"]) if row["changed"] else pair
            self.bench.reader.decode(item := Item(pair, row["caption"]))
        except Refused:
            return ""
        data = _small(item.frames[0])
        self.left -= len(data)
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _small(frame: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
