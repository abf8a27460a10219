"""A hub id is a folder that lies elsewhere: fetched once, whole, and then like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.base.test_fetch import hub  # noqa: F401  (a fixture)
from tests.checkpoint.toys import decoder

from chiasm.checkpoint.folder import save_decoder
from chiasm.checkpoint.hub import is_hub_id

CODE = """
import sys
from chiasm.base.errors import UserError
from chiasm.checkpoint.composed import part_home
from chiasm.checkpoint.folder import load_decoder
try:
    model, _ = load_decoder(part_home(sys.argv[1]))
    print("sum", float(model.embed.weight.detach().sum()))
except UserError as error:
    print("refused", error)
"""


def ask(server: Any, cache: Path, name: str) -> str:
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    surroundings |= {"HF_HOME": str(cache / "hf"), "CHIASM_CACHE": str(cache / "chiasm")}
    surroundings |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", CODE, name]
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_a_model_is_fetched_once(hub: Any, tmp_path: Path) -> None:  # noqa: F811
    model = decoder()
    save_decoder(model, tmp_path / "toy")
    files = {file.name: file.read_bytes() for file in (tmp_path / "toy").iterdir()}
    hub.files = hub.listed = files | {"modeling.py": b"raise SystemExit"}
    wanted = f"sum {float(model.embed.weight.detach().sum())}"
    assert ask(hub, tmp_path, "toy/repo") == wanted
    assert not list(tmp_path.rglob("modeling.py"))
    asked = len(hub.asked)
    assert ask(hub, tmp_path, "toy/repo") == wanted and len(hub.asked) == asked


def test_what_the_hub_does_not_have_is_one_sentence(hub: Any, tmp_path: Path) -> None:  # noqa: F811
    told = ask(hub, tmp_path, "nobody/nothing")
    assert told.startswith("refused Cannot get nobody/nothing from the hub: ")
    assert not (tmp_path / "chiasm/hub/nobody--nothing").exists()


@pytest.mark.parametrize(
    ("name", "can_be"),
    [
        ("meta-llama/Llama-3.2-11B-Vision", True),
        ("openai/clip-vit-base-patch16", True),
        ("llama-3.2-11b-vision", False),
        ("./runs/first_light", False),
        ("/somewhere/model", False),
        ("a/b/c", False),
        ("owner/../secret", False),
        ("tests/checkpoint", False),
    ],
)
def test_only_an_owner_and_a_model_make_an_id(
    name: str, can_be: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert is_hub_id(name) == can_be
