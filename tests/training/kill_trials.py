"""A small run, killed at random moments and started again by the same command; prints what came out.

    fork ─► a process that trains in FOLDER ── kill -9 after a random while ──► fork again, same FOLDER …

The libraries are imported once; every trial is a fork, so ten of them take seconds. A trial that ends
before its kill is a finished run: its weights are noted, and the kills go on in a new folder. The
while is counted in the child's own processor time, so that a busy machine does not kill it at birth.

    python tests/training/kill_trials.py FOLDER KILLS     prints {"whole": …, "ends": […], "kills": …}
"""

from __future__ import annotations

import contextlib
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

from chiasm.checkpoint.state import run_lock
from chiasm.testing import toy_crossed

STEPS = 30


def train(folder: Path) -> None:
    """The command: start a run, or go on with it; at its end write down a hash of everything."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    with run_lock(folder):
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
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder)
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> float:
    """Wait for a child that must succeed; return the processor time that it took, in seconds."""
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"a run ended with status {status}")
    return used.ru_utime + used.ru_stime


def killed(child: int, work: float, pause: float) -> bool:
    """Kill a child `pause` seconds after it has done so much work; False when it was done before."""
    while worked(child) < work:
        time.sleep(0.002)
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    time.sleep(pause)  # also into the waits for the disk, which are no work
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def worked(child: int) -> float:
    """Processor time of a running child, in seconds, to a hundredth."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def trials(root: Path, kills: int) -> dict[str, object]:
    """Kill so many runs; return the hash of the undisturbed run and those of all others."""
    draw = random.Random(0)
    with contextlib.redirect_stdout(sys.stderr):
        train(root / "warm")  # what torch imports at its first step is paid here, once
    whole = root / "whole"
    lasted = ended(forked(whole))
    ends, landed, number, held = [], 0, 0, []
    while landed < kills:
        folder = root / f"run-{number}"
        if killed(forked(folder), draw.uniform(0, lasted / 2), draw.uniform(0, 0.02)):
            landed += 1
            held.append(len(list((folder / "checkpoints").glob("step-*"))))
        if (folder / "end.txt").exists():
            ends.append((folder / "end.txt").read_text())
            number += 1
    ended(forked(root / f"run-{number}"))
    ends.append((root / f"run-{number}" / "end.txt").read_text())
    left = [str(path.relative_to(root)) for path in root.glob("*/checkpoints/.*")]
    expected = (whole / "end.txt").read_text()
    return {"whole": expected, "ends": ends, "kills": landed, "checkpoints": held, "left": left}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork must not inherit a pool of threads
    print(json.dumps(trials(Path(sys.argv[1]), int(sys.argv[2]))))
