"""`chiasm convert`: smaller folders that are read like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.cli.toys import call

from chiasm.base.layers import INT8
from chiasm.checkpoint.folder import load_decoder
from chiasm.nn import LowBitLinear, quantise
from chiasm.recipes.loading import load

pytest.importorskip("torchao")

TOKENS = torch.arange(9)[None]


def test_a_language_model_becomes_integers_and_is_read_again(capsys: Any, tmp_path: Path) -> None:
    done = call(capsys, "convert", "decoder", tmp_path / "small", "--quantise", "int8", "--json")
    assert done.code == 0, done.err
    file = tmp_path / "small" / "model.safetensors"
    assert json.loads(done.out) == {
        "model": "decoder",
        "folder": str(tmp_path / "small"),
        "layers": 28,
        "bytes": file.stat().st_size,
    }
    plain, again = load_decoder("decoder")[0], load_decoder(tmp_path / "small")[0]
    quantise(plain, (("*", INT8),))
    for name, value in plain.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert torch.equal(again(TOKENS), plain(TOKENS))
    model, processor = load(tmp_path / "small")
    processor.close()
    assert sum(isinstance(layer, LowBitLinear) for layer in model.modules()) == 28
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "chiasm"
    assert "model.layers.0.self_attn.q_proj.scale" in load_file(file)


def test_a_composed_model_keeps_references_to_parts_that_stay(capsys: Any, tmp_path: Path) -> None:
    words = ["--quantise", "int8", "--only", "decoder.*", "crosses.*"]
    done = call(capsys, "convert", "runs/first_light", tmp_path / "small", *words)
    assert done.code == 0 and "linear layers as int8" in done.out, done.err
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert set(config["parts"]) == {"encoder"}
    model, processor = load(tmp_path / "small")
    plain, other = load("runs/first_light")
    processor.close(), other.close()
    for name, layer in model.named_modules():
        if isinstance(layer, LowBitLinear):
            exact = plain.get_submodule(name).weight
            moved = (layer.matrix(torch.float32) - exact.float()).abs()
            # Half a step, and the rounding of a matrix that this machine computes in bf16.
            near = layer.scale.float() / 2 * 1.001 + exact.float().abs() * 2**-8
            assert (moved <= near).all(), name
    asked = call(capsys, "chat", "--model", tmp_path / "small", "Hi", "--max-tokens", "3")
    assert asked.code == 0, asked.err
    found = json.loads(call(capsys, "inspect", tmp_path / "small", "--json").out)
    before = json.loads(call(capsys, "inspect", "runs/first_light", "--json").out)
    counts = [[part["parameters"] for part in each["portions"]] for each in (found, before)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["decoder"], "Name a model and the folder to write"),
        (
            ["decoder", "out"],
            "Say what the model is to become: --quantise int8 or --quantise int4.",
        ),
        (["decoder", "out", "--quantise", "int5"], 'is "int5", but must be'),
        (["decoder", "out", "--quantise", "int4"], "cannot be cut into groups of 32 at 4 bits"),
        (["nobody", "out", "--quantise", "int8"], 'called "nobody"'),
        (["decoder", "eyes", "--quantise", "int8"], "eyes"),
        (
            ["decoder", "out", "--quantise", "int8", "--only", "blocks.*.attn.w"],
            'matches no linear layer that an earlier row has left. Did you mean "blocks.*.attn.',
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(capsys: Any, words: list[str], sentence: str) -> None:
    done = call(capsys, "convert", *words)
    assert done.code == 2 and sentence in done.said, done.err
    assert not Path("out").exists()


def test_other_peoples_integers_are_refused(capsys: Any, tmp_path: Path) -> None:
    call(capsys, "convert", "decoder", tmp_path / "small", "--quantise", "int8")
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"]["quant_method"] = "torchao"
    path.write_text(json.dumps(config))
    done = call(capsys, "chat", "--model", tmp_path / "small", "Hi")
    assert done.code == 2 and "quantization_config" in done.said
