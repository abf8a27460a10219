"""Versions of what pictures are drawn with: another one may give other bytes.

("dot", "resvg-py") ─► {"pillow": "12.0.0", "dot": "dot - graphviz version 2.43.0 (0)", "resvg-py": "0.2.3"}
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import PIL

from chiasm.base.errors import UserError
from chiasm.data.render.browser import executable

SLOWEST = 30
"""Seconds that a program may take to say its version."""


def versions(tools: Iterable[str]) -> dict[str, str]:
    """Return {name: version} of Pillow and of tools: Python packages, "dot" and "browser".

    What is missing has the version "none". Raises UserError for a program that does not answer.
    """
    return {"pillow": PIL.__version__, **{name: _version(name) for name in tools}}


def _version(tool: str) -> str:
    if tool == "dot":
        path = shutil.which("dot")
        return _said(path, "-V") if path else "none"
    if tool == "browser":
        return _said(executable(), "--version")
    try:
        return version(tool)
    except PackageNotFoundError:
        return "none"


@lru_cache(maxsize=8)
def _said(program: str, word: str) -> str:
    """What a program says about its version, on whichever stream."""
    try:
        done = subprocess.run(
            [program, word], capture_output=True, text=True, timeout=SLOWEST, check=True
        )
    except (OSError, subprocess.SubprocessError):
        raise UserError(f"{program} {word} does not tell its version: is it broken?") from None
    return " ".join((done.stdout or done.stderr).split())
