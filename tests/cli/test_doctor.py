"""`chiasm doctor` and `chiasm pull`: what is here, what is missing, what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cli.toys import call

from chiasm.cli import doctor


def told(capsys: Any) -> dict[str, dict[str, str]]:
    done = call(capsys, "doctor", "--json")
    return {each["about"]: each for each in json.loads(done.out)}


def test_a_whole_installation_is_well(capsys: Any) -> None:
    done = call(capsys, "doctor")
    assert done.code == 0
    found = told(capsys)
    for name in (
        "python",
        "torch",
        "bfloat16",
        "cuda",
        "cache",
        "easy-vqa",
        "smollm2-135m-instruct",
    ):
        assert found[name]["state"] == "ok"
        assert found[name]["told"] in done.out
    assert found["runs/first_light"]["told"] == "finished"


def test_what_is_missing_comes_with_what_to_do(
    capsys: Any, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))
    (tmp_path / "runs/begun/checkpoints/step-000004").mkdir(parents=True)
    (tmp_path / "runs/begun/run.json").write_text("{}")
    found = told(capsys)
    assert "chiasm pull" in found["clip-vit-base-patch16"]["told"]
    assert "pip install 'chiasm[log]'" in found["tensorboard"]["told"]
    assert found["disk of cache"]["state"] == "note"
    assert "step-000004" in found["runs/begun"]["told"]
    assert call(capsys, "doctor").code == 0  # nothing of this keeps Chiasm from working


def test_what_keeps_chiasm_from_working_is_wrong(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiasm.base.device.torch.__version__", "2.4.0")
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    done = call(capsys, "doctor")
    assert done.code == 1 and "2 things are wrong" in done.err
    assert "pip install -U torch" in done.out and "CHIASM_CACHE" in done.out


def test_pull_says_where_everything_lies_without_a_network(capsys: Any, shop: Path) -> None:
    done = call(capsys, "pull")
    assert done.code == 0 and not done.err
    folders = json.loads(call(capsys, "pull", "--json").out)
    assert list(folders) == ["smollm2-135m-instruct", "clip-vit-base-patch16", "easy-vqa"]
    for name, folder in folders.items():
        assert f"{name}: {folder}" in done.out
        assert Path(folder).is_dir() and Path(folder).is_relative_to(shop / "cache")
    one = call(capsys, "pull", "easy-vqa", "--json")
    assert json.loads(one.out) == {"easy-vqa": folders["easy-vqa"]}
