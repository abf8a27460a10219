"""The Open Clip Art Library: drawings in the public domain, whose best words are their file names."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from chiasm.data.collections.drawing import rasterised
from chiasm.data.collections.opened import Opened, some, words
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample
from chiasm.inputs.message import Picture

DROPPED = (
    "computer/icons/flat-theme",
    "computer/icons/lemon-theme",
    "computer/icons/etiquette-theme",
    "recreation/games/cards",
    "shapes",
    "special/gradients",
    "special/patterns",
    "unsorted/duplicates",
)
"""Folders of icon themes, playing cards, stars and fills: thousands of drawings with nothing to say."""

_LICENCES = {"": "CC-PDDC", "publicdomain": "CC-PDDC", "gpl": "GPL-2.0-only"}
_JUNK = re.compile(r"^(?:hash\b.*|0x.*|unsorted|clip ?art|.*\d{3}.*|)$", re.IGNORECASE)
_WORDS_OF_CAPTION = 3
"""Keywords that a caption takes; all of them are in the notes."""


def openclipart(name: str, folders: Mapping[str, Path]) -> Opened[Path]:
    """Open the clip art without the folders in DROPPED.

    Titles are often the collection's or the author's name ("Clipart by Nicu Buculei"), so a caption is
    the file's name, or the title where the two agree, and keywords: "hot dog (protein, food, menu)".
    """
    folder = folders["openclipart-svg"] / "usr" / "share" / "openclipart" / "svg"
    entries = tuple(
        path
        for path in sorted(folder.rglob("*.svg"))
        if not path.relative_to(folder).as_posix().startswith(DROPPED)
    )
    return Opened(name, some(entries, folder), partial(_pair, name, folder))


def _pair(name: str, folder: Path, path: Path) -> Pair:
    inside = path.relative_to(folder).with_suffix("").as_posix()
    try:
        svg = path.read_bytes()
    except OSError as error:
        raise BadSample("bad_drawing", str(path), f"cannot be read ({error.strerror})") from None
    told = _metadata(svg)
    title, author = _first(told, "title"), _first(told, "creator")
    named = _named(path.stem, title, author)
    places = [part.replace("_", " ") for part in reversed(inside.split("/")[:-1])]
    keywords = _keywords(told, author) or [place for place in places if not _JUNK.match(place)]
    caption = _caption(named, keywords)
    if not caption:
        raise BadSample("no_text", str(path))
    notes = {
        "concept": f"words:{words(named or caption)}",
        "keywords": ", ".join(keywords),
        "folder": inside.rpartition("/")[0],
        "title": title,
        "author": author,
        "description": _description(told),
    }
    licence = re.search(r'<(?:\w+:)?license\s+rdf:resource="[^"]*?(publicdomain|GPL|$)', told, re.I)
    kind = licence[1].lower() if licence else ""
    picture = Picture(data=rasterised(svg, str(path)), path=f"{path.stem}.png")
    kept = {key: value for key, value in notes.items() if value}
    return Pair(f"{name}/{inside}", caption, picture, name, _LICENCES[kind], kept)


def _metadata(svg: bytes) -> str:
    found = re.search(rb"<metadata.*?</metadata>", svg, re.DOTALL)
    return found[0].decode("utf-8", errors="replace") if found else ""


def _first(told: str, tag: str) -> str:
    """Return the text of the first dc:`tag`, which may stand in an agent's title."""
    found = re.search(rf"<dc:{tag}[^>/]*>(.*?)</dc:{tag}>", told, re.DOTALL)
    return _plain(found[1]) if found else ""


def _plain(text: str) -> str:
    bare = re.sub(r"<[^>]*>", " ", text)
    return " ".join(html.unescape(html.unescape(bare)).split())


def _description(told: str) -> str:
    text = _first(told, "description")
    return "" if text.startswith("HASH(") else text


def _keywords(told: str, author: str) -> list[str]:
    found = re.findall(r"<rdf:li[^>]*>(.*?)</rdf:li>", told, re.DOTALL)
    plain = (_plain(each).replace("_", " ").strip() for each in found)
    own = author.lower()
    return [k for k in dict.fromkeys(plain) if not _JUNK.match(k) and k.lower() != own]


def _named(stem: str, title: str, author: str) -> str:
    """Return what a drawing is called: its title where the file is named after it, else the file's name.

    "hot_dog_ganson_01" by Gerald Ganson, and "Clipart by Nicu Buculei - bee" of bee.svg: the author
    and the number go. Empty when nothing but a number or an abbreviation is left ("sm_011").
    """
    parts = [part for part in re.split(r"[\W_]+", stem.lower()) if part]
    own = title.rpartition(" - ")[2] if title.lower().startswith("clipart by") else title
    agreed = words(own.replace("_", " ")).split()
    if agreed and agreed == parts[: len(agreed)]:
        return " ".join(own.replace("_", " ").split())
    by = words(author).split()
    while parts and (re.fullmatch(r"\d+|[a-z]?\d+[a-z]?", parts[-1]) or _is_author(parts[-1], by)):
        parts.pop()
    named = " ".join(re.sub(r"\d+$", "", part) for part in parts).strip()
    return named if re.search(r"[^\W\d_]{3}", named) else ""


def _is_author(part: str, by: list[str]) -> bool:
    """Whether a word of a file's name, often cut short, is one of its author's names."""
    return any(name.startswith(part) for name in by if len(part) > 1 or len(name) == 1)


def _caption(named: str, keywords: list[str]) -> str:
    seen = set(words(named).split())
    news = [keyword for keyword in keywords if not set(words(keyword).split()) <= seen]
    more = ", ".join(news[:_WORDS_OF_CAPTION])
    return f"{named} ({more})" if named and more else named or more
