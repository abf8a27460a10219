"""kill -9 at random moments, and the same command again: the run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def killed(folder: Path, kills: int) -> dict:
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    command = [
        sys.executable,
        str(Path(__file__).with_name("kill_trials.py")),
        str(folder),
        str(kills),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="kills are timed by Linux's /proc")
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_random_moments_the_run_ends_bit_identical(kills: int, tmp_path: Path) -> None:
    said = killed(tmp_path, kills)
    assert said["kills"] == kills and said["ends"]
    assert set(said["ends"]) == {said["whole"]}
    assert (
        sum(held > 0 for held in said["checkpoints"]) >= kills // 4
    )  # these had something to lose
    assert said["left"] == []  # and the next start cleared up after them
