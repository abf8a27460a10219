"""`chiasm check text-identity`: lines, verdict, exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.toys import call

from chiasm.base import device
from chiasm.checkpoint.composed import load_model, save_model
from chiasm.cli import check
from chiasm.evaluation.identity import Finding


def test_a_trained_model_passes_in_both_number_formats(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "processor_has_bf16", lambda: True)
    done = call(capsys, "check", "text-identity")
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert len(lines) == 12 and all(line.startswith("OK    ") for line in lines)
    assert {line.split()[1] for line in lines} == {"bfloat16", "float32"}
    assert "runs/first_light/model with smollm2-135m-instruct, loaded on its own" in done.err


def test_json_says_the_same(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Finding("alone", True, "fine"), Finding("padded batch", False, "3 differ")]
    monkeypatch.setattr(check, "findings", lambda name: (("float32", each) for each in made))
    done = call(capsys, "check", "text-identity", "--json")
    told = json.loads(done.out)
    assert (done.code, told["ok"]) == (1, False)
    assert [finding["ok"] for finding in told["findings"]] == [True, False]


@pytest.fixture
def only_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "processor_has_bf16", lambda: False)


@pytest.mark.usefixtures("only_float32")
def test_a_model_whose_text_changed_fails_with_1(
    capsys: Any, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lowest bit of one weight of the language model: somebody trained it by mistake."""
    loaded = load_model(shop / "runs/first_light/model", torch.float32)
    files = {
        path.name: path.read_bytes()
        for path in (shop / "runs/first_light/model").iterdir()
        if path.name not in ("config.json", "model.safetensors", "README.md")
    }
    weight = loaded.model.decoder.blocks[0].mlp.up.weight
    with torch.no_grad():
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    save_model(loaded.model, tmp_path / "model", config={}, files=files, parts={})
    # Tell the check which plain model was meant; the decoder inside is what it has become.
    monkeypatch.setattr("chiasm.cli.check.plain_source", lambda name: "smollm2-135m-instruct")
    done = call(capsys, "check", "text-identity", "--model", tmp_path / "model")
    assert done.code == 1
    failed = [line for line in done.out.splitlines() if line.startswith("FAIL")]
    assert any("alone" in line and "differ, by up to" in line for line in failed)
    assert "is not its plain language model" in done.err


@pytest.mark.usefixtures("only_float32")
def test_a_model_that_carries_its_decoder_is_compared_with_that(
    capsys: Any, shop: Path, tmp_path: Path
) -> None:
    loaded = load_model(shop / "runs/first_light/model", torch.float32)
    shutil.copytree(shop / "runs/first_light/model", tmp_path / "copy")
    files = {
        path.name: path.read_bytes()
        for path in (tmp_path / "copy").iterdir()
        if path.name not in ("config.json", "model.safetensors", "README.md")
    }
    save_model(loaded.model, tmp_path / "model", config={}, files=files, parts={})
    done = call(capsys, "check", "text-identity", "--model", tmp_path / "model")
    assert done.code == 0 and "its own decoder" in done.err
