"""`chiasm train`: run a recipe, or go on with it."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Annotated

import tyro

from chiasm.base.config import to_yaml
from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, read
from chiasm.recipes.book import RECIPES, recipe
from chiasm.recipes.settings import Run

ABOUT = """{recipe}

Examples:
  chiasm train {name} --train.steps 50 --data.load.records 4 --name quick
  chiasm train {name} --show > changed.yaml
  chiasm train changed.yaml

The same command goes on with a run that was stopped, and says so when it is finished."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm train RECIPE`."""

    settings: Annotated[Run, tyro.conf.arg(name="")]
    """The recipe."""
    show: Flag = False
    """Print the recipe as YAML and do nothing else."""
    runs: Path = Path("runs")
    """The run's folder is made in here."""


def main(words: list[str]) -> int:
    """Run the recipe that the first word names, changed by the others."""
    if not words or words[0] in ("-h", "--help"):
        print(recipes())
        return 0
    name = words[0]
    if name.startswith("-"):
        raise UserError(
            "Name the recipe first, then its settings: chiasm train first_light "
            f"{shlex.join(words)}"
        )
    run = recipe(name)
    about = (getdoc(RECIPES[name]) if name in RECIPES else f"Train as {name} says.") or ""
    prog = f"chiasm train {shlex.quote(name)}"
    options = read(prog, words[1:], Options(run), ABOUT.format(recipe=about, name=name))
    if options.show:
        print(to_yaml(options.settings), end="")
        return 0
    return _train(options, ["chiasm", "train", *words])


def recipes() -> str:
    """Return the help of `chiasm train` itself: which recipes there are."""
    rows = [
        f"  {name:<20} {(getdoc(make) or '').splitlines()[0]}" for name, make in RECIPES.items()
    ]
    return "\n".join(
        [
            "usage: chiasm train RECIPE [--setting VALUE ...] [--show] [--runs DIR]",
            "",
            "Teach a language model to see. A recipe is one of these, or a YAML file:",
            "",
            *rows,
            "",
            "  chiasm train first_light                       all of it",
            "  chiasm train first_light --train.steps 50      a setting changed",
            "  chiasm train first_light --show                print the recipe as YAML",
            "  chiasm train first_light --help                every setting",
        ]
    )


def _train(options: Options, typed: list[str]) -> int:
    from chiasm.base.log import say
    from chiasm.recipes.run import train

    with signals() as came:
        outcome = train(options.settings, options.runs)
        if not outcome.finished:
            say(
                f"Stopped after step {outcome.step} of {options.settings.train.steps}, which is saved "
                f"in {outcome.folder}. To go on, repeat the command:\n  {shlex.join(typed)}"
            )
            return 128 + next(
                (n for n in came() if n in (signal.SIGINT, signal.SIGTERM)), signal.SIGINT
            )
    model = outcome.folder / "model"
    say(f"The model lies in {model}. Let it look at pictures:")
    say(f"  chiasm chat --model {shlex.quote(str(model))} --samples")
    return 0


@contextmanager
def signals() -> Iterator[Callable[[], list[int]]]:
    """Yield a function that tells which signals came during the body, whoever handled them.

    The trainer turns Ctrl-C and SIGTERM into one question; the shell wants to know which it was.
    """
    ours, pythons = os.pipe()
    for end in (ours, pythons):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(pythons)

    def came() -> list[int]:
        try:
            return list(os.read(ours, 1024))
        except BlockingIOError:
            return []

    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        os.close(ours)
        os.close(pythons)
