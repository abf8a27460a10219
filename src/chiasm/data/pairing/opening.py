"""Recognising what lies at a path, and opening it as pairs.

path ─► tar? arrow? list? pictures with words? Parquet? pages? ─► PairSource
                                                    none of them ─► UserError, what was expected
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.pairing.arrow import arrow, is_arrow
from chiasm.data.pairing.beside import folder
from chiasm.data.pairing.lists import listed
from chiasm.data.pairing.pages import pages
from chiasm.data.pairing.tables import tables
from chiasm.data.pairing.webdataset import webdataset
from chiasm.data.pairs import PairSource

EXPECTED = (
    "a folder of pictures or videos with A.txt or A.json beside A.jpg; a list of pictures and captions "
    "(.csv, .tsv, .jsonl); Parquet files with the columns image and caption, or Chiasm's own shards; "
    "WebDataset shards (.tar); a folder that Dataset.save_to_disk wrote; or HTML pages with pictures"
)
LISTS = (".csv", ".jsonl", ".tsv")
PAGES = (".htm", ".html")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SPLIT = re.compile(r"(\w+)-\d{5}-of-\d{5}\.parquet")


def pairs(name_or_path: str) -> PairSource:
    """Open a collection of pictures with what is written about them, whatever its layout.

    A file, a folder, or a pattern of .tar or .parquet files ("data/*.tar", "{00000..00099}.tar").
    Raises UserError, with one sentence about what was expected, when it is none of the known layouts
    or holds no record.
    """
    path = Path(name_or_path)
    if "\0" not in name_or_path and path.is_dir():
        source = _folder(path)
    elif "\0" not in name_or_path and path.exists():
        source = _file(path)
    elif any(mark in name_or_path for mark in "*?[{"):
        source = _pattern(name_or_path)
    else:
        raise UserError(f"{name_or_path!r} does not exist; expected is {EXPECTED}.")
    if not len(source):
        raise UserError(f"{name_or_path} holds no record; expected is {EXPECTED}.")
    return source


def _file(path: Path) -> PairSource:
    ending = path.suffix.lower()
    if ending in LISTS:
        return listed(path)
    if ending in PAGES:
        return pages(path.parent, [path])
    if path.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise UserError(
            f"{path} is a compressed archive, in which no record can be read without all before it: "
            "decompress it first."
        )
    if (openers := _several(ending)) is not None:
        return openers([path], path.stem, False)
    raise UserError(f"{path} is not recognised; expected is {EXPECTED}.")


def _several(ending: str) -> Callable[[Sequence[Path], str, bool], PairSource] | None:
    return {".tar": webdataset, ".parquet": tables}.get(ending)


def _pattern(pattern: str) -> PairSource:
    names = list(_braced(pattern))
    paths = sorted(
        {
            Path(path)
            for name in names
            for path in (glob.glob(name, recursive=True) if set(name) & set("*?[") else [name])
        }
    )
    endings = {path.suffix.lower() for path in paths}
    openers = _several(endings.pop()) if len(endings) == 1 else None
    if openers is None or not any(path.exists() for path in paths):
        raise UserError(f"No .tar files, or no .parquet files, match {pattern}; check the path.")
    # A star for the numbers of datasets' shards means all of them.
    return openers(paths, paths[0].parent.resolve().name, pattern.endswith("-*.parquet"))


def _braced(pattern: str) -> Iterator[str]:
    """Spell out "{00000..00099}", as shells and the library webdataset do."""
    if not (found := _BRACES.search(pattern)):
        yield pattern
        return
    first, last = int(found[1]), int(found[2])
    if last - first >= 1_000_000:
        raise UserError(f"{pattern} means more than a million files.")
    for number in range(first, last + 1):
        middle = str(number).zfill(len(found[1]))
        yield from _braced(pattern[: found.start()] + middle + pattern[found.end() :])


def _folder(path: Path) -> PairSource:
    if is_arrow(path):
        return arrow(path)
    name = path.resolve().name
    if shards := sorted(path.glob("*.tar")):
        return webdataset(shards, name, whole=True)
    lists = sorted(each for each in path.iterdir() if each.suffix.lower() in LISTS)
    if len(lists) > 1:
        names = ", ".join(each.name for each in lists)
        raise UserError(f"{path} holds several lists ({names}): name the one to read.")
    if lists:
        return listed(lists[0])
    beside = folder(path)
    if beside.worded:
        return beside
    if rows := sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet")):
        return tables(_one_split(path, rows), name, whole=True)
    if html := sorted(each for each in path.rglob("*") if each.suffix.lower() in PAGES):
        return pages(path, html)
    if len(beside):
        raise UserError(
            f"{path} holds {len(beside)} pictures or videos but no words about them: put the caption of "
            "A.jpg into A.txt beside it, or all captions into one list (.csv with the columns image and "
            "caption)."
        )
    raise UserError(f"{path} is not recognised; expected is {EXPECTED}.")


def _one_split(path: Path, rows: list[Path]) -> list[Path]:
    splits = dict.fromkeys(found[1] for each in rows if (found := _SPLIT.fullmatch(each.name)))
    if len(splits) > 1:
        one = rows[0].parent / f"{next(iter(splits))}-*.parquet"
        raise UserError(f"{path} holds the splits {', '.join(splits)}: name one, as {one}.")
    return rows
