"""Lines, rows and progress: nothing is lost by a kill, nothing breaks in a pipe."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chiasm.base import files, log
from chiasm.base.errors import UserError
from chiasm.base.log import Metrics, Progress, say


@pytest.fixture
def no_board(monkeypatch):
    monkeypatch.setattr(log, "_board", lambda folder, resume_step: None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read_rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain(stream: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    """Call it in the test itself: pytest puts its own stdout back between fixture and test."""

    def make() -> Terminal:
        stream = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return make


# ---- lines -------------------------------------------------------------------------------------


def test_say_is_plain_in_a_pipe(capsys):
    say("a [bold]b[/bold] :smile: 3.5")
    say()
    assert capsys.readouterr().out == "a [bold]b[/bold] :smile: 3.5\n\n"


def test_say_keeps_brackets_and_long_lines_on_a_terminal(terminal):
    stream = terminal()
    say("[red] " + "word " * 60 + "3.5")
    assert plain(stream) == "[red] " + "word " * 60 + "3.5\n"
    assert stream.getvalue() != plain(stream)  # the number is picked out


def test_say_in_a_terminal_of_few_letters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("2 × 3 → 6")
    assert stream.buffer.getvalue() == b"2 ? 3 ? 6\n"


def test_data_on_stdout_is_not_mixed_with_lines(capsys, monkeypatch):
    monkeypatch.setattr(log._Output, "to_stderr", False)
    log.keep_stdout_clean()
    say("for people")
    with Progress("work", total=1) as progress:
        progress.update(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "for people\nwork 1/1\n"


def test_a_reader_that_goes_away_ends_the_program_quietly():
    code = "from chiasm.base.log import say\nfor n in range(100000): say(f'line {n}')"
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout.readline() == b"line 0\n"
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait(timeout=60) == log.BROKEN_PIPE


# ---- rows --------------------------------------------------------------------------------------


def test_rows_are_strict_json_in_order(tmp_path, no_board):
    path = tmp_path / "run" / "metrics.jsonl"
    with Metrics.open(path) as metrics:
        metrics.row(1, {"loss": torch.tensor(0.5), "speed": np.float32(2.0), "note": "é\n"})
        metrics.row(2, {"loss": float("nan"), "norm": float("inf"), "low": -float("inf")})
        metrics.text(2, "answer", "two\nlines")
        metrics.sync()

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    rows = [json.loads(x, parse_constant=refuse) for x in path.read_text().splitlines()]
    assert [row.pop("time") > 1e9 for row in rows] == [True] * 3
    assert rows == [
        {"step": 1, "loss": 0.5, "speed": 2.0, "note": "é\n"},
        {"step": 2, "loss": "NaN", "norm": "Infinity", "low": "-Infinity"},
        {"step": 2, "answer": "two\nlines"},
    ]
    assert np.isnan(float(rows[1]["loss"]))


def test_every_cut_of_the_file_reopens_to_whole_rows(tmp_path, no_board, capsys):
    path = tmp_path / "metrics.jsonl"
    with Metrics.open(path) as metrics:
        for step in range(3):
            metrics.row(step, {"loss": step / 2})
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with Metrics.open(path) as metrics:
            metrics.row(9, {"loss": 9.0})
        steps = [row["step"] for row in read_rows(path)]
        assert steps == [*range(sum(end <= length for end in ends)), 9], length
        assert path.read_bytes().count(b"\n") == len(steps)
    assert "1 torn lines" in capsys.readouterr().out


def test_a_resumed_run_writes_each_step_once(tmp_path, no_board, capsys):
    path = tmp_path / "metrics.jsonl"
    with Metrics.open(path) as metrics:
        for step in range(1, 8):
            metrics.row(step, {"loss": 1.0})
    with Metrics.open(path, resume_step=4) as metrics:
        for step in range(5, 9):
            metrics.row(step, {"loss": 2.0})
    rows = read_rows(path)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["loss"] for row in rows] == [1.0] * 4 + [2.0] * 4
    assert "removed 3 rows after step 4, 0 torn lines" in capsys.readouterr().out


def test_a_killed_writer_loses_no_finished_row(tmp_path):
    path = tmp_path / "metrics.jsonl"
    code = f"""
from pathlib import Path
from chiasm.base import log
log._board = lambda folder, step: None
metrics = log.Metrics.open(Path({str(path)!r}))
for step in range(10**9):
    metrics.row(step, {{"loss": 1.0}})
    if step % 100 == 0: print(step, flush=True)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    for _ in range(5):
        told = int(program.stdout.readline())
    program.send_signal(signal.SIGKILL)
    program.communicate()
    whole = path.read_text().rpartition("\n")[0]  # the last line may be torn
    steps = [json.loads(line)["step"] for line in whole.splitlines()]
    assert steps == list(range(len(steps)))
    assert len(steps) > told


def test_a_full_disk_is_told_and_leaves_no_half_row(tmp_path, no_board, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics.open(path)
    metrics.row(1, {"loss": 1.0})

    class Full(files.Disk):
        def append(self, descriptor, data):
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "disk", Full())
        with pytest.raises(UserError, match=r"metrics.jsonl: the disk is full\. Free some space"):
            metrics.row(2, {"loss": 2.0})
    metrics.row(3, {"loss": 3.0})
    metrics.close()
    metrics.close()
    assert [row["step"] for row in read_rows(path)] == [1, 3]


def test_tensorboard_shows_curves_texts_and_pictures_once(tmp_path):
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, :, 0] = 255
    with Metrics.open(tmp_path / "metrics.jsonl") as metrics:
        for step in (1, 2, 3):
            metrics.row(step, {"loss": 1.0 / step, "word": "x", "on": True})
        metrics.row(3, {"bad": float("nan")})
        metrics.text(3, "answer", "# not a heading")
        metrics.image(3, "sample", picture)
        metrics.image(3, "tensor", torch.from_numpy(picture))
        with pytest.raises(ValueError, match="uint8"):
            metrics.image(3, "sample", picture.astype(np.float32))
    time.sleep(0.01)
    with Metrics.open(tmp_path / "metrics.jsonl", resume_step=2) as metrics:
        metrics.row(3, {"loss": 9.0})
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 9.0),
    ]
    assert "word" not in board.Tags()["scalars"]


def test_without_tensorboard_it_says_so_and_works(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with Metrics.open(tmp_path / "metrics.jsonl") as metrics:
        metrics.row(1, {"loss": 1.0})
        metrics.image(1, "sample", np.zeros((2, 2, 3), np.uint8))
    assert "TensorBoard is not installed" in capsys.readouterr().out
    assert not (tmp_path / "tensorboard").exists()


# ---- progress ----------------------------------------------------------------------------------


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    clock = iter(range(1000, 9000))
    monkeypatch.setattr(log.time, "monotonic", lambda: float(next(clock)))  # one second a call
    with Progress("train", total=110, start=100, every=4.0) as progress:
        for step in range(101, 111):
            progress.update(step, {"loss": 1.23456, "images/s": 12345.6, "tokens": 1234567})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "train 101/110",
        "train 105/110",
        "train 109/110",
        "train 110/110",
    ]
    assert lines[0].endswith("loss 1.235  images/s 12,346  tokens 1,234,567  9 s left")
    assert lines[1].endswith("5 s left")
    assert "left" not in lines[3]


def test_progress_on_a_terminal_is_one_bar_under_the_lines(terminal):
    stream = terminal()
    with Progress("train", total=10) as progress:
        progress.update(4, {"loss": 0.5})
        say("a line [meanwhile]")
        progress.update(10, {"loss": 0.25})
    assert log._Output.bar is None
    shown = plain(stream)
    assert "10/10" in shown
    assert "loss 0.25" in shown
    assert shown.count("a line [meanwhile]") == 1


def test_progress_lets_go_of_the_terminal_when_the_work_fails(terminal):
    terminal()
    with pytest.raises(RuntimeError), Progress("train", total=10):
        raise RuntimeError
    assert log._Output.bar is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (7265, "2 h 01 min")],
)
def test_durations(seconds, words):
    assert log._duration(seconds) == words
