"""`chiasm inspect`: what a recipe, a run, a part consist of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import SHORT, SMALL
from tests.cli.toys import call

from chiasm.checkpoint.folder import save_vit
from chiasm.checkpoint.fused import save_fused
from chiasm.models import ProjectorConfig
from chiasm.models.zoo import NAMES
from chiasm.recipes.loading import load
from chiasm.testing import toy_prefix, toy_vit

DOCS = Path(__file__).resolve().parents[2] / "docs"


def told(capsys: Any, *words: str) -> dict[str, Any]:
    done = call(capsys, "inspect", *words, "--json")
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


def test_other_peoples_vision_models_are_told(capsys: Any, tmp_path: Path) -> None:
    projector = ProjectorConfig(taps=("block.2",), kind="mlp", norm=False, cls=False)
    model = toy_prefix(projector=projector, extra_tokens=0, place_token=7)
    save_fused(model, tmp_path / "llava")
    found = told(capsys, str(tmp_path / "llava"))
    assert found["kind"] == "prefix" and set(found["origins"]) == set(model.state_dict())
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert found["picture"]["vectors"] == found["picture"]["places"] == 9


def test_a_recipe_of_adapters_and_tiles_over_known_sizes(capsys: Any, tmp_path: Path) -> None:
    words = ("--model.decoder", "llama-3.2-1b", "--model.encoder", "vit-base-patch16-224")
    adapters = ("--model.tiles", "4", "--lora", "decoder.*.q=8", "--learn")
    rows = ("decoder.*.lora_*=1e-4", "decoder.*=freeze", "encoder.*=freeze", "*=1e-3")
    shown = call(capsys, "train", "first_light", *words, *adapters, *rows, "--show")
    assert shown.code == 0, shown.err
    (tmp_path / "known.yaml").write_text(shown.out)
    found = told(capsys, str(tmp_path / "known.yaml"))
    parts = {part["name"]: part for part in found["portions"]}
    assert parts["decoder"]["learns"] == 16 * 8 * (2048 + 2048)
    assert parts["decoder"]["parameters"] == 1_235_814_400 + parts["decoder"]["learns"]
    assert [each["tiles"] for each in found["pictures"]] == [1, 2, 3, 4]
    assert set(found["origins"].values()) == {"new"}


def test_tensors_lists_where_each_comes_from(capsys: Any) -> None:
    out = call(capsys, "inspect", "runs/first_light", "--tensors").out
    assert "decoder.blocks.0.attn.q.weight  <-  " in out
    assert "model.layers.0.self_attn.q_proj.weight" in out
    assert "crosses.0.attn_gate  <-  " in out


# ---- known models, by their sizes alone --------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_known_model_is_told(capsys: Any, name: str) -> None:
    found = told(capsys, name)
    assert found["name"] == name
    assert found["parameters"] == sum(part["parameters"] for part in found["portions"]) > 0
    for part in found["portions"]:
        assert 0 <= part["learns"] <= part["parameters"]
        assert sum(part["pieces"].values()) <= part["parameters"]
    kept, again = found["learning"]["kept"], found["learning"]["recomputed"]
    assert again["activations"] < kept["activations"]
    for memory in (kept, again):
        assert memory["total"] == sum(v for k, v in memory.items() if k != "total")
    weights = found["serving"]["weights"]
    assert weights["float32"] == 4 * found["parameters"] > weights["bfloat16"]
    assert weights["bfloat16"] > weights["int8"] > weights["int4"] > 0
    assert (found["context"] is None) == (found["text"] is None)
    if found["kind"] in ("crossed", "prefix"):
        assert found["text"]["prefill_seeing_flops"] > found["text"]["prefill_flops"] > 0
        assert found["text"]["decode_seeing_flops"] > found["text"]["decode_flops"] > 0
        assert [each["tiles"] for each in found["pictures"]] == [
            *range(1, len(found["pictures"]) + 1)
        ]
        assert found["picture"] == found["pictures"][-1]


def test_llama_3_2_vision_in_exact_numbers(capsys: Any) -> None:
    small = told(capsys, "llama-3.2-11b-vision-instruct")
    assert small["parameters"] == 10_670_220_835
    assert sum(part["learns"] for part in small["portions"]) == 2_639_959_587  # "2.64 B"
    assert small["picture"]["tiles"] == 4 and small["picture"]["vectors"] == 6404
    assert small["picture"]["cross_bytes"] == 209_846_272  # "210 MB"
    assert small["bytes_per_1k_tokens"] == 131_072_000
    assert small["encoder_by_tables"] == {"grid": 822_530_579, "shapes": 863_567_379}
    large = told(capsys, "llama-3.2-90b-vision")
    assert large["parameters"] == 88_593_355_323
    assert large["picture"]["cross_bytes"] == 524_615_680  # "525 MB"
    assert told(capsys, "llama-3.2-11b-vision")["picture"]["vectors"] == 4100
    largest = {p["name"]: p for p in told(capsys, "llama-3.1-405b-vision")["portions"]}
    assert largest["crosses"]["parameters"] == 98_818_826_046  # "98.8 B"
    video = told(capsys, "llama-3.1-8b-video")
    assert video["video"]["frames"] == 64 and video["video"]["vectors"] == 2 * 64


def test_any_language_model_takes_any_eyes(capsys: Any) -> None:
    pair = ("--decoder", "smollm2-135m", "--encoder")
    crossed = told(capsys, *pair, "siglip-so400m-patch14-384")
    parts = {part["name"]: part for part in crossed["portions"]}
    assert crossed["kind"] == "crossed" and parts["decoder"]["parameters"] == 134_515_008
    assert parts["encoder"]["parameters"] == 412_987_248
    assert crossed["picture"]["size"] == 384 and crossed["picture"]["vectors"] == 27 * 27
    prefix = told(capsys, *pair, "llama-3.2-11b-vision", "--fusion", "prefix")
    assert prefix["kind"] == "prefix" and len(prefix["pictures"]) == 4
    assert prefix["picture"]["places"] == prefix["picture"]["vectors"] == 4 * 1024
    wrong = call(capsys, "inspect", *pair, "llama-3.2-1b")
    assert wrong.code == 2 and "is a language model" in wrong.said
    wrong = call(capsys, "inspect", "--decoder", "vit-base-patch16-224", "--encoder", "eyes")
    assert wrong.code == 2 and "is eyes" in wrong.said


def test_a_recipe_says_who_learns_in_another_model(capsys: Any) -> None:
    name = "llama-3.2-11b-vision"
    usual, other = told(capsys, name), told(capsys, name, "--recipe", "first_light")
    learns = {part["name"]: part["learns"] for part in other["portions"]}
    assert learns["encoder"] == learns["decoder"] == 0 < learns["crosses"]
    assert other["learning"]["table"] == "first_light"
    # Muon keeps one number for a weight, AdamW two; nothing of frozen eyes is kept.
    assert other["learning"]["kept"]["optimizer"] < usual["learning"]["kept"]["optimizer"] / 2
    assert other["learning"]["kept"]["activations"] < usual["learning"]["kept"]["activations"]
    crossless = call(capsys, "inspect", "llava-1.5-7b-hf", "--recipe", "first_light")
    assert crossless.code == 2 and "crosses.*" in crossless.said


def test_a_run_says_who_learned_in_it(capsys: Any) -> None:
    found = told(capsys, "runs/first_light")
    learns = {part["name"]: part["learns"] for part in found["portions"]}
    assert found["learning"]["table"] == "first_light"
    assert learns["encoder"] == learns["decoder"] == 0 < learns["crosses"]


def test_many_devices_and_long_texts(capsys: Any) -> None:
    name = "llama-3.2-3b"
    one, eight = told(capsys, name), told(capsys, name, "--gpus", "8", "--tokens", "4096")
    assert one["learning"]["gpus"] == 1 and one["learning"]["tokens"] == 2048
    kept, shared = one["learning"]["kept"], eight["learning"]["kept"]
    assert shared["optimizer"] * 8 == kept["optimizer"] == 8 * one["parameters"]
    assert shared["logits"] == 2 * kept["logits"]
    assert eight["serving"]["conversation"] == 4096 * eight["bytes_per_1k_tokens"] // 1000
    shown = call(capsys, "inspect", name, "--gpus", "8").out
    assert "each of 8 GPUs" in shown and "3,212,749,824" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llama-3.2-3b", "--gpus", "0"), "--gpus is 0"),
        (("llama-3.2-3b", "--tokens", "-5"), "--tokens"),
        (("--decoder", "llama-3.2-3b"), "both --decoder and --encoder"),
        (("llama-3.2-3b", "--known"), "Name one model"),
        (("lama-3.2-3b",), 'Did you mean "llama-3.2-3b"'),
    ],
)
def test_what_cannot_be_told_is_said(capsys: Any, words: tuple[str, ...], said: str) -> None:
    done = call(capsys, "inspect", *words)
    assert done.code == 2 and said in done.said


def test_the_docs_show_the_table_of_known_models(capsys: Any) -> None:
    table = call(capsys, "inspect", "--known").out.strip()
    assert table in (DOCS / "zoo.md").read_text("utf-8"), "run: chiasm inspect --known"
    assert all(f"`{name}`" in table or name.endswith("-instruct") for name in NAMES)
