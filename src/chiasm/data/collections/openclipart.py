"""The Open Clip Art Library: drawings in the public domain, whose best words are their file names."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from chiasm.data.collections.drawing import trimmed
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

_JUNK = re.compile(
    r"(?:hash\b.*|0x.*|unsorted|united nations member|open ?clipart|clip ?art|.*\d{3}.*|\d*)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+|[a-z]?\d+[a-z]?")
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
    keywords = sorted(_keywords(told, author), key=lambda word: not _is_of(word, places))
    keywords = keywords or [place for place in places if not _JUNK.fullmatch(place)]
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
    picture = Picture(data=trimmed(svg, str(path)), path=f"{path.stem}.png")
    kept = {key: value for key, value in notes.items() if value}
    return Pair(f"{name}/{inside}", caption, picture, name, _licence(told), kept)


def _metadata(svg: bytes) -> str:
    found = re.search(rb"<metadata.*?</metadata>", svg, re.DOTALL)
    return found[0].decode("utf-8", errors="replace") if found else ""


def _licence(told: str) -> str:
    """Return what a drawing says, in SPDX's words; what says nothing is what the library is."""
    found = re.search(r'<(?:\w+:)?license\s+rdf:resource="([^"]+)"', told)
    if found is None or "publicdomain" in found[1].lower():
        return "CC-PDDC"
    return "GPL-2.0-only" if found[1].rstrip("/").endswith("GPL/2.0") else found[1]


def _is_of(keyword: str, places: list[str]) -> bool:
    """Whether a keyword says what a folder says: "bird" in animals/birds."""
    return any(keyword.lower() in (place, place.removesuffix("s")) for place in places)


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
    return [k for k in dict.fromkeys(plain) if not _JUNK.fullmatch(k) and k.lower() != own]


def _named(stem: str, title: str, author: str) -> str:
    """Return what a drawing is called: its title where the file is named after it, else the file's name.

    Files are called TITLE_AUTHOR_NUMBER, cut to 24 letters: of "hot_dog_jon_phil_01" by Jon Phillips, the
    author and the number go. Empty when only a number or an abbreviation is left ("sm_011").
    """
    parts = words(stem.replace("_", " ")).split()
    own = title.rpartition(" - ")[2] if title.lower().startswith("clipart by") else title
    own = " ".join(own.replace("_", " ").split())
    by = words(author).split()
    if _agree(own, parts):
        return own
    while parts and (_NUMBER.fullmatch(parts[-1]) or _is_author(parts[-1], by)):
        parts.pop()
    if _agree(own, parts):
        return own
    named = " ".join(part for part in (re.sub(r"\d+$", "", each) for each in parts) if part)
    return named if re.search(r"[^\W\d_]{3}", named) else ""


def _agree(title: str, parts: list[str]) -> bool:
    """Whether a file's name begins with a title, or is the beginning of it."""
    told = words(title).replace(" ", "").replace("_", "")
    file = "".join(part for part in parts if part != "39")  # an apostrophe, as HTML writes it
    return len(told) > 2 and len(file) > 2 and (file.startswith(told) or told.startswith(file))


def _is_author(part: str, by: list[str]) -> bool:
    """Whether a word of a file's name, often cut short, is one of its author's names."""
    return any(name.startswith(part) for name in by if len(part) > 1 or len(name) == 1)


def _caption(named: str, keywords: list[str]) -> str:
    seen = set(words(named).split())
    news = [keyword for keyword in keywords if not set(words(keyword).split()) <= seen]
    more = ", ".join(news[:_WORDS_OF_CAPTION])
    return f"{named} ({more})" if named and more else named or more
