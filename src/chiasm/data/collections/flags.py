"""Flags of countries and of some parts and unions of them, with what is known about the countries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chiasm.data.collections.drawing import read
from chiasm.data.collections.opened import Opened, load, some, written
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture

FACTS = (
    "capital",
    "region",
    "subregion",
    "languages",
    "currencies",
    "area",
    "borders",
    "landlocked",
)
"""What the note "facts" tells of a country, as JSON: capitals and borders (three-letter codes) are lists,
languages and currencies are by code, the area is in km²."""


def flags(name: str, folders: Mapping[str, Path]) -> Opened[Mapping[str, Any]]:
    """Open 271 flags; the 250 that are a country's carry facts and the names in other languages."""
    folder = folders["flag-icons"] / "package"
    rows = load(folders["world-countries"] / "package" / "countries.json")
    countries = {row["cca2"].lower(): row for row in rows}
    entries = tuple(
        {**row, "country": countries.get(row["code"])} for row in load(folder / "country.json")
    )
    return Opened(name, some(entries, folder), partial(_pair, name, folder))


def _pair(name: str, folder: Path, row: Mapping[str, Any]) -> Pair:
    country, letters = row["country"], row["code"]
    known = country["name"]["common"] if country else row["name"]
    notes = {"concept": f"emoji:{flag_code(letters)}", "name": known}
    if country:
        notes["facts"] = written({fact: country[fact] for fact in FACTS if fact in country})
        notes["facts_licence"] = "ODbL-1.0"
        translations = {k: v["common"] for k, v in country["translations"].items()}
        notes["translations"] = written(translations)
    picture = Picture(data=read(folder / row["flag_4x3"]), path=f"{letters}.png")
    return Pair(f"{name}/{letters}", f"flag of {known}", picture, name, "MIT", notes)


def flag_code(letters: str) -> str:
    """Return the code points of a flag's emoji: two letters of a country, or "gb-eng" and the like."""
    if len(letters) == 2:
        return "-".join(f"{0x1F1E6 + ord(letter) - ord('a'):X}" for letter in letters)
    tags = [f"{0xE0000 + ord(letter):X}" for letter in letters if letter != "-"]
    return "-".join(["1F3F4", *tags, "E007F"])
