"""Pictures of manuals with the words that stand with them: screenshots, dialogs, examples of effects."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.collections.opened import Opened, some, words
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture

_NAVIGATION = {"prev", "next", "up", "home", "prev.png", "next.png", "up.png", "home.png"}


@dataclass(frozen=True)
class Figure:
    """A picture on a page, and what the page says it shows."""

    key: str
    path: Path
    caption: str
    page: str
    """The page's title."""


def gimp_help(name: str, folders: Mapping[str, Path]) -> Opened[Figure]:
    """Open the manual of the GIMP: what stands as text for a picture, and what is written below it."""
    folder = folders["gimp-help-en"] / "usr/share/gimp/2.0/help/en"
    return _manual(name, folder, "GFDL-1.2-no-invariants-or-later")


def debian_handbook(name: str, folders: Mapping[str, Path]) -> Opened[Figure]:
    """Open the Debian Administrator's Handbook in English."""
    folder = folders["debian-handbook"] / "usr/share/doc/debian-handbook/html/en-US"
    return _manual(name, folder, "GPL-2.0-or-later OR CC-BY-SA-3.0")


def _manual(name: str, folder: Path, licence: str) -> Opened[Figure]:
    """Open the pages of a folder; a picture that several show with the same words is one pair."""
    told: dict[str, dict[str, Figure]] = {}
    for page in sorted(folder.glob("*.html")):
        for source, caption, title in _figures(page):
            figures = told.setdefault(source.removeprefix("images/"), {})
            key = f"{source.removeprefix('images/')}" + (f"#{len(figures) + 1}" if figures else "")
            figures.setdefault(words(caption), Figure(key, folder / source, caption, title))
    entries = tuple(figure for figures in told.values() for figure in figures.values())
    return Opened(name, some(entries, folder), partial(_pair, name, licence))


def _pair(name: str, licence: str, figure: Figure) -> Pair:
    # By picture: one that is shown forty times as "Original" must not be in training and in the test.
    notes = {"concept": f"{name}:{figure.key.partition('#')[0]}", "page": figure.page}
    picture = Picture(path=str(figure.path))
    return Pair(f"{name}/{figure.key}", figure.caption, picture, name, licence, notes)


def _figures(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (file, words, title of the page) of each picture of a page that has words."""
    try:
        root = ET.parse(page).getroot()
    except (ET.ParseError, OSError) as error:
        raise UserError(
            f"{page} cannot be read ({error}); delete its folder and pull it again."
        ) from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    above = {child: parent for parent in root.iter() for child in parent}
    title = _text(root.find("head/title"))
    for image in root.iter("img"):
        source, words_for_it = image.get("src", ""), " ".join((image.get("alt") or "").split())
        if _is_sign(source, words_for_it) or not (page.parent / source).is_file():
            continue
        below = _below(image, above)
        caption = f"{words_for_it}: {below}" if below and words_for_it else words_for_it or below
        if caption:
            yield source, caption, title


def _is_sign(source: str, alt: str) -> bool:
    """Whether a picture is furniture of the page: arrows, callouts, signs such as [Note]."""
    inside = source.removeprefix("images/")
    return (
        not source.startswith("images/")
        or inside.startswith("callouts/")
        or inside.lower() in _NAVIGATION
        or (alt.startswith("[") and alt.endswith("]"))
    )


def _below(image: ET.Element, above: Mapping[ET.Element, ET.Element]) -> str:
    """Return the words right below a picture: the caption of the smallest frame around it."""
    frame = image
    while (parent := above.get(frame)) is not None:
        frame = parent
        if frame.get("class") in ("mediaobject", "inlinemediaobject"):
            captions = (each for each in frame if each.get("class") == "caption")
            return _text(next(captions, None))
    return ""


def _text(element: ET.Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())
