"""The straight line of a curation: what is finished is never done again.

    settings ─► stage by record, in shards ─► stage over the whole ─► ... ─► plan ─► shards ─► receipts
                      │  engine.spread             │ here                     │  engine.spread
                      └────────────── work/: what a killed run left, checked ─┘

The same command goes on after a kill at any moment, and comes to the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiasm.base.config import as_record, differences
from chiasm.base.errors import UserError
from chiasm.base.files import make_folders, sole_holder, sweep, write_atomic, write_errors
from chiasm.base.log import Progress
from chiasm.data.curation import engine, output, receipts
from chiasm.data.curation.recipe import Recipe, placed, what
from chiasm.data.curation.records import Opener
from chiasm.data.curation.stage import Bench, Job, Toolmaker, over_all
from chiasm.data.shards import INDEX, Shard, manifest_hash

RECIPE = "recipe.json"
"""What a folder was begun with."""


@dataclass(frozen=True)
class Outcome:
    """What a curation came to."""

    out: Path
    manifest: str
    """SHA-256 of the index: equal sources and settings give equal ones."""
    ledger: Mapping[str, Any]
    seconds: float

    @property
    def chief_reason(self) -> str:
        """Why most of the dropped records were dropped, in one sentence; empty when none was."""
        dropped = self.ledger["n_dropped"]
        counts = [(n, step, why) for step, found in dropped.items() for why, n in found.items()]
        if not counts:
            return ""
        count, step, why = max(counts, key=lambda each: each[0])
        return f"{count:,} fell to {step} ({self.ledger['reasons'][step][why]})"

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        counts = {name: self.ledger[name] for name in ("n_in", "n_kept", "n_dropped")}
        return {"folder": str(self.out), "manifest": self.manifest, **counts}


def curate(
    recipe: Recipe,
    out: Path,
    opener: Opener,
    tools: Toolmaker,
    say: Callable[[str], object] = lambda line: None,
    spread: engine.Spread = engine.spread,
) -> Outcome:
    """Curate into a folder, or go on with one, and return what it came to.

    opener, tools  functions that can be imported, for every process to call
    spread         does tasks, in any order and anywhere; the recipe's engine by default

    Raises UserError for sources that cannot be opened, steps that lack a tool, another recipe in the same
    folder, a full disk.
    """
    began = time.monotonic()
    job = Job(_placed(recipe), Path(out).absolute(), opener, tools)
    bench = Bench(job)
    try:
        _check(bench)
        with write_errors(job.out):
            make_folders(job.work)
        with sole_holder(job.work / "lock") as other:
            if other is not None:
                raise UserError(f"Process {other} is working on {out} already.")
            _same_recipe(bench)
            if not (job.out / INDEX).is_file():
                _work(bench, say, spread)
            else:
                say(f"{out} is finished; nothing is left to do.")
        counts = json.loads((job.out / "ledger.json").read_text("utf-8"))
        return Outcome(Path(out), manifest_hash(job.out), counts, time.monotonic() - began)
    finally:
        bench.close()


def _placed(recipe: Recipe) -> Recipe:
    """The recipe with paths that hold in any folder; names of sources that are no paths stay."""
    sources = tuple(
        str(Path(name).absolute()) if Path(name).exists() else name for name in recipe.sources
    )
    return placed(recipe).model_copy(update={"sources": sources})


def _check(bench: Bench) -> None:
    """Let sources and steps say what is wrong before any work."""
    _ = bench.steps
    if not len(bench.reader):
        raise UserError(f"{', '.join(bench.job.recipe.sources)}: there is nothing to curate in it.")


def _same_recipe(bench: Bench) -> None:
    """Remember what the folder is begun with, or refuse to go on with something else."""
    path = bench.job.work / RECIPE
    asked = {
        "recipe": what(bench.job.recipe),
        "shard_records": bench.job.recipe.shard_records,
        "sources": [as_record(each) for each in bench.reader.origins()],
    }
    if not path.exists():
        if (bench.job.out / INDEX).exists():
            raise UserError(f"{bench.job.out} holds shards already; name a new folder with --out.")
        write_atomic(path, json.dumps(asked, indent=1, sort_keys=True) + "\n")
        return
    try:
        known = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise UserError(f"{path} is damaged; name a new folder with --out.") from None
    if different := differences(asked, known):
        raise UserError(
            f"{bench.job.out} was begun with another recipe or other sources ({', '.join(different[:5])}): "
            "name a new folder with --out, or repeat the first command."
        )


# ---- the work ----------------------------------------------------------------------------------


def _work(bench: Bench, say: Callable[[str], object], spread: engine.Spread) -> None:
    for folder in (bench.job.out, bench.job.work, *bench.job.work.iterdir()):
        sweep(folder)  # what a killed process left half-written
    for stage in bench.stages:
        if stage.whole:
            told = over_all(bench, stage.number)
            say(
                f"{bench.names[stage.first]}: {told['n_kept']:,} of {told['n_in']:,} records are kept."
            )
        else:
            _by_record(bench, stage.number, spread)
    shards = _written(bench, spread)
    receipts.write(bench)
    output.write_manifest(bench, shards)


def _by_record(bench: Bench, number: int, spread: engine.Spread) -> None:
    """Do all shards of a stage by record."""
    tasks = [{"do": "stage", "stage": number, "shard": shard} for shard in range(bench.shards)]
    done = kept = 0
    began = time.monotonic()
    with Progress("records", len(bench.reader)) as progress:
        for task, told in spread(bench.job, tasks):
            done += len(bench.span(task["shard"]))
            kept += told["n_kept"]
            speed = done / max(1e-9, time.monotonic() - began)
            progress.update(done, {"kept": kept, "records/s": speed})


def _written(bench: Bench, spread: engine.Spread) -> list[Shard]:
    """Write the files of the result, and return them in their order."""
    plan = output.make_plan(bench)
    tasks = [
        {"do": "write", "split": split, "file": file}
        for split in output.SPLITS
        for file in range(plan["files"][split])
    ]
    found = []
    with Progress("shards", len(tasks)) as progress:
        for _, told in spread(bench.job, tasks):
            found.append(Shard(**told))
            progress.update(len(found))
    order = {name: place for place, name in enumerate(output.SPLITS)}
    return sorted(found, key=lambda shard: (order[shard.file.split("/")[0]], shard.file))
