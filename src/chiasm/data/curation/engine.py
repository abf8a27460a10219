"""Many processes, one result: pieces of work go through Daft, on this machine or on a Ray cluster.

    tasks ──► a Daft dataframe of one task a row ──► Hand, in a process of its own ──► answers
                                                       │ models are built once in each
                                                       └ an error comes back as a sentence, never as a null

The order in which pieces are finished is anybody's guess; nothing depends on it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.curation.output import write
from chiasm.data.curation.recipe import Recipe
from chiasm.data.curation.stage import Bench, Job, by_record

SILENCED = {
    "DO_NOT_TRACK": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What Daft and Ray would report about us, or draw over our own progress; the user's choice wins."""

Task = Mapping[str, Any]
"""{"do": "stage", "stage": 0, "shard": 7} or {"do": "write", "split": "train", "file": 7}."""
Spread = Callable[[Job, Sequence[Task]], Iterator[tuple[Task, dict[str, Any]]]]
"""Does tasks and yields each with what came of it."""


class Hand:
    """Does tasks, one after another; Daft makes one in each of its processes."""

    def __init__(self, job: Job, home: int) -> None:
        """`home` is the number of the process that was asked for the whole."""
        self.job = job
        self._bench: Bench | None = None
        if home != os.getpid():
            _obey(job)

    def __call__(self, task: str) -> str:
        """Do a task and return what came of it, or what went wrong, as JSON."""
        try:
            self._bench = self._bench or Bench(self.job)
            return json.dumps({"task": json.loads(task), "done": do(self._bench, json.loads(task))})
        except UserError as error:
            return json.dumps({"error": str(error)})
        except Exception:
            return json.dumps({"fault": traceback.format_exc()})


def _obey(job: Job) -> None:
    """End this process when the one that was asked ends, or says so; Ctrl-C is for that one alone.

    At any moment: what is half done has no name yet.
    """
    above, stop = os.getppid(), _stop(job)

    def watch() -> None:
        while os.getppid() == above and not stop.exists():
            time.sleep(0.1)
        os._exit(1)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


def _stop(job: Job) -> Path:
    """The file that tells all processes to end."""
    return job.work / "stop"


def do(bench: Bench, task: Task) -> dict[str, Any]:
    """Do one task and return what came of it."""
    if task["do"] == "stage":
        return by_record(bench, task["stage"], task["shard"])
    return asdict(write(bench, task["split"], task["file"]))


def spread(job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Do tasks on a recipe's engine and yield each with what came of it, in any order.

    Raises UserError for what is wrong with the input, the disk or the installation.
    """
    if not tasks:
        return
    with _environment(), _interrupts() as interrupted, _ending(job):
        daft = _daft(job.recipe)
        count = min(_count(job.recipe), len(tasks))
        hand = daft.cls(Hand, use_process=True, max_concurrency=count)(job, os.getpid())
        rows = daft.from_pydict({"task": [json.dumps(task) for task in tasks]}).into_batches(1)
        left = len(tasks)
        with _sentences(interrupted):
            for row in rows.select(hand(rows["task"]).alias("answer")).iter_rows():
                answer = _answer(row["answer"])
                left -= 1
                yield answer["task"], answer["done"]
        if left:
            raise RuntimeError(f"Daft ended with {left} of {len(tasks)} tasks undone")


@contextmanager
def _ending(job: Job) -> Iterator[None]:
    """If the body fails, end the processes that work, and wait until Daft has noticed.

    Python must not end while a thread of Daft waits for an answer: the system would abort the whole.
    """
    _stop(job).unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # a full disk, perhaps; they also end when we do
            _stop(job).touch()
        late = time.monotonic() + 5.0
        while time.monotonic() < late and any(map(_waits, sys._current_frames().values())):
            time.sleep(0.01)
        raise


def _waits(frame: FrameType | None) -> bool:
    """Whether a thread is inside of Daft's code that speaks to a process."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "daft.execution.udf":
            return True
        frame = frame.f_back
    return False


def _answer(text: str) -> dict[str, Any]:
    """Return what came of a task, or raise what went wrong in its process."""
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        raise UserError(answer["error"])
    if "fault" in answer:
        raise RuntimeError(f"a step of curation failed:\n{answer['fault']}")
    return answer


@contextmanager
def _sentences(interrupted: Callable[[], bool]) -> Iterator[None]:
    """Tell Ctrl-C, and a process of ours that was ended from outside, from faults.

    Daft stops by itself at Ctrl-C, and lets nobody know.
    """
    try:
        yield
    except RuntimeError as error:
        if "UDF process" in str(error) and not interrupted():
            raise UserError(
                "A process of this curation was ended from outside, perhaps for its memory: repeat the "
                "command with fewer --workers; what is finished stays."
            ) from None
        if not interrupted():
            raise
    if interrupted():
        raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C came during the body; a second one is as ever."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment() -> Iterator[None]:
    """Quiet libraries, and child processes that find the modules we find, and none in the current folder."""
    wanted = {name: os.environ.get(name, value) for name, value in SILENCED.items()}
    wanted |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _daft(recipe: Recipe) -> Any:
    """Daft, set to run where the recipe says."""
    try:
        import daft
    except ImportError:
        raise UserError(
            "Curation needs Daft, which is not installed: pip install 'chiasm[data]'"
        ) from None
    if recipe.engine == "ray":
        _join_cluster(recipe)
    wanted = "ray" if recipe.engine == "ray" else "native"
    try:
        (daft.set_runner_ray if wanted == "ray" else daft.set_runner_native)()
    except daft.exceptions.DaftCoreException:
        if daft.get_or_infer_runner_type() != wanted:
            raise UserError(
                "Daft has worked on another engine in this process already: start a new one for "
                f'engine "{recipe.engine}".'
            ) from None
    return daft


def _join_cluster(recipe: Recipe) -> None:
    """Connect to a Ray cluster, or start one of this machine alone, which ends with this process."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "A cluster needs Ray, which is not installed: pip install 'chiasm[ray]'"
        ) from None
    if ray.is_initialized():
        return
    alone: dict[str, Any] = {"num_cpus": _processors(recipe), "include_dashboard": False}
    try:
        ray.init(
            address=recipe.address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if recipe.address else alone),
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"No Ray cluster answers at {recipe.address or 'home'} ({told}).") from None


def _processors(recipe: Recipe) -> int:
    """How many processes work at a time on this machine."""
    if sys.platform == "linux":
        return recipe.workers or len(os.sched_getaffinity(0))
    return recipe.workers or os.cpu_count() or 1


def _count(recipe: Recipe) -> int:
    """How many processes work at a time, on all machines."""
    if recipe.engine == "ray" and recipe.address and not recipe.workers:
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))
    return _processors(recipe)
