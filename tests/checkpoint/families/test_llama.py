"""Llama's settings, as transformers and GGUF files spell them; the numbers are tested in test_folder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.checkpoint.toys import LLAMA, decoder, decoder_config, to_gguf_rows
from transformers import LlamaConfig, LlamaForCausalLM

from chiasm.checkpoint.families import llama
from chiasm.checkpoint.weights import CheckpointError
from chiasm.nn.rope import RopeScaling

ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SCALING = RopeScaling(factor=8.0, low=1.0, high=4.0, original=16)


def read(**changes: Any) -> Any:
    values = {**LLAMA, **changes}
    return llama.read_config({k: v for k, v in values.items() if v != "absent"}, "config.json")


def test_sizes_are_read() -> None:
    assert read(rope_theta=5e5) == decoder_config(rope_theta=5e5)


def test_what_is_absent_is_transformers_default() -> None:
    absent = dict.fromkeys(
        ("num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "max_position_embeddings"),
        "absent",
    )
    found, theirs = read(**absent), LlamaConfig()
    assert found.kv_heads == found.heads
    assert found.norm_eps == theirs.rms_norm_eps
    assert found.tied == theirs.tie_word_embeddings
    assert found.context == theirs.max_position_embeddings
    assert found.rope_theta == theirs.rope_parameters["rope_theta"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 5e5, "rope_scaling": ROPE},
        {"rope_parameters": {**ROPE, "rope_theta": 5e5}},
        {"rope_theta": 5e5, "rope_scaling": {**ROPE, "type": "llama3"}},
        {"rope_theta": 5e5, "rope_scaling": ROPE, "rope_parameters": {**ROPE, "rope_theta": 5e5}},
    ],
)
def test_all_spellings_of_the_rotary_settings(changes: dict[str, Any]) -> None:
    assert read(**changes) == decoder_config(rope_theta=5e5, rope_scaling=SCALING)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_theta": 5e5, "rope_scaling": None},
        {"rope_theta": 5e5, "rope_scaling": {"type": "default"}},
    ],
)
def test_no_scaling(changes: dict[str, Any]) -> None:
    assert read(**changes) == decoder_config(rope_theta=5e5)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mistral"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_interleaved": True},
        {"sliding_window": 4096},
        {"quantization_config": {"quant_method": "gptq"}},
        {"pretraining_tp": 2},
        {"partial_rotary_factor": 0.5},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 4.0}},
        {"rope_scaling": ROPE, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        {"num_key_value_heads": 3},
        {"head_dim": 7},
        {"hidden_size": "absent"},
        {"vocab_size": -1},
        {"rms_norm_eps": "1e-5"},
        {"tie_word_embeddings": "yes"},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read(**changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read_back_and_by_transformers(scaled: bool, tied: bool) -> None:
    config = decoder_config(tied=tied, rope_theta=5e5, rope_scaling=SCALING if scaled else None)
    written = llama.write_config(config, torch.bfloat16, {"eos_token_id": 2})
    assert llama.read_config(written, "x") == config
    theirs = LlamaConfig.from_dict(written)
    assert theirs.rope_parameters["rope_theta"] == 5e5
    assert theirs.rope_parameters["rope_type"] == ("llama3" if scaled else "default")
    assert (theirs.head_dim, theirs.tie_word_embeddings) == (8, tied)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (None, 2)


@pytest.mark.parametrize("tied", [True, False])
def test_the_table_covers_both_sides_exactly(tied: bool) -> None:
    """Coverage in both directions, against the names that both modules really have."""
    theirs = LlamaForCausalLM(LlamaConfig(**{**LLAMA, "tie_word_embeddings": tied}))
    names = set(theirs.state_dict())
    ours = set(decoder(tied=tied).state_dict())
    table = llama.table(tied)
    found = table.match(names, "theirs")
    assert set(found.places) == ours and not found.left_out
    assert set(table.rename(ours).values()) == names - set(found.twins)
    assert set(found.twins) == ({"lm_head.weight"} if tied else set())


def test_old_rotary_buffers_are_left_out_and_counted() -> None:
    found = llama.table(True).match(["model.layers.0.self_attn.rotary_emb.inv_freq"], "x")
    assert len(found.left_out) == 1


@pytest.mark.parametrize("heads", [4, 2])
def test_row_order_of_gguf_is_undone(heads: int) -> None:
    weight = torch.randn(32, 5)
    theirs = torch.from_numpy(to_gguf_rows(weight.numpy(), heads))
    config = decoder_config(heads=4, kv_heads=2)
    name = f"blocks.1.attn.{'q' if heads == 4 else 'k'}.weight"
    assert torch.equal(llama.from_gguf(config, name, theirs), weight)
    assert torch.equal(llama.from_gguf(config, "blocks.1.attn.v.weight", weight), weight)


GGUF = {
    "general.architecture": "llama",
    "llama.embedding_length": 32,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.feed_forward_length": 64,
    "llama.context_length": 64,
    "llama.attention.layer_norm_rms_epsilon": 9.999999747378752e-06,
}
SHAPES = {"token_embd.weight": (96, 32)}


def test_gguf_settings_are_read() -> None:
    assert llama.read_gguf_config(GGUF, SHAPES, "x.gguf") == decoder_config()
    untied = llama.read_gguf_config(GGUF, {**SHAPES, "output.weight": (96, 32)}, "x.gguf")
    assert untied == decoder_config(tied=False)


@pytest.mark.parametrize(
    "change",
    [
        {"general.architecture": "qwen2"},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.expert_count": 8},
        {"llama.rope.dimension_count": 4},
        {"llama.attention.head_count": [4, 4]},
        {"llama.block_count": None},
        {"llama.attention.layer_norm_rms_epsilon": 0.0},
    ],
    ids=str,
)
def test_gguf_settings_we_cannot_compute_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"x\.gguf"):
        llama.read_gguf_config({**GGUF, **change}, SHAPES, "x.gguf")
    with pytest.raises(CheckpointError, match="token_embd"):
        llama.read_gguf_config(GGUF, {}, "x.gguf")
