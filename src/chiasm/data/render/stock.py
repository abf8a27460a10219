"""What pictures are drawn from: collections of real things, and files of one's own.

data:NAME, folders, files ──► cut-outs, maps, tables or texts: what the kind uses ─► Stock ─► Job

A stock says where it was read from and under which licence: both are written into the shards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chiasm.base.errors import UserError
from chiasm.data.collections.maps import regions
from chiasm.data.collections.table import COLLECTIONS, collection, tables
from chiasm.data.collections.vega import Tables
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.render.chart_data import SEEN_ROWS
from chiasm.data.render.cutouts import LONGEST, Cutouts, decoded, read_cutouts
from chiasm.data.render.drawn import Kind
from chiasm.data.render.runner import digest
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture

Say = Callable[[str], object]

SCHEME = "data:"
WORDS = {
    "cutouts": "cut-outs (a folder of PNG files with a transparent ground, or data:tuxpaint)",
    "maps": "maps (data:kgeography)",
    "tables": "tables (a .csv, .tsv or .json file, a folder of them, or data:vega-datasets)",
    "texts": "texts (a .txt or .jsonl file, a folder of them, or the captions of data:gimp-help)",
}
"""What each part of a library is, and where it can be had."""
MOST_BYTES = 64_000_000
"""Bytes of texts: every drawing process holds them all."""


@dataclass
class Stock:
    """Plain values to draw from, and where they came from."""

    part: str
    """"cutouts", "maps", "tables" or "texts"."""
    values: Any = None
    sources: list[str] = field(default_factory=list)
    """Each source with the checksums of its packages or of its content."""
    licences: set[str] = field(default_factory=set)
    """Of all that was read; what is unknown is left out."""
    by_source: dict[str, str] = field(default_factory=dict)
    """Licence of each table by its name."""

    @property
    def plain(self) -> str:
        """Return what the part is called in sentences."""
        return "cut-outs" if self.part == "cutouts" else self.part

    @property
    def licence(self) -> str:
        """Return all licences in one expression; empty when none is known."""
        several = len(self.licences) > 1
        told = (f"({each})" if several and " OR " in each else each for each in self.licences)
        return " AND ".join(sorted(told))


def stocked(kind: Kind, sources: Sequence[str], say: Say = print) -> Stock:
    """Read what a kind draws from out of sources, its usual one where none is named.

    Raises UserError for a source that cannot be had, or that holds nothing the kind uses.
    """
    named = list(dict.fromkeys(sources)) or [kind.usual] * bool(kind.usual)
    if named and not kind.draws_from:
        raise UserError(f"{kind.name} are drawn from chance alone: leave out --from {named[0]}.")
    stock = Stock(kind.draws_from)
    for source in named:
        before = len(stock.values or ())
        if source.startswith(SCHEME):
            _collection(stock, source, say)
        else:
            _files(stock, Path(source), say)
        if len(stock.values or ()) == before:
            raise UserError(f"{source} holds no {stock.plain} that {kind.name} can use.")
    return stock


# ---- collections -------------------------------------------------------------------------------


def _collection(stock: Stock, source: str, say: Say) -> None:
    name = source.removeprefix(SCHEME)
    known = COLLECTIONS.get(name)
    if known is not None and (known.open is None) != (stock.part == "tables"):
        holds = "tables" if known.open is None else "pictures with captions"
        raise UserError(f"{source} holds {holds}, but needed are {WORDS[stock.part]}.")
    if stock.part == "tables":
        _add_tables(
            stock, tables(say) if known else collection(name), known.licence if known else ""
        )
    else:
        _add_pairs(stock, collection(name, say), source, say)
    packages = COLLECTIONS[name].packages
    stock.sources.append(" ".join([source, *(package.origin for package in packages)]))


def _add_tables(stock: Stock, found: Any, licence: str) -> None:
    values = stock.values = stock.values or {}
    for name in found:
        if name in values:
            raise UserError(f'Two of the sources have a table called "{name}": leave one out.')
        values[name] = found[name][:SEEN_ROWS]
        if told := found.licence(name) or licence:
            stock.by_source[name] = told


def _add_pairs(stock: Stock, pairs: PairSource, source: str, say: Say) -> None:
    """Take what is needed of each pair; what has none of it is counted."""
    take = {"cutouts": _cutout, "maps": _map, "texts": _caption}[stock.part]
    values: list[Any] = []
    licences: set[str] = set()
    left_out = 0
    for index in range(len(pairs)):
        try:
            pair = pairs[index]
            value = take(pair)
        except (BadSample, MediaError):
            value = None
        if value is None:
            left_out += 1
        else:
            values.append(value)
            licences |= {pair.licence} - {""}
    if stock.part == "cutouts" and values and not Cutouts(values):
        values = []
    if left_out and values:
        say(f"{source}: left out {left_out} of {len(pairs)} that are no {stock.plain}.")
    stock.values = [*(stock.values or ()), *values] or None
    stock.licences |= licences


def _cutout(pair: Pair) -> tuple[str, bytes] | None:
    """A short name and a picture whose ground can be seen through."""
    told = re.sub(r"\s*\(.*", "", pair.caption).strip().rstrip(".").lower()
    name = re.sub(r"^(?:an?|the|some) ", "", told)
    if not 0 < len(name) <= LONGEST or not isinstance(pair.shown, Picture):
        return None
    data = pair.shown.read()
    clear = np.asarray(decoded.__wrapped__(data).getchannel("A")).mean() < 250
    return (name, data) if clear else None


def _map(pair: Pair) -> dict[str, Any] | None:
    if "regions" not in pair.notes or not isinstance(pair.shown, Picture):
        return None
    known = [[region.name, list(region.colour)] for region in regions(pair)]
    return {"name": pair.notes.get("name", ""), "data": pair.shown.read(), "regions": known}


def _caption(pair: Pair) -> str | None:
    return pair.caption.strip() or None


# ---- files -------------------------------------------------------------------------------------


def _files(stock: Stock, path: Path, say: Say) -> None:
    if stock.part == "maps":
        raise UserError(f"{path} is no collection; maps are drawn from data:kgeography.")
    if not path.exists():
        raise UserError(f"{path} does not exist; needed are {WORDS[stock.part]}.")
    if stock.part == "cutouts":
        added: Any = read_cutouts(path, say)
        stock.values = [*(stock.values or ()), *added]
    elif stock.part == "tables":
        found = {each.stem: each for each in _some(path, (".csv", ".tsv", ".json"))}
        added = found and Tables(found, {})
        _add_tables(stock, added or (), "")
        added = {name: stock.values[name] for name in found}
    else:
        added = list(_texts(path))
        stock.values = [*(stock.values or ()), *added] or None
    # The name alone: where it lies on this machine is no part of what was made.
    stock.sources.append(f"{path.resolve().name} sha256={digest(added)}")


def _some(path: Path, endings: tuple[str, ...]) -> list[Path]:
    every = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [each for each in every if each.suffix.lower() in endings and each.is_file()]


def _texts(path: Path) -> Iterator[str]:
    """Paragraphs of text files, and the field "text" of each line of JSON (or the string that it is)."""
    files = _some(path, (".txt", ".jsonl"))
    if (size := sum(each.stat().st_size for each in files)) > MOST_BYTES:
        raise UserError(f"{path} holds {size:,} bytes of text; {MOST_BYTES:,} at most can be used.")
    for each in files:
        try:
            whole = each.read_text("utf-8")
            lines = whole.splitlines() if each.suffix.lower() == ".jsonl" else []
            told = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise UserError(f"{each} cannot be read as text ({error}).") from None
        if not lines:
            told = re.split(r"\n\s*\n", whole)
        for value in told:
            text = value.get("text") if isinstance(value, dict) else value
            if isinstance(text, str) and text.strip():
                yield text.strip()
