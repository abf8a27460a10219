"""LLaVA-1.5's settings, as the hub and transformers 5 spell them; the numbers are in test_fused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.checkpoint.families.test_mllama import count
from transformers import LlavaConfig, LlavaForConditionalGeneration

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import llava
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import PrefixConfig, ProjectorConfig, compose

HUB: dict[str, Any] = {  # what the config.json of LLaVA-1.5 7B says; the rest is taken for granted
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "image_token_index": 32000,
    "model_type": "llava",
    "pad_token_id": 32001,
    "projector_hidden_act": "gelu",
    "text_config": {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "rms_norm_eps": 1e-05,
        "torch_dtype": "float16",
        "vocab_size": 32064,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
        "vocab_size": 32000,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "vocab_size": 32064,
}


def read(**changes: Any) -> PrefixConfig:
    return llava.read_config({**HUB, **changes}, "config.json")


def test_the_hubs_seven_billion() -> None:
    config = read()
    assert config.projector == ProjectorConfig(
        taps=("block.23",), kind="mlp", norm=False, cls=False
    )
    assert (config.image_token, config.extra_tokens, config.decoder.vocab) == (32000, 0, 32064)
    assert (config.places(), config.decoder.hidden, config.decoder.tied) == (576, 11008, False)


def test_every_tensor_is_accounted_for() -> None:
    with torch.device("meta"):
        theirs = LlavaForConditionalGeneration(LlavaConfig.from_dict(HUB)).state_dict()
        model = compose(read())
    names = llava.table(read(), theirs)
    packed = names.pack(model.state_dict())
    assert {name: packed.spec(name).shape for name in packed} == {
        name: tuple(value.shape) for name, value in theirs.items()
    }
    assert names.match(theirs, "memory").places.keys() == model.state_dict().keys()
    assert count(model) == 7_063_427_072


def test_what_is_absent_is_transformers_default() -> None:
    assert llava.read_config({"text_config": {"vocab_size": 32064}}, "x") == llava.read_config(
        LlavaConfig(text_config={"model_type": "llama", "vocab_size": 32064}).to_dict(), "x"
    )


def test_older_files_hold_a_buffer_that_nobody_needs() -> None:
    names = ["vision_tower.vision_model.embeddings.position_ids"]
    names.append("language_model.model.layers.0.self_attn.rotary_emb.inv_freq")
    assert set(llava.table(read(), names).match(names, "x").left_out) == set(names)


@pytest.mark.parametrize(
    ("changes", "taps", "cls"),
    [
        ({"vision_feature_layer": -1}, ("last",), False),
        ({"vision_feature_layer": 22}, ("block.22",), False),
        ({"vision_feature_layer": 24}, ("last",), False),
        ({"vision_feature_layer": [-2, -5, 3]}, ("block.23", "block.20", "block.3"), False),
        ({"vision_feature_select_strategy": "full"}, ("block.23",), True),
    ],
    ids=str,
)
def test_layers_are_numbers_of_hidden_states(
    changes: dict[str, Any], taps: tuple[str, ...], cls: bool
) -> None:
    config = read(**changes)
    assert (config.projector.taps, config.projector.cls) == (taps, cls)
    assert llava.read_config(llava.write_config(config, torch.float16, {}), "x") == config


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llava_next"},
        {"projector_hidden_act": "relu"},
        {"multimodal_projector_bias": False},
        {"vision_feature_layer": 25},
        {"vision_feature_layer": []},
        {"vision_feature_layer": "-2"},
        {"vision_feature_select_strategy": "cls"},
        {"image_token_index": 32064},
        {"quantization_config": {"quant_method": "awq"}},
        {"text_config": {"model_type": "mistral"}},
        {"vision_config": {"model_type": "siglip_vision_model"}},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read(**changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read_by_transformers(tied: bool) -> None:
    config = read(tie_word_embeddings=tied)
    written = llava.write_config(config, torch.float16, {"bos_token_id": 1, "eos_token_id": 2})
    assert llava.read_config(written, "x") == config
    theirs = LlavaConfig.from_dict(written)
    assert (theirs.image_token_index, theirs.image_seq_length) == (32000, 576)
    assert theirs.tie_word_embeddings == theirs.text_config.tie_word_embeddings == tied
    assert (theirs.vision_feature_layer, theirs.vision_config.image_size) == (-2, 336)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": True},
        {"kind": "linear"},
        {"squares": 2},
        {"taps": ("final",)},
    ],
    ids=str,
)
def test_what_it_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    config = read()
    other = config.model_copy(update={"projector": config.projector.model_copy(update=changes)})
    with pytest.raises(UserError, match="its projector"):
        llava.write_config(other, torch.float16, {})
