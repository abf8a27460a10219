"""`chiasm export`: a model in the layout of transformers, of Meta, or of llama.cpp."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read

ABOUT = """Write a model as other programs read it, tensor for tensor.

Examples:
  chiasm export my-llama-3.2-vision out                         for transformers
  chiasm export my-llama-3.2-vision out --layout meta           Meta's names, in safetensors
  chiasm export smollm2-135m-instruct smol.gguf --layout gguf   for llama.cpp
  chiasm export my-llama-3.2-vision eyes --adapters-of llama-3.1-8b    eyes and crosses alone, for Chiasm

Cross-attention models over tiles become Mllama, unified embeddings as in LLaVA-1.5 become LLaVA, language
models Llama. What a layout cannot hold is an error, never an approximation."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm export`."""

    names: Words = ()
    """A run's folder, a model folder or a built-in name; and what to write."""
    layout: Literal["transformers", "meta", "gguf"] = "transformers"
    """Whose layout."""
    kind: Annotated[str, tyro.conf.arg(metavar="KIND", help_behavior_hint="")] = "F16"
    """Number format of a GGUF file's matrices: F32, F16, BF16, Q8_0, Q4_0, Q4_1."""
    adapters_of: Annotated[str, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = ""
    """Leave the language model out: the new folder refers to this one, which must be the same."""
    json: Flag = False
    """Print what was written for programs."""


def main(words: list[str]) -> int:
    """Write the model that the words name."""
    options = read("chiasm export", words, Options(), ABOUT)
    if len(options.names) != 2:
        raise UserError("Name a model and what to write: chiasm export MODEL OUT")
    name, out = options.names[0], Path(options.names[1])
    if out.exists():
        raise UserError(f"{out} exists already; name something new.")
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    from chiasm.recipes.exporting import export, export_adapters

    if options.adapters_of:
        export_adapters(name, options.adapters_of, out, say)
    else:
        export(name, out, options.layout, options.kind, say)
    held = [out] if out.is_file() else sorted(out.iterdir())
    size = sum(file.stat().st_size for file in held)
    what = "as adapters" if options.adapters_of else f"in the layout of {options.layout}"
    say(f"Wrote {out} {what}: {size / 1e6:.1f} MB.")
    if options.json:
        print(json_.dumps({"model": name, "written": str(out), "bytes": size}, indent=2))
    return 0
