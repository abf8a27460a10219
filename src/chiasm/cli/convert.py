"""`chiasm convert`: write a model again, in another form."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read

ABOUT = """Write a model folder again: from Meta's own files, or with integers for its matrices.

Examples:
  chiasm convert Llama-3.2-11B-Vision-Instruct llama --allow-pickle     params.json and *.pth of Meta's
  chiasm convert runs/first_light small --quantise int8
  chiasm convert smollm2-135m-instruct small --quantise int4 --only "blocks.*.mlp.*"

int8 keeps one scale for a row, int4 a scale and a zero for 32 weights. Embeddings, norms, gates and the
head stay as they are. The new folder is read like any other: chiasm chat --model small"""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm convert`."""

    names: Words = ()
    """A run's folder, a model folder or a built-in name; and the folder to write."""
    quantise: Annotated[
        Literal["", "int8", "int4"], tyro.conf.arg(metavar="int8|int4", help_behavior_hint="")
    ] = ""
    """The integers that matrices become."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATTERN", help_behavior_hint="")] = ()
    """Names of linear layers, such as "decoder.*"; all but the head when none is given."""
    allow_pickle: Flag = False
    """Read consolidated.NN.pth files: their pickles are taken as lists of tensors and never run."""
    base: Flag = False
    """The .pth files are of a base model, not trained for conversations: no chat template."""
    json: Flag = False
    """Print what was written for programs."""


def main(words: list[str]) -> int:
    """Write the model that the words name in the form that they ask for."""
    options = read("chiasm convert", words, Options(), ABOUT)
    if len(options.names) != 2:
        raise UserError(
            "Name a model and the folder to write: chiasm convert runs/first_light small --quantise int8"
        )
    if list(Path(options.names[0]).glob("*.pth")):
        return _from_meta(options)
    if not options.quantise:
        raise UserError("Say what the model is to become: --quantise int8 or --quantise int4.")
    from chiasm.base.log import keep_stdout_clean, say

    if options.json:
        keep_stdout_clean()
    from chiasm.recipes.converting import quantise_folder

    name, out = options.names[0], Path(options.names[1])
    layers = quantise_folder(name, out, options.quantise, options.only, say)
    size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    say(f"{out}: {layers} linear layers as {options.quantise}, {size / 1e6:.1f} MB of weights.")
    if options.json:
        told = {"model": name, "folder": str(out), "layers": layers, "bytes": size}
        print(json_.dumps(told, indent=2))
    return 0


def _from_meta(options: Options) -> int:
    folder, out = map(Path, options.names)
    if not options.allow_pickle:
        raise UserError(
            f"{folder} holds .pth files, which are pickles. Chiasm reads them without running them, in a "
            "process that can do nothing else; say --allow-pickle to have it done."
        )
    if options.quantise:
        raise UserError("Convert Meta's files first, and quantise the folder that comes out.")
    from chiasm.base.log import keep_stdout_clean, say

    if options.json:
        keep_stdout_clean()
    from chiasm.recipes.exporting import from_meta

    told = from_meta(folder, out, instruct=not options.base)
    say(
        f"{out}: {told['tensors']} tensors of {told['files']} files, in the layout of transformers."
    )
    if options.json:
        print(json_.dumps({"model": str(folder), "folder": str(out), **told}, indent=2))
    return 0
