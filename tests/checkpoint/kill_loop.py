"""Saves as fast as it can in a child, kills the child at random moments, looks at what is left.

    python kill_loop.py FOLDER ROUNDS  ->  a JSON line per round: {"step": found, ...}

A program of its own, started once: it forks, and a test runner with threads should not.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from chiasm.base import files
from chiasm.checkpoint.state import latest_state, load_state, run_lock, save_state


def state_of(step: int) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, int]]:
    """A state every part of which shows its step."""
    tensors = {
        group: {f"w{n}": torch.full((400 * (n + 1),), step, dtype=torch.int64) for n in range(6)}
        for group in ("model", "optimizer")
    }
    return tensors, {"step": step}


def train(run: Path) -> None:
    with run_lock(run):
        path = latest_state(run / "checkpoints")
        step = load_state(path)[1]["step"] if path else 0
        while True:
            step += 1
            save_state(run / "checkpoints", step, *state_of(step))
            print(step, file=sys.stderr, flush=True)


def look(run: Path) -> dict[str, object]:
    told: list[str] = []
    with run_lock(run):
        path = latest_state(run / "checkpoints", told.append)
    step, whole = 0, True
    if path is not None:
        tensors, record = load_state(path)
        step = record["step"]
        wanted = state_of(step)[0]
        whole = all(
            torch.equal(tensors[group][name], tensor)
            for group, named in wanted.items()
            for name, tensor in named.items()
        )
    litter = [item.name for item in (run / "checkpoints").glob(".*")]
    return {"step": step, "whole": whole, "told": told, "litter": litter}


def main(run: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(rounds)
    files.make_folders(run / "checkpoints")
    for _ in range(rounds):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(writer, 2)
            train(run)
        os.close(writer)
        with os.fdopen(reader, "rb") as reported:
            first, began = reported.readline(), time.monotonic()
            lines = [first, *(reported.readline() for _ in range(chance.randint(1, 4)))]
            # However slow the disk: at a moment within the next two saves.
            time.sleep(chance.uniform(0, 2 * (time.monotonic() - began) / (len(lines) - 1)))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines += reported.read().split(b"\n")
        finished = max(int(line) for line in lines if line.strip().isdigit())
        print(json.dumps({**look(run), "finished": finished}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
