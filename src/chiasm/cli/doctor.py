"""`chiasm doctor`: is everything here that is needed, and what to do if not."""

from __future__ import annotations

import json as json_
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from chiasm import __version__
from chiasm.base.files import cache_dir
from chiasm.cli.arguments import Flag, read
from chiasm.cli.choose import RUNS

ABOUT = """Look at this machine and installation; say what is missing and what to do about it.

Example:
  chiasm doctor

The exit code is 1 when something is wrong that keeps Chiasm from working."""

NEED = 2 << 30
"""Bytes of free disk that fetching the parts and one run may take."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm doctor`."""

    json: Flag = False
    """Print the findings as JSON for programs."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is."""

    about: str
    state: Literal["ok", "note", "wrong"]
    told: str


def main(words: list[str]) -> int:
    """Print every finding."""
    options = read("chiasm doctor", words, Options(), ABOUT)
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    found = [finding for look in LOOKS for finding in look()]
    if options.json:
        print(json_.dumps([asdict(each) for each in found], indent=2))
    else:
        wide = max(len(each.about) for each in found)
        for each in found:
            print(f"{each.state:<5}  {each.about:<{wide}}  {each.told}")
    wrong = [each for each in found if each.state == "wrong"]
    if wrong:
        say(
            f"{len(wrong)} thing{'s are' if len(wrong) > 1 else ' is'} wrong; see above what to do."
        )
    return 1 if wrong else 0


def programs() -> Iterator[Finding]:
    """Python, Chiasm, PyTorch and what this machine computes with."""
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= (3, 11)
    advice = "" if fine else "; Chiasm needs 3.11 or newer"
    yield Finding("python", "ok" if fine else "wrong", f"{version} at {sys.executable}{advice}")
    yield Finding("chiasm", "ok", f"{__version__} at {Path(__file__).parents[1]}")
    try:
        from chiasm.base.device import describe

        facts = describe()
    except (ImportError, OSError) as error:
        yield Finding(
            "torch", "wrong", f"cannot be loaded ({error}); install it: pip install torch"
        )
        return
    major, minor = (int(part) for part in facts["torch"].split(".")[:2])
    fine = (major, minor) >= (2, 11)
    advice = "" if fine else "; Chiasm needs 2.11 or newer: pip install -U torch"
    yield Finding("torch", "ok" if fine else "wrong", f"{facts['torch']}{advice}")
    yield Finding("processor", "ok", f"{facts['cores']} cores, {facts['threads']} threads in use")
    bf16 = "in hardware" if facts["processor_bf16"] else "not in hardware, so float32 is used"
    yield Finding("bfloat16", "ok", bf16)
    yield Finding("cuda", "ok", ", ".join(facts["cuda"]) or "none; the processor computes")
    yield Finding("choice", "ok", facts["choice"])


def extras() -> Iterator[Finding]:
    """Libraries that are not needed, and what they bring."""
    brought = {
        "tensorboard": ("curves of a run in the browser", "log"),
        "pytest": ("the test suite", "dev"),
    }
    for name, (what, extra) in brought.items():
        if find_spec(name) is not None:
            yield Finding(name, "ok", what)
        else:
            yield Finding(name, "note", f"not installed ({what}): pip install 'chiasm[{extra}]'")


def cache() -> Iterator[Finding]:
    """The cache folder: can it be written, and which built-in parts lie in it."""
    home = cache_dir()
    above = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(above, os.W_OK):
        told = f"{home} cannot be written; point CHIASM_CACHE to a folder that can"
        yield Finding("cache", "wrong", told)
    else:
        yield Finding("cache", "ok", f"{home}, {_size(_bytes(home))}")
    from chiasm.checkpoint.builtin import FORMAT, PARTS, WHEELS

    folders = {name: home / f"parts-{FORMAT}" / name for name in PARTS}
    data = WHEELS["easy-vqa"].requirement.replace("==", "-")
    folders["easy-vqa"] = home / "unpacked" / data
    for name, folder in folders.items():
        if folder.is_dir():
            yield Finding(name, "ok", f"in the cache, {_size(_bytes(folder))}")
        else:
            yield Finding(name, "note", "not fetched yet: chiasm pull (the first use does it, too)")


def disk() -> Iterator[Finding]:
    """Free space where the cache is and where runs are."""
    for name, folder in (("disk of cache", cache_dir()), ("disk of runs", RUNS.resolve())):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        told = f"{_size(free)} free"
        if free < NEED:
            yield Finding(name, "note", f"{told}; fetching and training may take {_size(NEED)}")
        else:
            yield Finding(name, "ok", told)


def runs() -> Iterator[Finding]:
    """Runs of this folder, finished or not."""
    found = sorted(RUNS.glob("*/run.json"))
    if not found:
        yield Finding("runs", "note", f"none in {RUNS.resolve()}: chiasm train first_light")
    for record in found:
        folder = record.parent
        if (folder / "model" / "config.json").is_file():
            yield Finding(str(folder), "ok", "finished")
        else:
            steps = [path.name for path in folder.glob("checkpoints/step-*")]
            told = f"not finished; newest checkpoint {max(steps, default='none')}"
            yield Finding(str(folder), "note", f"{told}; repeat its chiasm train command")


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (programs, extras, cache, disk, runs)


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
