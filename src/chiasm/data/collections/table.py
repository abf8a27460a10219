"""The list of the collections, and the door to each: pulled if need be, then opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.fetch import Say, Unavailable
from chiasm.base.log import say as say_aloud
from chiasm.data.collections import (
    emoji,
    flags,
    icons,
    manuals,
    maps,
    openclipart,
    packages,
    tuxpaint,
    vega,
)
from chiasm.data.collections.opened import Opened
from chiasm.data.collections.packages import Package, unpacked
from chiasm.data.pairs import PairSource

Open = Callable[[str, Mapping[str, Path]], Opened[Any]]


@dataclass(frozen=True)
class Collection:
    """Pictures with words that one or two packages carry."""

    about: str
    pairs: int
    """How many it holds, counted."""
    licence: str
    """Of the pictures; words and facts of another package may have their own."""
    packages: tuple[Package, ...]
    open: Open | None
    """None when it holds no pictures but tables."""

    @property
    def size(self) -> int:
        """Return how many bytes are fetched."""
        return sum(package.size for package in self.packages)


COLLECTIONS: Mapping[str, Collection] = MappingProxyType(
    {
        "openmoji": Collection(
            "emoji drawn in lines and flat colours, with keywords and 27 languages",
            2465,
            "CC-BY-SA-4.0",
            (packages.OPENMOJI, packages.EMOJIBASE),
            emoji.openmoji,
        ),
        "fluent-emoji": Collection(
            "Microsoft's emoji, rendered in 3D",
            1852,
            "MIT",
            (packages.FLUENT, packages.EMOJIBASE),
            emoji.fluent,
        ),
        "google-emoji": Collection(
            "Google's Noto emoji",
            1911,
            "Apache-2.0",
            (packages.GOOGLE, packages.EMOJIBASE),
            partial(emoji.datasource, style="google", licence="Apache-2.0"),
        ),
        "twitter-emoji": Collection(
            "Twitter's Twemoji",
            1911,
            "CC-BY-4.0",
            (packages.TWITTER, packages.EMOJIBASE),
            partial(emoji.datasource, style="twitter", licence="CC-BY-4.0"),
        ),
        "flags": Collection(
            "flags, with facts about 250 countries and their names in other languages",
            271,
            "MIT",
            (packages.FLAGS, packages.COUNTRIES),
            flags.flags,
        ),
        "tuxpaint": Collection(
            "cut-out photographs and drawings, a sentence each in up to 80 languages",
            950,
            "GPL-2.0-only",
            (packages.TUXPAINT,),
            tuxpaint.tuxpaint,
        ),
        "openclipart": Collection(
            "clip art with keywords",
            3960,
            "CC-PDDC",
            (packages.OPENCLIPART,),
            openclipart.openclipart,
        ),
        "gimp-help": Collection(
            "dialogs, tools and effects from the manual of the GIMP",
            1849,
            "GFDL-1.2-no-invariants-or-later",
            (packages.GIMP_HELP,),
            manuals.gimp_help,
        ),
        "debian-handbook": Collection(
            "screenshots and diagrams from the Debian Administrator's Handbook",
            53,
            "GPL-2.0-or-later OR CC-BY-SA-3.0",
            (packages.HANDBOOK,),
            manuals.debian_handbook,
        ),
        "kgeography": Collection(
            "maps whose regions are known to the pixel, with capitals",
            154,
            "GPL-2.0-or-later",
            (packages.KGEOGRAPHY,),
            maps.maps,
        ),
        "lucide": Collection(
            "icons drawn in lines, with keywords", 1908, "ISC", (packages.LUCIDE,), icons.lucide
        ),
        "game-icons": Collection(
            "icons of one colour", 4134, "CC-BY-3.0", (packages.GAME_ICONS,), icons.game_icons
        ),
        "vega-datasets": Collection(
            "real tables for charts; no pictures", 0, "BSD-3-Clause", (packages.VEGA,), None
        ),
    }
)
"""Collections by name; `chiasm pull data:NAME` fetches one."""


def listing() -> str:
    """Return all collections as a table in markdown, for people and for the documents."""
    lines = [
        "| name | what | pairs | to fetch | licence | packages |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for name, each in COLLECTIONS.items():
        carriers = ", ".join(f"{p.name} {p.version} ({p.kind})" for p in each.packages)
        lines.append(
            f"| `data:{name}` | {each.about} | {each.pairs:,} | {each.size / 1e6:.1f} MB | "
            f"{each.licence} | {carriers} |"
        )
    pairs = sum(each.pairs for each in COLLECTIONS.values())
    size = sum(p.size for p in {p for each in COLLECTIONS.values() for p in each.packages})
    lines.append(f"| `data:all` | all of them | {pairs:,} | {size / 1e6:.1f} MB |  |  |")
    return "\n".join(lines)


def pull(name: str, say: Say = say_aloud) -> Mapping[str, Path]:
    """Return {package: folder} of a collection, fetching what is not there; raises Unavailable."""
    return {each.name: unpacked(each, say) for each in _known(name).packages}


def collection(name: str, say: Say = say_aloud) -> PairSource:
    """Open a collection by name, fetching it once; every pair says which packages it comes from.

    Raises UserError when it cannot be had, or holds no pictures.
    """
    found = _known(name)
    if found.open is None:
        raise UserError(
            f"data:{name} holds tables, not pictures; chiasm render draws charts of them."
        )
    opened = found.open(name, _had(name, say))
    origin = " ".join(each.origin for each in found.packages)
    return Opened(opened.name, opened.entries, opened.read, {"packages": origin})


def tables(say: Say = say_aloud) -> vega.Tables:
    """Return the tables of vega-datasets by name, fetching them once; raises UserError."""
    (folder,) = _had("vega-datasets", say).values()
    return vega.tables(folder)


def _had(name: str, say: Say) -> Mapping[str, Path]:
    try:
        return pull(name, say)
    except Unavailable as error:
        raise UserError(f"Cannot get data:{name}: {str(error).rstrip('.')}.") from None


def _known(name: str) -> Collection:
    if name not in COLLECTIONS:
        raise UserError(
            f'"{name}" is no known collection.{did_you_mean(name, COLLECTIONS)} There are: '
            f"{', '.join(COLLECTIONS)}."
        )
    return COLLECTIONS[name]
