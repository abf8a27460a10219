"""A small run, killed at random moments and started again by the same command; prints what came out.

    fork ─► a process that trains in FOLDER ── kill -9 after a random while ──► fork again, same FOLDER …

The libraries are imported once; every trial is a fork, so ten of them take seconds. A trial that ends
before its kill is a finished run: its weights are noted, and the kills go on in a new folder.

    python tests/training/kill_trials.py FOLDER KILLS     prints {"whole": …, "ends": […], "kills": …}
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from tests.training.toys import bits, everything, trainer_of

from chiasm.testing import toy_crossed

STEPS = 30


def train(folder: Path) -> None:
    """The command: start a run, or go on with it; at its end write down a hash of everything."""
    trainer = trainer_of(toy_crossed(), folder, steps=STEPS, save_every=2)
    trainer.resume()
    assert trainer.fit()
    digest = hashlib.sha256()
    for name, value in sorted(everything(trainer).items()):
        digest.update(name.encode() + bits(value))
    digest.update(
        torch.get_rng_state().numpy().tobytes() + json.dumps(trainer.loader.record()).encode()
    )
    (folder / "end.txt").write_text(digest.hexdigest())


def forked(folder: Path) -> int:
    """Start the command in a child; return its number."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder)
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> None:
    """Wait for a child that must succeed."""
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a run ended with status {status}")


def trials(root: Path, kills: int) -> dict[str, object]:
    """Kill so many runs; return the hash of the undisturbed run and those of all others."""
    draw = random.Random(0)
    began = time.monotonic()
    ended(forked(root / "whole"))
    whole, lasted = (root / "whole" / "end.txt").read_text(), time.monotonic() - began
    ends, landed, number, resumed = [], 0, 0, []
    while landed < kills:
        folder = root / f"run-{number}"
        child = forked(folder)
        time.sleep(draw.uniform(0, lasted / 3))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == signal.SIGKILL:
            landed += 1
            resumed.append(len(list((folder / "checkpoints").glob("step-*"))))
        if (folder / "end.txt").exists():
            ends.append((folder / "end.txt").read_text())
            number += 1
    ended(forked(root / f"run-{number}"))
    ends.append((root / f"run-{number}" / "end.txt").read_text())
    left = [path.name for path in root.glob("*/checkpoints/.*")]
    return {"whole": whole, "ends": ends, "kills": landed, "checkpoints": resumed, "left": left}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork must not inherit a pool of threads
    print(json.dumps(trials(Path(sys.argv[1]), int(sys.argv[2]))))
