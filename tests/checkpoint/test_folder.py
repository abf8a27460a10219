"""Model folders: transformers' small models load, compute the same, and go back tensor for tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.checkpoint.families.test_clip import both_towers, vision_config
from tests.checkpoint.toys import LLAMA, decoder, equal, vit, write_gguf
from transformers import (
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
)

from chiasm.base.errors import UserError
from chiasm.checkpoint.folder import (
    load_decoder,
    load_vit,
    read_companions,
    save_decoder,
    save_vit,
)
from chiasm.checkpoint.weights import CheckpointError
from chiasm.testing import open_gates

ROPE = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
TOKENS = torch.arange(48).reshape(2, 24) * 7 % 96


def llama(folder: Path, shards: str = "5GB", **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**{**LLAMA, **changes})).eval()
    for parameter in model.parameters():  # norms, too, so that a mix-up shows
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder, max_shard_size=shards)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"rope_parameters": ROPE},
        {"head_dim": 16, "num_key_value_heads": 1},
        {"shards": "10KB"},
    ],
    ids=str,
)
@torch.no_grad()
def test_a_llama_computes_what_transformers_computes(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    theirs = llama(tmp_path, **changes)
    assert (tmp_path / "model.safetensors").exists() == ("shards" not in changes)
    ours, provenance = load_decoder(tmp_path)
    expected = theirs(TOKENS).logits
    found = ours.head(ours(TOKENS))
    assert expected.std() > 0.1
    assert (found - expected).abs().max() <= 2e-5  # measured: 1e-6
    assert provenance.tensors.keys() == ours.state_dict().keys()
    assert provenance.tensors["norm.weight"].endswith("safetensors:model.norm.weight")
    assert provenance.source == str(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_goes_back_tensor_for_tensor(tied: bool, tmp_path: Path) -> None:
    theirs = llama(tmp_path / "theirs", tie_word_embeddings=tied)
    ours, _ = load_decoder(tmp_path / "theirs")
    files = {"generation_config.json": b'{"eos_token_id": [3, 4], "bos_token_id": 1}'}
    save_decoder(ours, tmp_path / "ours", files)
    first, second = (
        load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours")
    )
    assert equal(first, second)
    back = LlamaForCausalLM.from_pretrained(tmp_path / "ours")
    assert equal(back.state_dict(), theirs.state_dict())
    with torch.no_grad():
        assert torch.equal(back(TOKENS).logits, theirs(TOKENS).logits)
    assert back.generation_config.eos_token_id == [3, 4]
    assert read_companions(tmp_path / "ours") == files
    assert (tmp_path / "ours" / "README.md").read_text().startswith("---\n")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_a_stored_second_copy_of_a_tied_head_must_be_equal(tmp_path: Path) -> None:
    llama(tmp_path)
    rewrite(
        tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    )
    ours, _ = load_decoder(tmp_path)
    rewrite(tmp_path, lambda t: t["lm_head.weight"].add_(1))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight.*differs"):
        load_decoder(tmp_path)
    rewrite(tmp_path, lambda t: t.pop("model.embed_tokens.weight"))  # the head alone serves both
    alone, _ = load_decoder(tmp_path)
    assert torch.equal(alone.embed.weight, ours.embed.weight + 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.pop("model.layers.1.mlp.up_proj.weight"),
            r'"blocks\.1\.mlp\.up\.weight" is missing',
        ),
        (
            lambda t: t.update({"model.layers.0.extra": torch.zeros(1)}),
            r"model\.layers\.0\.extra.*unknown",
        ),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(33)}),
            r"model\.norm\.weight.*\[33\].*\[32\]",
        ),
        (
            lambda t: t.update({"model.layers.2.input_layernorm.weight": torch.zeros(32)}),
            "no place",
        ),
    ],
)
def test_missing_unknown_and_mis_shaped_tensors_are_named(
    change: Callable[[dict[str, torch.Tensor]], Any], words: str, tmp_path: Path
) -> None:
    llama(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_decoder(tmp_path)


def test_code_in_a_folder_is_never_touched(tmp_path: Path) -> None:
    llama(tmp_path)
    (tmp_path / "modeling_evil.py").write_text("raise SystemExit('ran')")
    record = json.loads((tmp_path / "config.json").read_text())
    record["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(record))
    load_decoder(tmp_path)


def test_a_gguf_file_computes_what_its_folder_computes(tmp_path: Path) -> None:
    llama(tmp_path, rope_parameters={"rope_type": "default", "rope_theta": 5e4})
    ours, _ = load_decoder(tmp_path)
    again, provenance = load_decoder(write_gguf(tmp_path / "m.gguf", ours))
    assert again.config == ours.config
    assert equal(again.state_dict(), ours.state_dict())
    assert provenance.tensors["embed.weight"] == "m.gguf:token_embd.weight (F32)"
    quantised, _ = load_decoder(write_gguf(tmp_path / "q.gguf", ours, "Q8_0"), torch.bfloat16)
    assert quantised.embed.weight.dtype is torch.bfloat16
    for name, value in ours.state_dict().items():
        assert (quantised.state_dict()[name] - value).abs().max() < 0.02


@pytest.mark.parametrize("kind", ["tower", "projection", "both", "gelu"])
@torch.no_grad()
def test_clips_eyes_compute_what_transformers_computes(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = {
        "tower": lambda: CLIPVisionModel(vision_config()),
        "projection": lambda: CLIPVisionModelWithProjection(vision_config()),
        "both": both_towers,
        "gelu": lambda: CLIPVisionModel(vision_config(hidden_act="gelu")),
    }[kind]().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    ours, provenance = load_vit(tmp_path)
    pixels = torch.randn(3, 3, 16, 16)
    tower = theirs if kind in ("tower", "gelu") else theirs.vision_model
    expected = tower(pixels, output_hidden_states=True)
    found = ours(pixels, ("block.0", "block.1", "last", "final"))
    for tap, state in zip(("block.0", "block.1", "last"), expected.hidden_states, strict=True):
        assert (found[tap] - state).abs().max() <= 1e-5  # measured: 2e-6
    assert (found["final"][:, 0] - expected.pooler_output).abs().max() <= 1e-5
    assert len(provenance.left_out) == {"projection": 1, "both": 23}.get(kind, 0)


SHAPES = {
    "CLIPVisionModel": {},
    "SiglipVisionModel": {"cls": False, "pre_norm": False, "patch_bias": True},
    "ViTModel": {"pre_norm": False, "patch_bias": True, "activation": "gelu"},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_eyes_go_back_tensor_for_tensor(kind: str, tmp_path: Path) -> None:
    ours = open_gates(vit(**SHAPES[kind]))
    save_vit(ours, tmp_path / "ours", {"preprocessor_config.json": b"{}"})
    more = {"add_pooling_layer": False} if kind == "ViTModel" else {}
    theirs, report = getattr(transformers, kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True, **more
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    theirs.save_pretrained(tmp_path / "theirs")
    again, _ = load_vit(tmp_path / "theirs")
    assert again.config == ours.config
    names = set(load_file(tmp_path / "ours" / "model.safetensors"))
    assert any(name.startswith("vision_model.") for name in names) == (kind != "ViTModel")
    assert not any(name.startswith("vit.") for name in names)  # that is the classifier's prefix
    assert equal(again.state_dict(), ours.state_dict())
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found, expected = ours(pixels, ["last"])["last"], theirs(pixels, output_hidden_states=True)
    if kind == "CLIPVisionModel":  # the others' last state is normalised
        assert (found - expected.last_hidden_state).abs().max() <= 2e-5  # measured: 1e-6
    else:
        state = expected.last_hidden_state
        assert (ours.post_norm(found) - state).abs().max() <= 2e-5  # measured: 1e-6


def test_eyes_of_no_familys_shape_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No family of transformers has eyes with cls=False"):
        save_vit(vit(cls=False), tmp_path / "eyes")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_only_replaced_when_asked(tmp_path: Path) -> None:
    save_decoder(decoder(), tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        save_decoder(decoder(), tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    save_decoder(decoder(), tmp_path / "m", replace=True)
    assert (tmp_path / "m" / "model.safetensors").read_bytes() != before


def test_companions_stay_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        save_decoder(decoder(), tmp_path / "m", {"../x": b""})
    assert not list(tmp_path.iterdir())
    with open(tmp_path / "tokenizer.json", "wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(CheckpointError, match="larger than"):
        read_companions(tmp_path)


@pytest.mark.parametrize("name", ["no folder at all", "empty"])
def test_a_folder_without_a_config_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for load in (load_decoder, load_vit):
        with pytest.raises(CheckpointError, match=r"no file .*config\.json"):
            load(tmp_path / name)
