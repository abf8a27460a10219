"""Four emoji sets and the words for them: one concept has one code in all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from chiasm.data.collections.drawing import read
from chiasm.data.collections.opened import Opened, load, some, written
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture

_TONES = re.compile(r"-1F3F[B-F]")


@dataclass(frozen=True)
class Emoji:
    """One picture of one emoji."""

    code: str
    """Its code points without the variation selector, as "1F1E9-1F1EA"."""
    path: Path
    caption: str
    keywords: tuple[str, ...]
    author: str = ""


def code(text: str) -> str:
    """Return a sequence of code points as all sets' concepts write it: upper case, no FE0F."""
    points = [point.zfill(4) for point in re.split(r"[-_]", text.upper()) if point]
    return "-".join(point for point in points if point != "FE0F")


def openmoji(name: str, folders: Mapping[str, Path]) -> Opened[Emoji]:
    """Open OpenMoji: 1,923 emoji of Unicode and its 542 own, one each of those that differ by skin only."""
    folder = folders["openmoji"] / "package"
    entries = tuple(
        Emoji(
            code(row["hexcode"]),
            folder / "color" / "svg" / f"{row['hexcode']}.svg",
            row["annotation"],
            tuple(_split(f"{row['tags']}, {row['openmoji_tags']}")),
            row["openmoji_author"],
        )
        for row in load(folder / "data" / "openmoji.json")
        if not row["skintone"]
    )
    return _opened(name, entries, "CC-BY-SA-4.0", folders)


def fluent(name: str, folders: Mapping[str, Path]) -> Opened[Emoji]:
    """Open Microsoft's Fluent emoji in 3D: those of its files that Unicode has words for."""
    folder = folders["@lobehub/fluent-emoji-3d"] / "package" / "assets"
    # Some emoji are there twice, with and without the variation selector; the shorter name first.
    files = sorted(folder.glob("*.webp"), key=lambda path: (len(path.name), path.name))
    return _labelled(name, [(code(path.stem), path) for path in files], "MIT", folders)


def datasource(name: str, folders: Mapping[str, Path], style: str, licence: str) -> Opened[Emoji]:
    """Open the emoji of one maker as the emoji-datasource packages carry them, 64 pixels wide."""
    folder = folders[f"emoji-datasource-{style}"] / "package"
    files = [
        (code(row["unified"]), folder / "img" / style / "64" / row["image"])
        for row in load(folder / "emoji.json")
        if row[f"has_img_{style}"]
    ]
    return _labelled(name, files, licence, folders)


def _labelled(
    name: str, files: list[tuple[str, Path]], licence: str, folders: Mapping[str, Path]
) -> Opened[Emoji]:
    known = _labels(folders["emojibase-data"])
    first: dict[str, Emoji] = {}
    for point, path in files:
        if point in known and point not in first:
            label, tags = known[point]
            first[point] = Emoji(point, path, label, tags)
    return _opened(name, tuple(first.values()), licence, folders)


def _opened(
    name: str, entries: tuple[Emoji, ...], licence: str, folders: Mapping[str, Path]
) -> Opened[Emoji]:
    labels = folders["emojibase-data"]
    return Opened(name, some(entries, labels), partial(_pair, name, licence, labels))


def _pair(name: str, licence: str, labels: Path, emoji: Emoji) -> Pair:
    drawn = emoji.path.suffix == ".svg"
    picture = (
        Picture(data=read(emoji.path), path=f"{emoji.code}.png")
        if drawn
        else Picture(path=str(emoji.path))
    )
    notes = {"concept": f"emoji:{emoji.code}", "keywords": ", ".join(emoji.keywords)}
    if emoji.author:
        notes["author"] = emoji.author
    if translations := _translations(labels).get(emoji.code):
        notes["translations"] = written(translations)
    return Pair(f"{name}/{emoji.code}", emoji.caption, picture, name, licence, notes)


@lru_cache(maxsize=1)
def _labels(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """{code: (English label, keywords)} of every emoji; the letters that flags are made of are none."""
    return {
        code(row["hexcode"]): (row["label"], tuple(row.get("tags", ())))
        for row in load(folder / "package" / "en" / "data.json")
        if "order" in row and not _TONES.search(row["hexcode"])
    }


@lru_cache(maxsize=1)
def _translations(folder: Path) -> dict[str, dict[str, str]]:
    """{code: {language: label}} in all languages but English."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((folder / "package").glob("*/compact.json")):
        if (language := path.parent.name) != "en":
            for row in load(path):
                found.setdefault(code(row["hexcode"]), {})[language] = row["label"]
    return found


def _split(tags: str) -> list[str]:
    return list(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip()))
