"""One workshop for all tests of the command line: parts, a benchmark, and a finished first_light."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.toys import bad_pictures, fake_cache, workshop

from chiasm.cli import main

SMALL = (
    "--model.shape.crosses",
    "2",
    "--model.shape.taps",
    "final",
    "--model.image-size",
    "12",
    "--dtype",
    "float32",
)
SHORT = ("--train.steps", "4", "--train.look-every", "0", "--train.sample-every", "0")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workshop's folder; its cache holds toys under the built-in names, its runs a model."""
    root = workshop(tmp_path_factory.mktemp("shop"))
    bad_pictures(root / "bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHIASM_CACHE", str(fake_cache(root / "cache", root)))
        patch.chdir(root)
        assert main(["train", "first_light", *SMALL, *SHORT]) == 0
    return root  # the patch is undone: tests of other rooms must find the real cache


@pytest.fixture(autouse=True)
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in the workshop."""
    monkeypatch.chdir(shop)
    monkeypatch.setenv("CHIASM_CACHE", str(shop / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    return shop
