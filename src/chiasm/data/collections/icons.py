"""Icons in one colour with their names: thousands of them, each simple."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chiasm.data.collections.drawing import rasterised, read
from chiasm.data.collections.opened import Opened, load, some, words
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture


def lucide(name: str, folders: Mapping[str, Path]) -> Opened[tuple[Path, tuple[str, ...]]]:
    """Open Lucide's icons, drawn in lines, with their keywords."""
    folder = folders["lucide-static"] / "package"
    tags = load(folder / "tags.json")
    entries = tuple(
        (path, tuple(tags[path.stem]))
        for path in sorted((folder / "icons").glob("*.svg"))
        if path.stem in tags
    )
    return Opened(name, some(entries, folder), partial(_lucide, name))


def _lucide(name: str, entry: tuple[Path, tuple[str, ...]]) -> Pair:
    path, tags = entry
    picture = Picture(data=read(path), path=f"{path.stem}.png")
    caption = path.stem.replace("-", " ")
    notes = {"concept": f"words:{words(caption)}", "keywords": ", ".join(tags)}
    return Pair(f"{name}/{path.stem}", caption, picture, name, "ISC", notes)


def game_icons(name: str, folders: Mapping[str, Path]) -> Opened[tuple[str, str]]:
    """Open the icons of game-icons.net, filled black."""
    told: dict[str, Any] = load(folders["@iconify-json/game-icons"] / "package" / "icons.json")
    size = f"{told.get('width', 16)} {told.get('height', 16)}"
    entries = tuple((icon, row["body"]) for icon, row in sorted(told["icons"].items()))
    folder = folders["@iconify-json/game-icons"]
    return Opened(name, some(entries, folder), partial(_game_icon, name, size))


def _game_icon(name: str, size: str, entry: tuple[str, str]) -> Pair:
    icon, body = entry
    key = f"{name}/{icon}"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">{body}</svg>'
    picture = Picture(data=rasterised(svg.encode(), key), path=f"{icon}.png")
    caption = icon.replace("-", " ")
    return Pair(key, caption, picture, name, "CC-BY-3.0", {"concept": f"words:{words(caption)}"})
