"""`chiasm inspect`: what a recipe, a run, a part consist of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import SHORT, SMALL
from tests.cli.toys import call

from chiasm.checkpoint.folder import save_vit
from chiasm.recipes.loading import load
from chiasm.testing import toy_vit


def told(capsys: Any, name: str) -> dict[str, Any]:
    done = call(capsys, "inspect", name, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_recipe_says_what_will_learn_without_a_run(capsys: Any) -> None:
    found = told(capsys, "mine.yaml")
    parts = {part["name"]: part for part in found["portions"]}
    assert list(parts) == ["decoder", "encoder", "projector", "crosses", "extra"]
    assert parts["decoder"]["learns"] == 0
    assert parts["crosses"]["learns"] == parts["crosses"]["parameters"] > 0
    assert parts["crosses"]["source"] == "new" and parts["decoder"]["source"].endswith("decoder")
    shown = call(capsys, "inspect", "mine.yaml").out
    assert f"{parts['crosses']['parameters']:,}" in shown and "new" in shown


def test_a_run_has_the_parameters_that_its_model_has(capsys: Any) -> None:
    found = told(capsys, "runs/first_light")
    model, _ = load("runs/first_light")
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert sum(part["parameters"] for part in found["portions"]) == counted
    assert set(found["origins"]) == set(model.state_dict())
    assert found["kind"] == "crossed"
    # 12 x 12 pixels in patches of 4, and CLS; 2 crosses, two taps' keys and values of 2 heads by 6.
    width = {"bfloat16": 2, "float32": 4}[found["dtype"]]
    assert (found["picture"]["vectors"], found["picture"]["places"]) == (10, 1)
    text = 4 * 2 * 2 * 6 * width
    assert found["bytes_per_1k_tokens"] == 1000 * text
    assert found["picture"]["bytes"] == 2 * 2 * 2 * 6 * 10 * width + text


def test_a_unified_embedding_takes_places_of_the_text(capsys: Any, tmp_path: Path) -> None:
    words = [w.replace("--model.shape.crosses", "--model.shape.squares") for w in SMALL]
    words[words.index("--model.shape.squares") + 1] = "1"
    recipe = call(capsys, "train", "first_light_prefix", *words, *SHORT, "--show").out
    (tmp_path / "prefix.yaml").write_text(recipe)
    found = told(capsys, str(tmp_path / "prefix.yaml"))
    assert found["kind"] == "prefix"
    assert found["picture"]["vectors"] == found["picture"]["places"] == 9


def test_parts_alone(capsys: Any) -> None:
    words, eyes = told(capsys, "smollm2-135m-instruct"), told(capsys, "eyes")
    assert (words["kind"], eyes["kind"]) == ("decoder", "vit")
    assert words["context"] == 700 and eyes["context"] is None


@pytest.mark.parametrize("shape", [{"cls": False}, {"cls": True}], ids=["siglip", "vit"])
def test_eyes_of_every_family(shape: dict[str, bool], capsys: Any, tmp_path: Path) -> None:
    eyes = toy_vit(pre_norm=False, patch_bias=True, **shape)
    save_vit(eyes, tmp_path / "others")
    found = told(capsys, str(tmp_path / "others"))
    assert found["kind"] == "vit" and set(found["origins"]) == set(eyes.state_dict())
    parameters = sum(parameter.numel() for parameter in eyes.parameters())
    assert [part["parameters"] for part in found["portions"]] == [parameters]


def test_tensors_lists_where_each_comes_from(capsys: Any) -> None:
    out = call(capsys, "inspect", "runs/first_light", "--tensors").out
    assert "decoder.blocks.0.attn.q.weight  <-  " in out
    assert "model.layers.0.self_attn.q_proj.weight" in out
    assert "crosses.0.attn_gate  <-  " in out
