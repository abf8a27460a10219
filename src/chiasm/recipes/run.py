"""A run, from settings to a model folder: the straight line.

    settings ─► folder, lock ─► parts ─► data ─► who learns ─► trainer ─► fit ─► runs/NAME/model

The same command starts a run, goes on with an interrupted one, and says when it is done.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chiasm import __version__
from chiasm.base import log
from chiasm.base.config import as_record, differences, from_record
from chiasm.base.device import pick_device, pick_dtype, reason
from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic
from chiasm.checkpoint.state import run_lock
from chiasm.data.loader import PackingLoader
from chiasm.data.sources import Source
from chiasm.inputs.batch import pack
from chiasm.recipes.answering import answerer
from chiasm.recipes.loading import save_trained
from chiasm.recipes.materials import materials
from chiasm.recipes.observers import Ledger, Log, Look, Speak
from chiasm.recipes.parts import Assembled, assemble
from chiasm.recipes.settings import Run
from chiasm.training.looking import Looking
from chiasm.training.next_token import NextToken
from chiasm.training.optim import Learner
from chiasm.training.trainer import Trainer

RECORD = "run.json"
METER_RECORDS = 16
"""Held-out records that the looking meter reads."""
METER_QUESTIONS = 3
"""Questions of each of them, spread over the record."""
SAMPLE_RECORDS = 4
"""Held-out records that the model answers about on its way."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    folder: Path
    step: int
    finished: bool


def train(run: Run, root: Path = Path("runs")) -> Outcome:
    """Do a run, or what is left of it; Ctrl-C saves and returns an unfinished outcome.

    Errors: UserError when the folder holds a run with other settings.
    """
    folder = root / run.name
    with run_lock(folder):
        check_same(folder, run)
        if (folder / "model").exists():
            log.say(f"{folder} is finished; give another --name to train again.")
            return Outcome(folder, run.train.steps, True)
        with prepared(run, folder) as (trainer, assembled):
            finished = trainer.fit()
            if finished:
                save_trained(
                    assembled, run, folder / "model", {"run": run.name, "steps": trainer.step}
                )
            return Outcome(folder, trainer.step, finished)


@contextmanager
def prepared(run: Run, folder: Path) -> Iterator[tuple[Trainer, Assembled]]:
    """Build everything that a run needs, take back its newest checkpoint, and tidy up after the body."""
    device = pick_device()
    dtype = pick_dtype(run.dtype, device)
    log.say(reason(device, dtype))
    assembled = assemble(run.model, dtype, run.seed, log.say, run.lora)
    taught, held = materials(run.data.source, log.say, run.data.cache)
    learner = Learner(assembled.model, run.learn, run.schedule, run.train.steps)
    assembled.model.to(device)
    loader = make_loader(run, taught, assembled, Ledger(folder / "skipped.jsonl"))
    trainer = Trainer(assembled.model, NextToken(), learner, loader, run.train, folder)
    start = trainer.resume()
    write_atomic(folder / RECORD, json.dumps(record(run, assembled, learner), indent=2) + "\n")
    announce(run, learner, start)
    try:
        with (
            log.Metrics.open(folder / "metrics.jsonl", start) as metrics,
            log.Progress(run.name, run.train.steps, start) as progress,
        ):
            trainer.observers = observers(run, assembled, held, metrics, progress)
            yield trainer, assembled
    finally:
        assembled.processor.close()


def make_loader(
    run: Run, source: Source, assembled: Assembled, refused: Callable[[str, str], None]
) -> PackingLoader:
    """The loader of a run's training data."""
    processor = assembled.processor
    processor.decode_with(run.data.load.workers)
    return PackingLoader(
        source,
        processor.renderer,
        processor.pixels_of,
        run.data.load,
        refused=refused,
    )


def observers(
    run: Run, assembled: Assembled, held: Source, metrics: log.Metrics, progress: log.Progress
) -> list[Any]:
    """The looking meter, the samples, and last the log, which writes what the others found."""
    processor = assembled.processor
    records = [held[i] for i in range(min(METER_RECORDS, len(held)))]
    asked = [record[i] for record in records for i in _spread(len(record), METER_QUESTIONS)]
    rendered = [processor.renderer.render(sample) for sample in asked]
    meter = Looking(NextToken(), [pack(rendered, processor.pixels_of)])
    samples = [record[i % len(record)] for i, record in enumerate(records[:SAMPLE_RECORDS])]
    answer = answerer(assembled.model, processor, max_tokens=32, packed=False)
    return [
        Look(meter, run.train.look_every),
        Speak(samples, answer, metrics, run.train.sample_every),
        Log(metrics, progress),
    ]


def _spread(length: int, count: int) -> list[int]:
    """At most `count` places spread evenly over a list: neighbours in a record are often of a kind."""
    return sorted({i * length // count for i in range(count)})


def check_same(folder: Path, run: Run) -> None:
    """Refuse to go on with a run under other settings than it began with."""
    path = folder / RECORD
    if not path.exists():
        return
    try:
        began = from_record(Run, json.loads(path.read_text())["settings"], str(path))
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}); give another --name, or remove {folder}."
        ) from None
    changed = differences(began, run)
    if changed:
        raise UserError(
            f"{folder} holds a run with other settings ({', '.join(changed)}): repeat them to go on with it, "
            "or give another --name to begin a new one."
        )


def record(run: Run, assembled: Assembled, learner: Learner) -> dict[str, Any]:
    """The whole record of a run: what runs/NAME/run.json holds."""
    return {
        "settings": as_record(run),
        "versions": {
            "chiasm": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "git": _commit(),
        "parts": {
            name: {"source": part.source, "tensors": len(part.tensors)}
            for name, part in assembled.provenance.items()
        },
        "learning": {name: parameter.numel() for name, parameter in learner.learning.items()},
    }


def _commit() -> str | None:
    """The commit that the code stands at, when it runs from a checkout."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() or None
    return None


def announce(run: Run, learner: Learner, start: int) -> None:
    """Say what learns, how fast, and where the run begins."""
    counts: dict[str, int] = {}
    for name, (pattern, _) in learner.rows.items():
        counts[pattern] = counts.get(pattern, 0) + learner.parameters[name].numel()
    for pattern, rate in run.learn:
        fate = "frozen" if rate is None else f"learns at {rate.peak:g} ({rate.update})"
        log.say(f"  {pattern:<18} {counts[pattern] / 1e6:8.2f} M parameters, {fate}")
    if start:
        log.say(f"Going on from step {start} of {run.train.steps}.")
