"""Llama's names and settings, as transformers and GGUF files write them, against ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chiasm.base.config import from_record
from chiasm.checkpoint.changes import halves
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.decoder import DecoderConfig

BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn.q",
    "self_attn.k_proj": "attn.k",
    "self_attn.v_proj": "attn.v",
    "self_attn.o_proj": "attn.o",
    "post_attention_layernorm": "mlp_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
_GGUF_BLOCK = {
    "attn_norm": "attn_norm",
    "attn_q": "attn.q",
    "attn_k": "attn.k",
    "attn_v": "attn.v",
    "attn_output": "attn.o",
    "ffn_norm": "mlp_norm",
    "ffn_gate": "mlp.gate",
    "ffn_up": "mlp.up",
    "ffn_down": "mlp.down",
}


def table(tied: bool) -> NameTable:
    """Return the names of a LlamaForCausalLM; a tied head may be stored and must then be equal."""
    rows = {
        f"model.layers.*.{theirs}.weight": f"blocks.*.{ours}.weight"
        for theirs, ours in BLOCK.items()
    }
    rows |= {"model.embed_tokens.weight": "embed.weight", "model.norm.weight": "norm.weight"}
    speeds = {
        f"model.{place}rotary_emb.inv_freq": "rotary speeds are computed from the settings"
        for place in ("", "layers.*.self_attn.")
    }
    if tied:
        return NameTable(rows, twins={"lm_head.weight": "embed.weight"}, left_out=speeds)
    return NameTable(rows | {"lm_head.weight": "unembed.weight"}, left_out=speeds)


def gguf_table(tied: bool) -> NameTable:
    """Return the names of a GGUF file of architecture "llama"."""
    rows = {
        f"blk.*.{theirs}.weight": f"blocks.*.{ours}.weight" for theirs, ours in _GGUF_BLOCK.items()
    }
    rows |= {"token_embd.weight": "embed.weight", "output_norm.weight": "norm.weight"}
    return NameTable(rows if tied else rows | {"output.weight": "unembed.weight"})


def read_config(values: Mapping[str, Any], source: str) -> DecoderConfig:
    """Return our settings for a LlamaForCausalLM's config.json.

    What we cannot compute is a CheckpointError. Understands transformers 4 (`rope_theta`,
    `rope_scaling`) and 5 (`rope_parameters`). Defaults are those of transformers' LlamaConfig.
    """
    record = Record(values, source)
    record.allow("model_type", "llama")
    record.allow("hidden_act", "silu")
    for key in ("attention_bias", "mlp_bias", "rope_interleaved"):
        record.allow(key, False)
    for key in ("sliding_window", "quantization_config"):
        record.allow(key, None)
    for key in ("partial_rotary_factor", "pretraining_tp"):
        record.allow(key, 1, 1.0)
    width, heads = record.whole("hidden_size"), record.whole("num_attention_heads")
    theta, scaling = _rope(record)
    return _config(
        source,
        vocab=record.whole("vocab_size"),
        width=width,
        depth=record.whole("num_hidden_layers"),
        heads=heads,
        kv_heads=record.whole("num_key_value_heads", heads),
        head_width=record.whole("head_dim", width // heads),
        hidden=record.whole("intermediate_size"),
        context=record.whole("max_position_embeddings", 2048),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=record.number("rms_norm_eps", 1e-6),
        tied=record.truth("tie_word_embeddings", False),
    )


def _config(source: str, **values: Any) -> DecoderConfig:
    if values["heads"] % values["kv_heads"] or values["head_width"] % 2:
        raise CheckpointError(
            f"{source}: {values['heads']} heads of width {values['head_width']} with "
            f"{values['kv_heads']} key heads do not make a Llama; the key heads must divide the "
            "heads, and the width must be even."
        )
    return from_record(DecoderConfig, values, source)


def _rope(record: Record) -> tuple[float, dict[str, Any] | None]:
    """Return the rotary base and Llama 3.1's scaling, from whichever spelling is there."""
    new, old = record.inner("rope_parameters"), record.inner("rope_scaling")
    spelled = [part for part in (new, old) if part is not None]
    scalings = [_scaling(part, record) for part in spelled] or [None]
    thetas = [
        part.number("rope_theta") for part in (*spelled, record) if "rope_theta" in part.values
    ]
    if scalings != scalings[:1] * len(scalings) or len(set(thetas)) > 1:
        raise CheckpointError(
            f'{record.source}: "rope_parameters" and the older rope settings disagree.'
        )
    return (thetas or [10000.0])[0], scalings[0]


def _scaling(rope: Record, config: Record) -> dict[str, Any] | None:
    kinds = {
        rope.allow(key, "default", "llama3") for key in ("rope_type", "type") if key in rope.values
    }
    if kinds <= {"default"}:
        return None
    rope.allow("partial_rotary_factor", 1, 1.0)
    return {
        "factor": rope.number("factor"),
        "low": rope.number("low_freq_factor"),
        "high": rope.number("high_freq_factor"),
        "original": rope.whole(
            "original_max_position_embeddings", config.whole("max_position_embeddings", 2048)
        ),
    }


def write_config(
    config: DecoderConfig, dtype: torch.dtype, ids: Mapping[str, int]
) -> dict[str, Any]:
    """Return the config.json of a LlamaForCausalLM, readable by transformers 4 and 5.

    ids  the special tokens' numbers by transformers' names (`bos_token_id`, ...); absent ones
         become null, because transformers' own defaults belong to another vocabulary
    """
    scaling = config.rope_scaling
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": ids.get("bos_token_id"),
        "eos_token_id": ids.get("eos_token_id"),
        "pad_token_id": ids.get("pad_token_id"),
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "hidden_size": config.width,
        "initializer_range": 0.02,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.context,
        "mlp_bias": False,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.depth,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None
        if scaling is None
        else {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low,
            "high_freq_factor": scaling.high,
            "original_max_position_embeddings": scaling.original,
        },
        "tie_word_embeddings": config.tied,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_cache": True,
        "vocab_size": config.vocab,
    }


def read_gguf_config(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], source: str
) -> DecoderConfig:
    """Return our settings for the metadata of a GGUF file of architecture "llama".

    shapes  of the file's tensors; they tell the vocabulary's size and whether the head is tied
    """
    record = Record(metadata, source)
    record.allow("general.architecture", "llama")
    record.allow("llama.rope.scaling.type", "none")
    record.allow("llama.expert_count", 0)
    width, heads = (
        record.whole("llama.embedding_length"),
        record.whole("llama.attention.head_count"),
    )
    head_width = record.whole("llama.attention.key_length", width // heads)
    record.allow("llama.rope.dimension_count", head_width)
    record.allow("llama.attention.value_length", head_width)
    if "token_embd.weight" not in shapes:
        raise CheckpointError(f'{source} has no tensor "token_embd.weight".')
    return _config(
        source,
        vocab=shapes["token_embd.weight"][0],
        width=width,
        depth=record.whole("llama.block_count"),
        heads=heads,
        kv_heads=record.whole("llama.attention.head_count_kv", heads),
        head_width=head_width,
        hidden=record.whole("llama.feed_forward_length"),
        context=record.whole("llama.context_length"),
        rope_theta=record.number("llama.rope.freq_base", 10000.0),
        # GGUF keeps float32; 9.999999747378752e-06 was written as 1e-05.
        norm_eps=float(f"{record.number('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        tied="output.weight" not in shapes,
    )


def from_gguf(config: DecoderConfig, name: str, tensor: Tensor) -> Tensor:
    """Undo GGUF's order of query and key rows: it rotates neighbours as pairs, we rotate halves."""
    heads = {"q.weight": config.heads, "k.weight": config.kv_heads}.get(name.rpartition("attn.")[2])
    if heads is None:
        return tensor
    return halves(heads).ours(tensor)[0]
