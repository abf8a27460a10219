"""`chiasm eval`: how many held-out questions a model answers right, and whether it looks."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli.arguments import Flag, read
from chiasm.cli.choose import seeing_model

if TYPE_CHECKING:
    from chiasm.evaluation.runner import Images, Result
    from chiasm.evaluation.task import Task

ABOUT = """Ask a model the questions that were held out, and count the right answers.

Examples:
  chiasm eval                                      all 9,673 questions of easy-vqa, three times
  chiasm eval --limit 500 --images right           a first impression
  chiasm eval --html report.html                   a page with pictures and wrong answers
  chiasm eval --model runs/first_light runs/first_light_prefix

A model that looks answers worse when the pictures are blank or shuffled. The column "question-only
prior" is the most frequent answer to each question: what can be had without looking."""

WORDS = 16
"""Longest answer in tokens; those of the benchmark are one word."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm eval`."""

    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = ()
    """One or several, side by side; the newest finished run when none is named."""
    task: Literal["easy-vqa"] = "easy-vqa"
    """The benchmark."""
    images: str = "right,blank,shuffled"
    """What is shown: the right pictures, plain grey ones, those of other questions."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Ask only so many questions, always the same random ones."""
    batch: int = 64
    """Questions that are answered at once."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write a page that shows answers with their pictures."""
    json: Flag = False
    """Print everything, single answers included, as JSON for programs."""


def main(words: list[str]) -> int:
    """Measure the models that the words name."""
    options = read("chiasm eval", words, Options(), ABOUT)
    shown = kinds(options.images)
    names = options.model or (seeing_model(),)
    for option, number in (("--batch", options.batch), ("--limit", options.limit)):
        if number is not None and number < 1:
            raise UserError(f"{option} is {number}, but must be at least 1.")
    if options.html is not None and len(names) > 1:
        raise UserError("--html shows one model; name one, or leave --html out.")
    from chiasm.base.log import keep_stdout_clean

    keep_stdout_clean()  # stdout is for the table
    task = _task(options.task)
    results = {name: _measure(name, task, shown, options) for name in names}
    if options.html is not None:
        _write_page(options.html, task, results[names[0]])
    if options.json:
        from chiasm.evaluation.report import records

        print(json_.dumps([{"model": n, "results": records(r)} for n, r in results.items()]))
    else:
        _print(results)
    return 0


def kinds(listed: str) -> list[Images]:
    """Return what shall be shown, of words with commas between them."""
    names = [name.strip() for name in listed.split(",")]
    found: list[Images] = [known for name in names for known in _IMAGES if known == name]
    if unknown := [name for name in names if name not in _IMAGES]:
        raise UserError(
            f'--images is "{listed}", but "{unknown[0]}" is none of {", ".join(_IMAGES)}.'
            f"{did_you_mean(unknown[0], _IMAGES)}"
        )
    return list(dict.fromkeys(found))


_IMAGES: tuple[Images, ...] = ("right", "blank", "shuffled")


def _task(name: str) -> Task:
    from chiasm.base.log import say
    from chiasm.evaluation.tasks import easy_vqa
    from chiasm.recipes.materials import materials

    return easy_vqa(*materials(name, say))


def _measure(name: str, task: Task, shown: Sequence[Images], options: Options) -> list[Result]:
    from chiasm.base.log import say
    from chiasm.evaluation.answers import answers
    from chiasm.evaluation.runner import run
    from chiasm.recipes.answering import engine_of
    from chiasm.recipes.loading import load

    model, processor = load(name)
    if processor.transform is None:
        raise UserError(
            f"{name} has no eyes, so there is nothing to measure: name a model that sees."
        )
    say(f"Asking {name} ...")
    engine = engine_of(model, processor)
    answer = answers(engine, processor, max_tokens=WORDS, batch=options.batch)
    try:
        return [
            run(task, answer, images=images, limit=options.limit, batch=options.batch)
            for images in shown
        ]
    finally:
        processor.close()


def _write_page(path: Path, task: Task, results: Sequence[Result]) -> None:
    from chiasm.base.files import write_atomic
    from chiasm.base.log import say
    from chiasm.evaluation.report import page

    write_atomic(path, page(results, task))
    say(f"Wrote {path}.")


def _print(results: dict[str, list[Result]]) -> None:
    from rich.console import Console

    from chiasm.evaluation.report import plain, table

    if len(results) > 1:
        print(side_by_side(results))
        return
    (only,) = results.values()
    if sys.stdout.isatty():
        Console().print(table(only))
    else:
        print(plain(only))


def side_by_side(results: dict[str, list[Result]]) -> str:
    """Return a table of accuracies: a row per group of questions, a column per model and picture."""
    from chiasm.evaluation.report import heads, lines, notes, title

    flat = [result for several in results.values() for result in several]
    models = [f"{letter}" for letter, _ in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", results, strict=False)]
    named = [f"{m} {r.images}" for m, rs in zip(models, results.values(), strict=True) for r in rs]
    named += heads(flat)[len(flat) :]
    rows = [["", "questions", *named]]
    for line in lines(flat):
        cells = (f"{share.accuracy:.4f}" if share.count else "–" for share in line.shares)
        rows.append([line.name, f"{line.shares[0].count:,}", *cells])
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    body = (
        "  ".join(
            f"{c:>{w}}" if i else f"{c:<{w}}" for i, (c, w) in enumerate(zip(r, wide, strict=True))
        )
        for r in rows
    )
    legend = (f"{letter} = {name}" for letter, name in zip(models, results, strict=True))
    return "\n".join([title(flat), "", *body, "", *legend, *notes(flat)[:-1]])
