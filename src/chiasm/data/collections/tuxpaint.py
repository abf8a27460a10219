"""The stamps of a children's painting program: cut-outs with a sentence in up to eighty languages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from chiasm.data.collections.drawing import read
from chiasm.data.collections.opened import Opened, some, words, written
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample
from chiasm.inputs.message import Picture


def tuxpaint(name: str, folders: Mapping[str, Path]) -> Opened[Path]:
    """Open the stamps: every sentence that has a picture beside it, PNG rather than SVG."""
    folder = folders["tuxpaint-stamps-default"] / "usr" / "share" / "tuxpaint" / "stamps"
    pictures = {path.with_suffix(""): path for path in sorted(folder.rglob("*.svg"))}
    pictures |= {path.with_suffix(""): path for path in sorted(folder.rglob("*.png"))}
    texts = sorted(folder.rglob("*.txt"))
    entries = tuple(pictures[p] for text in texts if (p := text.with_suffix("")) in pictures)
    return Opened(name, some(entries, folder), partial(_pair, name, folder))


def _pair(name: str, folder: Path, path: Path) -> Pair:
    text = path.with_suffix(".txt")
    inside = path.relative_to(folder).with_suffix("").as_posix()
    try:
        lines = text.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BadSample("bad_text", str(text)) from None
    caption = lines[0].strip() if lines else ""
    if not caption:
        raise BadSample("no_text", str(text))
    pairs = (line.partition(".utf8=") for line in lines[1:])
    translations = {language: told.strip() for language, _, told in pairs if told.strip()}
    drawn = path.suffix == ".svg"
    picture = (
        Picture(data=read(path), path=f"{path.stem}.png") if drawn else Picture(path=str(path))
    )
    notes = {
        "concept": f"words:{words(caption)}",
        "keywords": ", ".join(inside.split("/")[:-1]),
        "translations": written(translations),
    }
    return Pair(f"{name}/{inside}", caption, picture, name, "GPL-2.0-only", notes)
