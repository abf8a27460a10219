"""The runner that judges our tests is itself judged, on a toy project with every kind of mutant."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_mutants.py")
SOURCE = "def double(x):\n    return x * 2\n\n\ndef unused():\n    return 1\n"
TEST = "from chiasm.toy import double\n\n\ndef test_it():\n    assert double(3) == 6\n"


def patch(old: str, new: str) -> str:
    """A unified diff that replaces one line of the toy module."""
    lines = SOURCE.splitlines()
    at = lines.index(old)
    body = [f"-{old}", f"+{new}"]
    around = [f" {line}" for line in lines[:at]] + body + [f" {line}" for line in lines[at + 1 :]]
    head = "--- a/src/chiasm/toy.py\n+++ b/src/chiasm/toy.py\n"
    return head + f"@@ -1,{len(lines)} +1,{len(lines)} @@\n" + "\n".join(around) + "\n"


MUTANTS = {
    "01_killed": patch("    return x * 2", "    return x * 3"),
    "02_survives": patch("    return 1", "    return 2"),
    "03_stale": patch("    return x * 2", "    return x").replace(" def double", " def triple"),
    "04_broken": patch("def double(x):", "def double(x:"),
    "05_redtest": patch("    return x * 2", "    return x * 3"),
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    bugs = root / "tests" / "peerbugs"
    (bugs / "mutants").mkdir(parents=True)
    (root / "src" / "chiasm").mkdir(parents=True)
    (root / "src" / "chiasm" / "__init__.py").write_text("")
    (root / "src" / "chiasm" / "toy.py").write_text(SOURCE)
    for name, text in MUTANTS.items():
        (bugs / "mutants" / f"{name}.patch").write_text(text)
        (bugs / f"test_{name}.py").write_text(TEST)
    (bugs / "test_05_redtest.py").write_text(TEST.replace("== 6", "== 7"))
    (bugs / "test_06_alone.py").write_text(TEST)
    (bugs / RUNNER.name).write_bytes(RUNNER.read_bytes())
    return root


def judge(root: Path, *names: str) -> tuple[int, str]:
    command = [sys.executable, str(root / "tests" / "peerbugs" / RUNNER.name), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def state(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_each_kind_of_mutant_gets_its_verdict_and_the_tree_stays_untouched(toy: Path) -> None:
    before = state(toy)
    code, said = judge(toy)
    assert code == 1 and said.endswith("mutants killed: 1/5\n")
    for line in (
        "01_killed: killed\n",
        "02_survives: SURVIVED",
        "03_stale: the patch no longer applies",
        "04_broken: its test did not run",
        "05_redtest: its test does not pass on the unchanged tree",
        "test_06_alone.py: has no mutant",
    ):
        assert line in said
    assert state(toy) == before


def test_all_killed_is_success(toy: Path) -> None:
    code, said = judge(toy, "01")
    assert code == 0 and said.endswith("mutants killed: 1/1\n")


def test_no_mutant_is_no_success(toy: Path) -> None:
    code, said = judge(toy, "99")
    assert code == 1 and said.endswith("mutants killed: 0/0\n")


@pytest.mark.parametrize(
    "patch", sorted(RUNNER.parent.glob("mutants/*.patch")), ids=lambda p: p.stem
)
def test_the_patches_of_this_project_still_apply(patch: Path) -> None:
    """Whether they are killed takes hours to see; that they went stale must not."""
    command = ["git", "apply", "--check", "--whitespace=nowarn", str(patch)]
    done = subprocess.run(command, cwd=RUNNER.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
