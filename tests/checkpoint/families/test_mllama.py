"""Mllama's names and settings against transformers' own, at the released sizes and tiny ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MllamaConfig, MllamaForConditionalGeneration

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import meta, mllama
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import CrossedConfig, ProjectorConfig, ViTConfig, compose
from chiasm.nn.rope import RopeScaling

ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
RELEASED: dict[str, tuple[dict[str, Any], int, int, int]] = {
    # text settings, tensors, parameters with transformers' tile tables, and with Meta's
    "11B": ({}, 906, 10_670_220_835, 10_629_184_035),
    "90B": (
        {
            **{"hidden_size": 8192, "num_hidden_layers": 100, "num_attention_heads": 64},
            **{"intermediate_size": 28672, "cross_attention_layers": list(range(3, 100, 5))},
        },
        1494,
        88_593_355_323,
        88_552_318_523,
    ),
}


def tiny(**changes: Any) -> dict[str, Any]:
    """A config.json as transformers 5.23 writes it; changes are `text.key`, `vision.key` or `key`."""
    text = {
        **{"model_type": "mllama_text_model", "vocab_size": 61, "hidden_size": 16},
        **{"intermediate_size": 24, "num_hidden_layers": 7, "cross_attention_layers": [1, 5]},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu"},
        **{"rms_norm_eps": 1e-5, "max_position_embeddings": 64, "dropout": 0.0},
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        **{"rope_parameters": {**ROPE, "rope_theta": 5e5}, "tie_word_embeddings": False},
    }
    vision = {
        **{"model_type": "mllama_vision_model", "hidden_size": 8, "attention_heads": 2},
        **{"num_hidden_layers": 4, "num_global_layers": 2, "intermediate_size": 12},
        **{"image_size": 28, "patch_size": 14, "intermediate_layers_indices": [1, 3]},
        **{"vision_output_dim": 24, "max_num_tiles": 4, "hidden_act": "gelu", "num_channels": 3},
        **{"norm_eps": 1e-5},
    }
    whole = {"model_type": "mllama", "image_token_index": 61}
    parts = {"text": text, "vision": vision, "": whole}
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        parts[part][name] = value
    return {**whole, "text_config": text, "vision_config": vision}


def read(**changes: Any) -> CrossedConfig:
    return mllama.read_config(tiny(**changes), "config.json")


def test_sizes_are_read() -> None:
    config = read()
    assert (config.decoder.vocab, config.decoder.depth, config.crosses) == (61, 5, 2)
    assert config.decoder.rope_scaling == RopeScaling(factor=8.0, low=1.0, high=4.0, original=8192)
    assert config.projector == ProjectorConfig(
        taps=("final", "block.1", "block.3"), kind="linear", norm=False, cls=True
    )
    assert (config.encoder.depth, config.encoder.gated, config.encoder.tables) == (4, 2, "shapes")
    assert (config.extra_tokens, config.image_token, config.compat) == (8, 61, "meta")


def test_what_is_absent_is_transformers_default() -> None:
    theirs = MllamaConfig(text_config={"vocab_size": 128256})
    found = mllama.read_config({"text_config": {}, "vision_config": {}}, "x")
    assert found == mllama.read_config(theirs.to_dict(), "x")
    assert found.decoder.rope_theta == theirs.text_config.rope_parameters["rope_theta"] == 5e5


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llava"},
        {"image_token_index": 60},
        {"quantization_config": {"quant_method": "gptq"}},
        {"text__model_type": "llama"},
        {"text__cross_attention_layers": [1, 4]},
        {"text__cross_attention_layers": "3"},
        {"text__num_hidden_layers": 2},
        {"text__hidden_act": "gelu"},
        {"text__head_dim": 8},
        {"text__rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
        {"vision__hidden_act": "quick_gelu"},
        {"vision__norm_eps": 1e-6},
        {"vision__supported_aspect_ratios": [[1, 1], [2, 1]]},
        {"vision__intermediate_layers_indices": [3, 1]},
        {"vision__intermediate_layers_indices": [1, 4]},
        {"vision__vision_output_dim": 16},
        {"vision__attention_heads": 3},
        {"vision__image_size": 30},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read(**changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_missing_part_is_named() -> None:
    with pytest.raises(CheckpointError, match='no "vision_config"'):
        mllama.read_config({"text_config": {}}, "x")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("ids", [{}, {"bos_token_id": 1, "eos_token_id": [2, 3]}])
def test_what_is_written_is_read_back_and_by_transformers(tied: bool, ids: dict[str, Any]) -> None:
    config = read(text__tie_word_embeddings=tied)
    written = mllama.write_config(config, torch.bfloat16, ids)
    assert mllama.read_config(written, "x") == config
    theirs = MllamaConfig.from_dict(written)
    assert theirs.text_config.rope_parameters == {**ROPE, "rope_theta": 5e5}
    assert theirs.text_config.eos_token_id == ids.get("eos_token_id")
    assert theirs.text_config.pad_token_id is None
    assert theirs.text_config.cross_attention_layers == [1, 5]
    assert theirs.vision_config.num_attention_heads == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": ViTConfig(image_size=28, patch=14, width=8, depth=4, heads=2, hidden=8)},
        {"encoder": {"activation": "quick_gelu"}},
        {"projector": {"norm": True}},
        {"projector": {"taps": ("block.1", "final")}},
        {"projector": {"taps": ("final", "block.3", "block.1")}},
        {"projector": {"taps": ("final", "last")}},
        {"cross": "flamingo"},
        {"extra_tokens": 2},
        {"attend": "all_previous"},
        {"decoder": {"head_width": 8}},
    ],
    ids=str,
)
def test_what_it_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    config = read()
    (name, value), *_ = changes.items()
    if isinstance(value, dict):
        value = getattr(config, name).model_copy(update=value)
    other = config.model_copy(update={name: value})
    for write in (lambda c: mllama.write_config(c, torch.float32, {}), meta.write_params):
        with pytest.raises(UserError, match=rf"cannot hold this model: its {name}"):
            write(other)


@pytest.mark.parametrize("size", RELEASED)
def test_every_tensor_of_the_released_models_is_accounted_for(size: str) -> None:
    """Names and shapes in both directions, and the exact number of parameters.

    The published counts hold transformers' tile tables, which have a row for each shape of a picture;
    Meta's hold each place once, 41,036,800 parameters fewer. All other tensors are counted once.
    """
    text, tensors, parameters, by_place = RELEASED[size]
    their_config = MllamaConfig(
        text_config={"rope_parameters": {**ROPE, "rope_theta": 5e5}, **text},
        vision_config={"image_size": 560},
    )
    with torch.device("meta"):
        theirs = MllamaForConditionalGeneration(their_config).state_dict()
    config = mllama.read_config(their_config.to_dict(), "config.json")
    with torch.device("meta"):
        model = compose(config)
    names = mllama.table(config)
    packed = names.pack(model.state_dict())
    assert len(packed) == len(theirs) == tensors
    assert {mllama.in_memory(name): packed.spec(name).shape for name in packed} == {
        name: tuple(value.shape) for name, value in theirs.items()
    }
    assert names.match(packed, "hub").places.keys() == model.state_dict().keys()
    in_memory = mllama.table(config, theirs).match(theirs, "memory")
    assert in_memory.places.keys() == model.state_dict().keys() and not in_memory.left_out
    assert count(model) == parameters
    eyes = config.encoder.model_copy(update={"tables": "grid"})
    with torch.device("meta"):
        assert count(compose(config.model_copy(update={"encoder": eyes}))) == by_place


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
