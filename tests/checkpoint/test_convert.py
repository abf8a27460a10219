"""Conversions: values kept as promised, tokenizer and settings with them, hub folders as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoint.test_vocabulary import metadata, smollm
from tests.checkpoint.toys import (
    decoder,
    equal,
    onnx_model,
    onnx_tensor,
    quantised_linear,
    vit,
    vit_config,
    write_gguf,
)

from chiasm.checkpoint.convert import (
    PROJECTION,
    clip_from_onnx,
    compact,
    decoder_from_hub,
    smollm2_from_gguf,
    vit_from_hub,
)
from chiasm.checkpoint.families import clip, llama
from chiasm.checkpoint.folder import load_decoder, load_vit, save_decoder, write_folder
from chiasm.checkpoint.gguf import read_gguf
from chiasm.checkpoint.towers import load_image_tower, save_image_tower
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import ImageTower, ImageTowerConfig


def test_what_was_never_quantised_stays_exact() -> None:
    exact = torch.tensor([0.5, -2.0, 65504.0])
    inexact = torch.tensor([0.1, 1e6])
    assert compact(exact, quantised=False).dtype is torch.float16
    assert torch.equal(compact(inexact, quantised=False), inexact)
    assert compact(torch.tensor([0.1]), quantised=True).dtype is torch.float16


def test_a_gguf_file_becomes_a_folder(tmp_path: Path) -> None:
    """SmolLM2's way: Q4_1 matrices, Q8_0-like rest, its tokenizer and template."""
    tokenizer = smollm()
    model = decoder(vocab=tokenizer.get_vocab_size(), width=64, head_width=16, context=64)
    extra = {
        k.replace(".", "__"): v
        for k, v in metadata(tokenizer).items()
        if k != "llama.context_length"
    }
    payload = write_gguf(tmp_path / "m.gguf", model, "Q4_1", **extra)
    content = smollm2_from_gguf(payload)
    write_folder(tmp_path / "m", content.config, content.tensors, content.files)
    made, _ = load_decoder(tmp_path / "m")
    direct, _ = load_decoder(payload)
    assert made.config == direct.config == model.config
    for name, value in direct.state_dict().items():
        error = (made.state_dict()[name] - value).abs()
        assert (error <= value.abs() / 2048 + 1e-7).all(), name
        if value.ndim == 1:
            assert error.max() == 0, name
    assert content.files.keys() >= {
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert (content.config["bos_token_id"], content.config["eos_token_id"]) == (1, 2)
    kinds = {name: tensor.dtype for name, tensor in content.tensors.items()}
    assert kinds["model.layers.0.mlp.up_proj.weight"] is torch.float16
    assert read_gguf(payload).stored["token_embd.weight"].kind.name == "Q4_1"


def clip_payload(folder: Path, leave_out: str = "") -> tuple[Path, dict[str, np.ndarray]]:
    """A toy of the CLIP carrier and the values that its weights have."""
    own = vit().state_dict()
    nodes, stored, values = [], [], {}
    for ours, theirs in clip.table().rename(own).items():
        value = own[ours].numpy()
        if value.ndim == 2 and "embedding" not in theirs:
            made, tensors, value = quantised_linear(
                theirs.removesuffix(".weight"), value, bias=True
            )
            nodes += made
            stored += tensors
        else:
            stored.append(onnx_tensor(theirs, value))
        values[theirs] = value
    made, tensors, values[PROJECTION] = quantised_linear(
        "last", np.random.default_rng(0).standard_normal((12, 32)).astype(np.float32), bias=False
    )
    if leave_out != PROJECTION:
        nodes += made
        stored += tensors
    path = folder / "toy.onnx"
    path.write_bytes(onnx_model(nodes, stored))
    return path, values


def test_the_clip_carrier_becomes_a_folder(tmp_path: Path) -> None:
    payload, values = clip_payload(tmp_path)
    content = clip_from_onnx(payload, vit_config())
    assert content.tensors.keys() == values.keys()
    for name, tensor in content.tensors.items():
        value = torch.from_numpy(np.array(values[name]))
        error = (tensor.float() - value).abs()
        assert (error <= value.abs() / 2048 + 1e-7).all(), name
        if tensor.ndim == 1 or "embedding" in name:
            assert error.max() == 0, name
    assert content.config["projection_dim"] == 12
    write_folder(tmp_path / "m", content.config, content.tensors, content.files)
    _, provenance = load_vit(tmp_path / "m")
    assert list(provenance.left_out) == [f"model.safetensors:{PROJECTION}"]
    recipe = json.loads((tmp_path / "m" / "preprocessor_config.json").read_text())
    assert recipe["crop_size"] == {"height": 16, "width": 16} and len(recipe["image_mean"]) == 3


def test_a_clip_carrier_without_its_projection_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no projection"):
        clip_from_onnx(clip_payload(tmp_path, PROJECTION)[0], vit_config())


@pytest.mark.parametrize("kept", ["config", "file"])
def test_a_hub_decoder_is_taken_over_tensor_for_tensor(kept: str, tmp_path: Path) -> None:
    files = {
        "tokenizer.json": b"{}",
        "tokenizer_config.json": json.dumps({"chat_template": "of the config"}).encode(),
        "generation_config.json": b'{"eos_token_id": 2}',
        **({"chat_template.jinja": b"of the file"} if kept == "file" else {}),
    }
    model = decoder().bfloat16()
    save_decoder(model, tmp_path / "hub", files)
    content = decoder_from_hub(tmp_path / "hub")
    write_folder(tmp_path / "m", content.config, content.tensors, content.files)
    made, _ = load_decoder(tmp_path / "m", torch.bfloat16)
    assert equal(made.state_dict(), model.state_dict())
    assert content.files["chat_template.jinja"].decode() == f"of the {kept}"
    assert content.config["torch_dtype"] == "bfloat16" and content.config["eos_token_id"] == 2
    assert llama.read_config(content.config, "x") == model.config


@pytest.mark.parametrize("recipe", [b'{"size": 16}', None])
def test_of_a_hub_clip_the_eyes_are_taken(recipe: bytes | None, tmp_path: Path) -> None:
    tower = ImageTower(ImageTowerConfig(encoder=vit_config(), projection=12))
    files = {"preprocessor_config.json": recipe} if recipe else {}
    save_image_tower(tower, tmp_path / "hub", {**files, "tokenizer.json": b"text tower's"})
    tensors = dict(read_all(tmp_path / "hub"))
    tensors |= {
        "text_model.final_layer_norm.weight": torch.zeros(4),
        "logit_scale": torch.tensor(1.0),
    }
    save_file(tensors, tmp_path / "hub" / "model.safetensors")
    content = vit_from_hub(tmp_path / "hub")
    assert not any(name.startswith(("text", "logit")) for name in content.tensors)
    assert torch.equal(content.tensors[PROJECTION], tower.project.weight)
    assert list(content.files) == ["preprocessor_config.json"]
    if recipe:
        assert content.files["preprocessor_config.json"] == recipe
    write_folder(tmp_path / "m", content.config, content.tensors, content.files)
    assert equal(load_image_tower(tmp_path / "m")[0].state_dict(), tower.state_dict())
    assert equal(load_vit(tmp_path / "m")[0].state_dict(), tower.encoder.state_dict())


def read_all(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
