"""`chiasm curate`: pictures and captions in, clean and diverse shards out, with a report."""

from __future__ import annotations

import json as json_
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

from chiasm.base.config import from_yaml, to_yaml
from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli.arguments import Flag, Words, read
from chiasm.data.curation.book import KINDS, CurateSettings, Steps

ABOUT = """Read pictures or videos with captions, drop what is bad, double or too frequent, and write shards.

Examples:
  chiasm curate holidays/ --out clean            a folder, with the default steps
  chiasm curate data:openmoji shards/ --out clean --test-share 0.1
  chiasm curate holidays/ --show > mine.yaml     every setting of every step, to be changed
  chiasm curate mine.yaml --out clean
  chiasm curate big/ --out clean --engine ray --address 10.0.0.1:6379

OUT/train (and OUT/test) hold Parquet shards for `data.sources.parquet` and other tools, OUT/report.html says
what was dropped and why. The same command goes on after a stop."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm curate`."""

    settings: Annotated[CurateSettings, tyro.conf.arg(name="")]
    """What is done."""
    names: Words = ()
    """What to curate: folders, lists, Parquet, tar, data:NAME; or one .yaml file that says all."""
    out: Path = Path()
    """The folder that is made, or gone on with."""
    show: Flag = False
    """Print the recipe as YAML and do nothing else."""
    json: Flag = False
    """Print counts and the manifest's hash for programs."""


def main(words: list[str]) -> int:
    """Curate what the words name."""
    yaml = next((word for word in words if word.endswith((".yaml", ".yml"))), None)
    recipe = CurateSettings() if yaml is None else from_yaml(CurateSettings, Path(yaml))
    rest = [word for word in words if word != yaml]
    options = read("chiasm curate", rest, Options(recipe), ABOUT, (_steps(recipe),))
    settings = options.settings
    if options.names:
        settings = settings.model_copy(update={"sources": options.names})
    if options.show:
        print(to_yaml(settings), end="")
        return 0
    if not settings.sources:
        raise UserError("Name what to curate: chiasm curate SOURCE... --out FOLDER")
    if options.out == Path():
        raise UserError("Say where the shards go: --out FOLDER")
    return _curate(settings, options, ["chiasm", "curate", *words])


def _curate(settings: CurateSettings, options: Options, typed: list[str]) -> int:
    from chiasm.base.log import keep_stdout_clean, say

    if options.json:
        keep_stdout_clean()
    from chiasm.data.curation.pipeline import curate
    from chiasm.recipes.curating import open_source, tools

    try:
        outcome = curate(settings, options.out, open_source, tools, say)
    except KeyboardInterrupt:
        say(
            f"Stopped; what is finished stays in {options.out}. To go on, repeat the command:\n"
            f"  {shlex.join(typed)}"
        )
        return 130
    if options.json:
        print(json_.dumps(outcome.record(), indent=2))
    kept, came = outcome.ledger["n_kept"], outcome.ledger["n_in"]
    report = options.out / "report.html"
    if not kept:
        raise UserError(f"None of {came:,} records is left: {outcome.chief_reason}. See {report}.")
    say(
        f"{kept:,} of {came:,} records lie in {options.out}, after {outcome.seconds:,.0f} s; manifest "
        f"{outcome.manifest[:16]}."
    )
    say(f"What was dropped, and why: {report}")
    return 0


def _steps(recipe: CurateSettings) -> Any:
    """How words become steps: kinds, each as the recipe has it, or with its defaults."""

    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type != Steps:
            return None
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar="KIND",
            instance_from_str=lambda words: tuple(_step(word, recipe) for word in words),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda steps: [step.kind for step in steps],
        )

    return rule


def _step(word: str, recipe: CurateSettings) -> Any:
    if word not in KINDS:
        raise ValueError(
            f'names "{word}", which is no step.{did_you_mean(word, KINDS)} There are {", ".join(KINDS)}'
        )
    return next((step for step in recipe.steps if step.kind == word), None) or KINDS[word]()
