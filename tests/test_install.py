"""What got installed: the torch that was asked for, and nothing that breaks beside it."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_no_extra_changed_the_torch_version() -> None:
    installed = version("torch").split("+")[0]  # 2.13.0+cpu is a build of 2.13.0
    if Path(sys.prefix) == ROOT / ".venv":  # the environment that `make` built
        assert f"torch=={installed}" in (ROOT / "constraints.txt").read_text().splitlines()
    else:  # somebody's own
        assert tuple(map(int, installed.split(".")[:2])) >= (2, 11)


@pytest.mark.parametrize("unwanted", ["torchvision", "torchaudio"])
def test_no_dependency_pulls(unwanted: str) -> None:
    """They do not import beside a CPU torch, and nothing of ours needs them."""
    needing = [
        dist.name
        for dist in distributions()
        if any(
            re.match(rf"{unwanted}\b", need) and "extra ==" not in need
            for need in dist.requires or []
        )
    ]
    assert not needing
    assert unwanted not in {dist.name.lower() for dist in distributions()}
