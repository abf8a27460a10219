"""What a run says: lines for people, rows for programs, curves for TensorBoard, a progress bar."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from chiasm.base import files

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

BROKEN_PIPE = 141
"""Exit code when nobody reads our output any more: what a shell gives for SIGPIPE."""


class _Output:
    """Where lines go: one place, so that a progress bar and the lines above it do not collide."""

    to_stderr = False
    bar: Console | None = None


# ---- lines -------------------------------------------------------------------------------------


def say(text: str = "") -> None:
    """Print one line for people: on a terminal with numbers picked out, else plain and at once.

    When the reader has gone (`chiasm ... | head`) the program ends quietly with exit code 141.
    """
    if _Output.bar is not None:
        _print(_Output.bar, text)
        return
    stream = _stream()
    if _is_terminal(stream):
        _print(Console(file=stream), text)
        return
    with _quiet_when_unread(stream):
        # A terminal or pipe that knows fewer letters than we use still gets its line.
        known = stream.encoding or "utf-8"
        stream.write(text.encode(known, "replace").decode(known) + "\n")
        stream.flush()


def keep_stdout_clean() -> None:
    """Send every line and progress bar to stderr from now on, because stdout carries data."""
    _Output.to_stderr = True


def _stream() -> TextIO:
    return sys.stderr if _Output.to_stderr else sys.stdout


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _print(console: Console, text: str) -> None:
    # Brackets in a person's text are no markup, and long lines are the terminal's to wrap.
    console.print(text, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def _quiet_when_unread(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain there.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise SystemExit(BROKEN_PIPE) from None


# ---- rows --------------------------------------------------------------------------------------


class Metrics:
    """The numbers of a run: one JSON object a line in `metrics.jsonl`, and TensorBoard's files.

    A row reaches the system as it is written, so killing the program loses none; at most the line
    being written is torn, and `open` removes it. TensorBoard's files are in `tensorboard/` beside.
    """

    def __init__(self, path: Path, board: SummaryWriter | None) -> None:
        self.path = path
        self._board = board
        with files.write_errors(path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    @classmethod
    def open(cls, path: Path, resume_step: int | None = None) -> Metrics:
        """Open a run's metrics for more rows, without those after `resume_step` and torn lines.

        What a resumed run does again it also writes again; so its rows appear once, in order.
        Errors: UserError when the folder cannot be written.
        """
        path = Path(path)
        with files.write_errors(path):
            files.make_folders(path.parent)
            if path.exists():
                _cut(path, resume_step)
        return cls(path, _board(path.parent / "tensorboard", resume_step))

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the values of a step: numbers (also one-element tensors), words, true or false.

        JSON has no infinities; they are written as "NaN", "Infinity", "-Infinity".
        """
        plain = {name: _plain(value) for name, value in values.items()}
        self._line({"step": step, "time": round(time.time(), 3), **plain})
        for name, value in plain.items():
            if self._board is not None and _is_number(value):
                with files.write_errors(self.path):
                    self._board.add_scalar(name, float(value), step)

    def text(self, step: int, name: str, text: str) -> None:
        """Write a text, for instance an answer of the model; TensorBoard shows it as it is."""
        self._line({"step": step, "time": round(time.time(), 3), name: text})
        if self._board is not None:
            with files.write_errors(self.path):
                self._board.add_text(name, "\n".join("    " + x for x in text.split("\n")), step)

    def image(self, step: int, name: str, pixels: Any) -> None:
        """Show a picture [H, W, 3] of uint8 in TensorBoard; `metrics.jsonl` holds no pictures."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or str(pixels.dtype).split(".")[-1] != "uint8":
            raise ValueError(f"a picture is [H, W, 3] uint8, not {pixels.shape} {pixels.dtype}")
        if self._board is not None:
            with files.write_errors(self.path):
                self._board.add_image(name, pixels, step, dataformats="HWC")

    def sync(self) -> None:
        """Make all rows survive a power cut; called before a checkpoint that counts on them."""
        with files.write_errors(self.path):
            files.disk.sync(self.path)
            if self._board is not None:
                self._board.flush()

    def close(self) -> None:
        """Finish the files; twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if self._board is not None:
                self._board.close()

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, row: dict[str, Any]) -> None:
        data = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._file).st_size
        with files.write_errors(self.path):
            try:
                files.disk.append(self._file, data)
            except OSError:
                os.ftruncate(self._file, before)  # no half row in front of the next one
                raise


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _cut(path: Path, resume_step: int | None) -> None:
    """Remove damaged lines and rows after a step, and say how many."""
    *lines, torn = path.read_bytes().split(b"\n")
    kept, damaged, later = [], 1 if torn else 0, 0
    for line in lines:
        row = _row(line)
        if row is None:
            damaged += 1
        elif resume_step is not None and row.get("step", 0) > resume_step:
            later += 1
        else:
            kept.append(line + b"\n")
    if damaged or later:
        files.write_atomic(path, b"".join(kept))
        say(f"{path.name}: removed {later} rows after step {resume_step}, {damaged} torn lines.")


def _board(folder: Path, resume_step: int | None) -> SummaryWriter | None:
    """Open TensorBoard's files when it is installed; importing it takes torch along."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed (pip install 'chiasm[log]'): only metrics.jsonl.")
        return None
    purge = None if resume_step is None else resume_step + 1  # hide what will be done again
    return SummaryWriter(str(folder), purge_step=purge, flush_secs=10)


@runtime_checkable
class _Scalar(Protocol):
    """A number of numpy or torch, neither of which is imported here."""

    def item(self) -> Any: ...


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, _Scalar) else value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")


# ---- progress ----------------------------------------------------------------------------------


class Progress:
    """A bar on a terminal, else a plain line now and then; both show values and the time left."""

    def __init__(self, name: str, total: int, start: int = 0, every: float = 10.0) -> None:
        """`start` is the number of steps done before; `every` the seconds between plain lines."""
        self._name, self._total, self._first, self._every = name, total, start, every
        self._began = time.monotonic()
        self._told = -math.inf
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        stream = _stream()
        if _is_terminal(stream):
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            shown = TextColumn("{task.fields[shown]}", markup=False)
            self._bar = Bar(*columns, shown, console=Console(file=stream))
            self._bar.add_task(self._name, total=self._total, completed=self._first, shown="")
            self._bar.start()
            _Output.bar = self._bar.console
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = _Output.bar = None

    def update(self, step: int, values: Mapping[str, Any] | None = None) -> None:
        """Show that `step` steps are done, with the values of now (loss, images/s, ...)."""
        now = time.monotonic()
        shown = [f"{name} {_short(value)}" for name, value in (values or {}).items()]
        if step > self._first and step < self._total:
            left = (now - self._began) / (step - self._first) * (self._total - step)
            shown.append(f"{_duration(left)} left")
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, shown="  ".join(shown))
        elif now - self._told >= self._every or step == self._total:
            self._told = now
            say("  ".join([f"{self._name} {step}/{self._total}", *shown]))


def _short(value: Any) -> str:
    value = value.item() if isinstance(value, _Scalar) else value
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
