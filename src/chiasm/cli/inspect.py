"""`chiasm inspect`: parts, sizes and memory of a model or a recipe."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read
from chiasm.recipes.book import RECIPES, recipe

if TYPE_CHECKING:
    from chiasm.recipes.report import Report

ABOUT = """Show what a model or a recipe consists of, and what it costs, before anything runs.

Examples:
  chiasm inspect first_light               a recipe (or a .yaml file): what will learn
  chiasm inspect runs/first_light          what a run ended with
  chiasm inspect smollm2-135m-instruct     a built-in part"""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm inspect`."""

    names: Words = ()
    """A recipe, a YAML file, a run's folder, a model folder, or a built-in name."""
    tensors: Flag = False
    """List where each tensor comes from."""
    json: Flag = False
    """Print everything as JSON for programs."""


def main(words: list[str]) -> int:
    """Describe what the words name."""
    options = read("chiasm inspect", words, Options(), ABOUT)
    if len(options.names) != 1:
        raise UserError("Name one model or recipe: chiasm inspect first_light")
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    name = options.names[0]
    from chiasm.recipes.report import of_model, of_recipe

    if name in RECIPES or name.endswith((".yaml", ".yml")):
        report = of_recipe(recipe(name), say)
    else:
        report = of_model(name, say)
    if options.json:
        print(json_.dumps(report.record(), indent=2))
    else:
        print("\n".join(lines(report)))
        if options.tensors:
            print(
                "\n".join(["", *(f"{key}  <-  {origin}" for key, origin in report.origins.items())])
            )
    return 0


def lines(report: Report) -> list[str]:
    """Return the report in words."""
    learning = any(portion.learns is not None for portion in report.portions)
    rows = [["part", "parameters", *(["learn"] if learning else []), ""]]
    for portion in report.portions:
        learns = [f"{portion.learns:,}"] if portion.learns is not None else []
        rows.append(
            [
                portion.name,
                f"{portion.parameters:,}",
                *learns,
                "new" if portion.source == "new" else f"from {portion.source}",
            ]
        )
    if len(report.portions) > 1:
        learns = [f"{sum(p.learns or 0 for p in report.portions):,}"] if learning else []
        rows.append(["all", f"{sum(p.parameters for p in report.portions):,}", *learns, ""])
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    found = [f"{report.name} ({report.kind}), computed in {report.dtype} on this machine", ""]
    for name, *numbers, source in rows:
        cells = [f"{name:<{wide[0]}}", *map("{:>{}}".format, numbers, wide[1:]), source]
        found.append("  ".join(["", *cells]).rstrip())
    return [*found, "", *_costs(report)]


def _costs(report: Report) -> list[str]:
    found = []
    if (sight := report.picture) is not None:
        tokens = f"{sight.places:,} token{'s' if sight.places > 1 else ''}"
        of = f"up to {sight.tiles} tiles of " if sight.tiles > 1 else ""
        found += [
            f"a picture       {of}{sight.size} x {sight.size} pixels, {sight.vectors} vectors; "
            f"takes {tokens} of the text and {_size(sight.bytes)} of memory"
        ]
    if report.bytes_per_1k_tokens is not None:
        found.append(f"1,000 tokens    {_size(report.bytes_per_1k_tokens)} of memory")
        found.append(f"at most         {report.context:,} tokens in a conversation")
    return found


def _size(count: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
