"""Maps whose regions are known to the pixel: each region of a map has one colour of its own."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError
from chiasm.data.collections.opened import Opened, some, words, written
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture

PIXELS = 30
"""A region of fewer pixels cannot be pointed at."""


@dataclass(frozen=True)
class Region:
    """One region of a map."""

    name: str
    capital: str
    colour: tuple[int, int, int]
    flag: str = ""
    """File of its flag within the collection's folder "flags"; empty when it has none."""


@dataclass(frozen=True)
class Placed:
    """Where a region lies on its map, in pixels."""

    region: Region
    box: tuple[int, int, int, int]
    """Left, top, right, bottom; right and bottom are the first beyond it."""
    pixels: int


def maps(name: str, folders: Mapping[str, Path]) -> Opened[Path]:
    """Open KGeography's maps; the note "regions" holds what `regions` reads."""
    folder = folders["kgeography-data"] / "usr" / "share" / "kgeography"
    entries = tuple(path for path in sorted(folder.glob("*.kgm")))
    return Opened(name, some(entries, folder), partial(_pair, name))


def regions(pair: Pair) -> tuple[Region, ...]:
    """Return the regions of a map; what is no region (sea, frontiers, neighbours) is left out."""
    return tuple(
        Region(row["name"], row["capital"], (*row["colour"],), row["flag"])
        for row in json.loads(pair.notes["regions"])
    )


def placed(pixels: NDArray[np.uint8], wanted: tuple[Region, ...]) -> tuple[Placed, ...]:
    """Return where regions lie on the pixels [H, W, 3] of their map; those under PIXELS are left out.

    Exact, since a map's regions are filled with one colour each and are not antialiased.
    """
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found = []
    for region in wanted:
        red, green, blue = region.colour
        mask = codes == (red << 16 | green << 8 | blue)
        if (count := int(mask.sum())) >= PIXELS:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            found.append(Placed(region, box, count))
    return tuple(found)


def _pair(name: str, path: Path) -> Pair:
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete its folder and pull it again."
        ) from None
    title, divisions = _told(root, "name"), _told(root, "divisionsName")
    # Most titles have them already: "Greece (Peripheries)".
    more = f" ({divisions})" if divisions and "(" not in title else ""
    caption = f"map of {title}{more}"
    notes = {
        "concept": f"words:{words(title)}",
        "name": title,
        "divisions": divisions,
        "author": _told(root, "author"),
        "regions": written([asdict(region) for region in _regions(root)]),
    }
    kept = {key: value for key, value in notes.items() if value}
    picture = Picture(path=str(path.parent / _told(root, "mapFile")))
    return Pair(f"{name}/{path.stem}", caption, picture, name, "GPL-2.0-or-later", kept)


def _regions(root: ET.Element) -> Iterator[Region]:
    for division in root.iter("division"):
        if _told(division, "ignore") == "yes" or division.find("color") is None:
            continue
        red, green, blue = (int(_told(division, f"color/{c}")) for c in ("red", "green", "blue"))
        flag = _told(division, "flag")
        yield Region(_told(division, "name"), _told(division, "capital"), (red, green, blue), flag)


def _told(element: ET.Element, path: str) -> str:
    return " ".join((element.findtext(path) or "").split())
