"""Two programs that do the same work, turn about, on a quiet machine: how many times faster is ours?

    parent ─ "go" ─► ours  ······ seconds        each side is a process of its own, with pinned threads;
           ─ "go" ─► peer  ······ seconds        it loads once, warms up, and works when it is told to
           ─ "go" ─► ours  ······ seconds  ✗     another program used the processor meanwhile:
           ─ "go" ─► ours  ······ seconds        that run is void and done again
                     peer …

One ratio per round, peer's seconds / ours; the median and the range of the rounds is the result.
Absolute times are not printed: on a shared machine they mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Build = Callable[[Case], tuple[Callable[[], None], dict[str, Any]]]
"""Makes the work of one side, and facts about it that both sides are compared by."""

SIDES = ("ours", "peer")
PAUSE = 0.3
"""Seconds between two runs: idle OpenMP threads spin for a while before they sleep."""
LOOK = 0.5
"""Seconds over which the machine must have been quiet before a run begins."""
VOIDS_PER_RUN = 4
"""A case is given up when so many times more runs were void than were needed."""


@dataclass
class Result:
    """What a case came to."""

    case: Case
    facts: dict[str, dict[str, Any]]
    ratios: list[float] = field(default_factory=list)
    voids: int = 0

    def line(self) -> str:
        name = ", ".join(f"{key} {value}" for key, value in self.case.items())
        if not self.ratios:
            return f"{name}: not measured, all {self.voids} runs met foreign load"
        low, high = min(self.ratios), max(self.ratios)
        return (
            f"{name}: {statistics.median(self.ratios):.2f}x "
            f"({low:.2f} to {high:.2f} in {len(self.ratios)} rounds; {self.voids} void runs)"
        )

    def record(self) -> dict[str, Any]:
        middle = statistics.median(self.ratios) if self.ratios else None
        return asdict(self) | {"median": middle}


def main(
    script: str, cases: Sequence[Case], sides: Mapping[str, Build], note: str, bound: bool = True
) -> int:
    """The whole command line of a benchmark.

    bound  each thread keeps to a core; not for sides that start processes or threads of their own, which
           would all inherit the first thread's one core
    """
    parser = argparse.ArgumentParser(description=note)
    parser.add_argument("--rounds", type=int, default=5, help="valid rounds per case")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side, pinned")
    parser.add_argument(
        "--foreign",
        type=float,
        default=0.15,
        help="cores that other programs may use during a run before it is void",
    )
    parser.add_argument(
        "--patience", type=float, default=60, help="seconds to wait for a quiet moment before a run"
    )
    parser.add_argument("--only", default="", help="cases whose description holds this text")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.bound = bound
    if given.work:
        work(sides, json.loads(given.work))
        return 0
    wanted = [case for case in cases if given.only in json.dumps(case)]
    results = []
    if not given.json:
        print(note)
    for case in wanted:
        results.append(duel(script, case, given))
        if not given.json:
            for side, facts in results[-1].facts.items():
                print(f"  {side}: {', '.join(f'{k} {v}' for k, v in facts.items())}")
            print(results[-1].line(), flush=True)
    if given.json:
        print(json.dumps({"note": note, "cases": [result.record() for result in results]}))
    return 0 if all(result.ratios for result in results) else 1


def duel(script: str, case: Case, given: argparse.Namespace) -> Result:
    """Let both sides work in turn until there are enough rounds without foreign load."""
    with (
        worker(script, "ours", case, given) as ours,
        worker(script, "peer", case, given) as peer,
    ):
        both = (ours, peer)
        result = Result(case, {one.side: one.facts for one in both})
        while len(result.ratios) < given.rounds:
            seconds = []
            for one in both:
                wait_for_quiet(given.foreign, given.patience)
                while (run := one.run()).foreign > given.foreign:
                    result.voids += 1
                    if result.voids > VOIDS_PER_RUN * 2 * given.rounds:
                        return result
                    wait_for_quiet(given.foreign, given.patience)
                seconds.append(run.seconds)
            result.ratios.append(seconds[1] / seconds[0])
    return result


# ---- the parent's end ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One timed piece of work."""

    seconds: float
    foreign: float
    """Cores that everybody else used meanwhile."""


class Worker:
    """One side, in its own process."""

    def __init__(self, side: str, process: subprocess.Popen[str]) -> None:
        self.side, self.process = side, process
        self.facts = self._answer()

    def run(self) -> Run:
        """Let it work once."""
        time.sleep(PAUSE)
        began, busy, own = time.perf_counter(), busy_seconds(), self._own_seconds()
        print("go", file=self.process.stdin, flush=True)
        seconds = self._answer()["seconds"]
        passed = time.perf_counter() - began
        others = (busy_seconds() - busy) - (self._own_seconds() - own)
        return Run(seconds, max(0.0, others) / passed)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.side} side ended early; run it alone to see why")
        return json.loads(line)

    def _own_seconds(self) -> float:
        return seconds_of_tree(self.process.pid)


def seconds_of_tree(pid: int) -> float:
    """Seconds of processor that a process used, and the processes that it started, ended ones too."""
    used: dict[int, int] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        parents[int(path.parent.name)] = int(fields[1])
        used[int(path.parent.name)] = sum(map(int, fields[11:15]))  # own, and of ended children
    family, known = set[int](), {pid}
    while known != family:
        family, known = known, known | {one for one, by in parents.items() if by in known}
    return sum(used.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Seconds of all processors that were used by anybody, those stolen by other machines included."""
    user, nice, system, _idle, _wait, irq, soft, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(foreign: float, patience: float) -> None:
    """Wait for a moment in which nobody computes, but not for ever: a run tells for itself."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        began, busy = time.perf_counter(), busy_seconds()
        time.sleep(LOOK)
        if busy_seconds() - busy <= foreign * (time.perf_counter() - began):
            return


@contextmanager
def worker(script: str, side: str, case: Case, given: argparse.Namespace) -> Iterator[Worker]:
    pinned = {
        "OMP_NUM_THREADS": str(given.threads),
        "OMP_PROC_BIND": "close" if given.bound else "false",
        "OMP_PLACES": "cores",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    process = subprocess.Popen(
        [sys.executable, script, "--work", json.dumps({"side": side, "case": case})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | pinned,
        text=True,
    )
    try:
        yield Worker(side, process)
    finally:
        process.kill()
        process.wait()


# ---- the worker's end ----------------------------------------------------------------------------


def work(sides: Mapping[str, Build], told: dict[str, Any]) -> None:
    """Build one side, warm it up, then time it whenever a line comes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    once, facts = sides[told["side"]](told["case"])
    for _ in range(2):
        once()
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        once()
        print(json.dumps({"seconds": time.perf_counter() - began}), file=answers, flush=True)
