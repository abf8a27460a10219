"""`chiasm render`: pictures whose truth is known, with questions, into shards."""

from __future__ import annotations

import json as json_
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read

if TYPE_CHECKING:
    from chiasm.data.render.drawn import Kind
    from chiasm.data.render.runner import Job

ABOUT = """Draw pictures whose truth is known, with questions and checked answers, into shards.

Examples:
  chiasm render --list                                  every kind, and what it draws
  chiasm render scenes --count 10000 --out scenes       shards that train and measure models
  chiasm render scenes --samples look.html              a page with a few pictures and questions
  chiasm render charts --from data:vega-datasets        charts of real tables
  chiasm render scenes --from data:tuxpaint --from stamps  scenes of real pictures and of your own
  chiasm render documents --from book.txt               pages of your own text

Picture number i depends on the kind, the seed and i alone: any number of processes writes the same bytes,
and a command that was stopped goes on where it was."""

OWN = "CC0-1.0"
"""Licence of pictures that are drawn from chance alone."""
SHOWN = 12
"""Pictures on a page of samples."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm render`."""

    names: Words = ()
    """The kind of pictures."""
    count: int = 1000
    """How many."""
    seed: int = 0
    """Another seed gives other pictures."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Where the shards go; runs/render-KIND when it is left out."""
    processes: int = 2
    """Processes that draw at once."""
    from_: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(name="from", metavar="SOURCE", help_behavior_hint=""),
    ] = ()
    """What to draw from, once for each: a collection (data:NAME) or a path. Charts take tables, documents
    texts, scenes cut-outs: pictures with a transparent ground, named by what they show."""
    licence: str = ""
    """SPDX identifier to write into the shards; by default that of what is drawn from, else CC0-1.0."""
    samples: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write a page with a few pictures, and no shards."""
    list: Flag = False
    """Show every kind."""
    json: Flag = False
    """Print what was made as JSON for programs."""


def main(words: list[str]) -> int:
    """Draw what the words name."""
    options = read("chiasm render", words, Options(), ABOUT)
    if options.list:
        return _list(options.json)
    if len(options.names) != 1:
        raise UserError("Name one kind of pictures; chiasm render --list shows them.")
    for name, value in (("count", options.count), ("processes", options.processes)):
        if value < 1:
            raise UserError(f"--{name} is {value}, but must be at least 1.")
    from chiasm.base.log import keep_stdout_clean
    from chiasm.data.render.kinds import kind_of

    if options.json:
        keep_stdout_clean()
    kind = kind_of(options.names[0])
    job = _job(kind, options)
    if options.samples is not None:
        return _page(job, options.samples)
    return _shards(job, options.out or Path("runs") / f"render-{kind.name}", options)


def _job(kind: Kind, options: Options) -> Job:
    """The pictures to draw, with what they are drawn from and its licence."""
    from chiasm.base.log import say
    from chiasm.data.render.runner import Job
    from chiasm.data.render.stock import stocked

    if not (options.from_ or kind.usual):
        return Job(kind, options.count, options.seed, licence=options.licence or OWN)
    stock = stocked(kind, options.from_, say)
    licence, by_source = options.licence or stock.licence, stock.by_source
    if options.licence:
        by_source = {}
    elif stock.part == "tables":
        licence = OWN  # of what is invented; each table has its own
    elif not licence:
        say("Nothing says under which licence this is: name one with --licence.")
    library = {stock.part: stock.values}
    return Job(kind, options.count, options.seed, library, licence, by_source, tuple(stock.sources))


def _list(json: bool) -> int:
    from chiasm.data.render.kinds import kinds

    known = kinds()
    if json:
        print(
            json_.dumps(
                {
                    name: {"does": k.does, "needs": k.needs, "from": k.draws_from}
                    for name, k in known.items()
                }
            )
        )
        return 0
    wide = max(map(len, known))
    for name, kind in known.items():
        print(f"{name:<{wide}}  {kind.does}" + (f" (needs {kind.needs})" if kind.needs else ""))
    return 0


def _page(job: Job, path: Path) -> int:
    from chiasm.base.files import write_atomic
    from chiasm.base.log import say
    from chiasm.data.render.page import page
    from chiasm.data.render.runner import draw

    shown = [draw(job, number) for number in range(min(SHOWN, job.count))]
    write_atomic(path, page(f"chiasm render {job.kind.name}, seed {job.seed}", shown))
    say(f"Wrote {path}.")
    return 0


def _shards(job: Job, folder: Path, options: Options) -> int:
    from chiasm.base.log import Progress, say
    from chiasm.data.render.runner import render

    began = time.monotonic()
    with Progress("pictures", job.count) as bar:
        manifest = render(job, folder, options.processes, bar.update)
    record = {
        "folder": str(folder),
        "kind": job.kind.name,
        "pictures": job.count,
        "seconds": round(time.monotonic() - began, 3),
        "manifest": manifest,
    }
    if options.json:
        print(json_.dumps(record))
    else:
        say(f"Wrote {job.count:,} pictures to {folder} in {record['seconds']:.1f} s.")
        say(f"Manifest hash: {manifest}")
    return 0
