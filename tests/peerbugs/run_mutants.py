"""Do our tests catch the bugs that other codebases shipped? Put each bug in, and see.

    mutants/03_slug.patch ──► a copy of src/ and tests/ ──► test_03_slug.py must fail there

A mutant is killed when its test passes on the copy as it is and fails on the patched copy. A test
that cannot start (import error, no test collected) kills nothing. The working tree is only read.

    python tests/peerbugs/run_mutants.py [NAME ...]      only mutants whose name contains a NAME
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COPIED = ("src", "tests", "pyproject.toml")
SECONDS = 600
PASSED, FAILED = 0, 1  # pytest's exit codes; every other one means that the tests did not run


def copy_tree(root: Path, to: Path) -> Path:
    """Copy what the tests need, without caches, and return the copy."""
    unwanted = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=unwanted)
        elif (root / name).exists():
            shutil.copy2(root / name, to / name)
    return to


def run(command: list[str], copy: Path) -> tuple[int, str]:
    """Run inside the copy, importing its src/ and nothing of the original; -1 means too slow."""
    surroundings = os.environ | {
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CEILING_DIRECTORIES": str(copy.parent),  # `git apply` must see no repository around
    }
    try:
        done = subprocess.run(
            command, cwd=copy, env=surroundings, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return -1, f"more than {SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def test_in(copy: Path, test: str) -> tuple[int, str]:
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", ""]
    return run([sys.executable, "-m", "pytest", *options, f"tests/peerbugs/{test}"], copy)


def verdict(root: Path, patch: Path) -> tuple[bool, str]:
    """(killed, why) for one mutant."""
    test = f"test_{patch.stem}.py"
    if not (root / "tests" / "peerbugs" / test).exists():
        return False, f"has no tests/peerbugs/{test}"
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = copy_tree(root, Path(folder).resolve())
        code, said = test_in(copy, test)
        if code != PASSED:
            return False, f"its test does not pass on the unchanged tree\n{said}"
        code, said = run(["git", "apply", "--whitespace=nowarn", str(patch.resolve())], copy)
        if code:
            return False, f"the patch no longer applies\n{said}"
        code, said = test_in(copy, test)
        if code == PASSED:
            return False, "SURVIVED: the test passes with the bug in place"
        if code == -1:
            return True, f"killed: the test needs {said} with the bug in place"
        return code == FAILED, "killed" if code == FAILED else f"its test did not run\n{said}"


def main(root: Path, wanted: list[str]) -> int:
    """Print a line per mutant and the score; 0 when there are mutants and all were killed."""
    folder = root / "tests" / "peerbugs"
    patches = sorted((folder / "mutants").glob("*.patch"))
    for test in sorted(folder.glob("test_[0-9]*.py")):
        if test.stem.removeprefix("test_") not in {patch.stem for patch in patches}:
            print(f"{test.name}: has no mutant, so nothing shows that it can fail")
    patches = [p for p in patches if not wanted or any(name in p.stem for name in wanted)]
    killed = 0
    for patch in patches:
        ok, why = verdict(root, patch)
        killed += ok
        print(f"{patch.stem}: {why}", flush=True)
    print(f"mutants killed: {killed}/{len(patches)}")
    return 0 if patches and killed == len(patches) else 1


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2], sys.argv[1:]))
