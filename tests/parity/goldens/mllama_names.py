"""Meta's Llama 3.2 Vision weights under the hub's names, as transformers' own conversion makes them.

Written from the rules of `convert_mllama_weights_to_hf.py` (huggingface/transformers, v4.45 on, last
stored version), and independent of this project's tables, which it is there to test:

- names by the table below; cross blocks are counted among the decoder's layers;
- query and key rows of self-attention, not of cross-attention, go from pairs to halves;
- tile tables [4, 4, n, width] become one row per aspect ratio, row 0 zero;
- the patch matrix becomes a convolution; gates keep one number; the eight extra rows are appended.

One rule is general here and was not there: transformers places cross block j at its stride's
multiple, which only fits the released sizes; here it is Meta's schedule[j] + j.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))
TEXT, TOWER = r"language_model.model", r"vision_model"
RULES = (  # first match wins
    (r"text_model\.norm\.(.+)", rf"{TEXT}.norm.\1"),
    (r"text_model\.output\.(.+)", r"language_model.lm_head.\1"),
    (r"text_model\.tok_embeddings\.(.+)", rf"{TEXT}.embed_tokens.\1"),
    (
        r"text_model\.layers\.(\d+)\.attention\.w([qkvo])\.(.+)",
        rf"{TEXT}.layers.\1.self_attn.\2_proj.\3",
    ),
    (
        r"text_model\.cross_attention_layers\.(\d+)\.attention\.w([qkvo])\.(.+)",
        rf"{TEXT}.layers.\1.cross_attn.\2_proj.\3",
    ),
    (
        r"text_model\.cross_attention_layers\.(\d+)\.attention\.([qk])_norm\.(.+)",
        rf"{TEXT}.layers.\1.cross_attn.\2_norm.\3",
    ),
    (
        r"text_model\.cross_attention_layers\.(\d+)\.gate_attn",
        rf"{TEXT}.layers.\1.cross_attn_attn_gate",
    ),
    (
        r"text_model\.cross_attention_layers\.(\d+)\.gate_ffwd",
        rf"{TEXT}.layers.\1.cross_attn_mlp_gate",
    ),
    (r"text_model\.\w+\.(\d+)\.attention_norm\.(.+)", rf"{TEXT}.layers.\1.input_layernorm.\2"),
    (r"text_model\.\w+\.(\d+)\.ffn_norm\.(.+)", rf"{TEXT}.layers.\1.post_attention_layernorm.\2"),
    (r"text_model\.\w+\.(\d+)\.feed_forward\.w1\.(.+)", rf"{TEXT}.layers.\1.mlp.gate_proj.\2"),
    (r"text_model\.\w+\.(\d+)\.feed_forward\.w2\.(.+)", rf"{TEXT}.layers.\1.mlp.down_proj.\2"),
    (r"text_model\.\w+\.(\d+)\.feed_forward\.w3\.(.+)", rf"{TEXT}.layers.\1.mlp.up_proj.\2"),
    (r"vision_model\.vision_projection\.(.+)", r"multi_modal_projector.\1"),
    (r"vision_model\.vision_encoder\.conv1\._linear\.(.+)", rf"{TOWER}.patch_embedding.\1"),
    (
        r"vision_model\.vision_encoder\.(\w*transformer)\.resblocks\.(\d+)\.attn\.w([qkvo])\.(.+)",
        rf"{TOWER}.\1.layers.\2.self_attn.\3_proj.\4",
    ),
    (
        r"vision_model\.vision_encoder\.(\w*transformer)\.resblocks\.(\d+)\.mlp\.c_fc\.(.+)",
        rf"{TOWER}.\1.layers.\2.mlp.fc1.\3",
    ),
    (
        r"vision_model\.vision_encoder\.(\w*transformer)\.resblocks\.(\d+)\.mlp\.c_proj\.(.+)",
        rf"{TOWER}.\1.layers.\2.mlp.fc2.\3",
    ),
    (
        r"vision_model\.vision_encoder\.(\w*transformer)\.resblocks\.(\d+)\.ln_1\.(.+)",
        rf"{TOWER}.\1.layers.\2.input_layernorm.\3",
    ),
    (
        r"vision_model\.vision_encoder\.(\w*transformer)\.resblocks\.(\d+)\.ln_2\.(.+)",
        rf"{TOWER}.\1.layers.\2.post_attention_layernorm.\3",
    ),
    (
        r"vision_model\.vision_encoder\.global_transformer\.resblocks\.(\d+)\.(gate_\w+)",
        rf"{TOWER}.global_transformer.layers.\1.\2",
    ),
    (r"vision_model\.vision_encoder\.ln_(pre|post)\.(.+)", rf"{TOWER}.layernorm_\1.\2"),
    (
        r"vision_model\.vision_encoder\.(pre|post)_tile_pos_embed\.embedding",
        rf"{TOWER}.\1_tile_positional_embedding.embedding.weight",
    ),
    (
        r"vision_model\.vision_encoder\.(pre|post)_tile_pos_embed\.gate",
        rf"{TOWER}.\1_tile_positional_embedding.gate",
    ),
    (
        r"vision_model\.vision_encoder\.positional_embedding",
        rf"{TOWER}.gated_positional_embedding.embedding",
    ),
    (
        r"vision_model\.vision_encoder\.gated_positional_embedding",
        rf"{TOWER}.gated_positional_embedding.tile_embedding.weight",
    ),
    (
        r"vision_model\.vision_encoder\.gated_positional_embedding_gate",
        rf"{TOWER}.gated_positional_embedding.gate",
    ),
    (r"vision_model\.vision_encoder\.class_embedding", rf"{TOWER}.class_embedding"),
)


def to_hub(weights: dict[str, Tensor], record: dict[str, Any]) -> dict[str, Tensor]:
    """All weights of a Meta vision golden under hub names; KeyError when a name has no rule."""
    params, schedule = record["params"], record["fusion_schedule"]
    extra = weights["text_model.learnable_embedding.weight"]
    cross = [at + j for j, at in enumerate(schedule)]
    plain = [i for i in range(params["n_layers"] + len(schedule)) if i not in cross]
    found = {}
    for key, value in weights.items():
        if key == "text_model.learnable_embedding.weight":
            continue
        name = hub_name(key)
        if match := re.match(r"text_model\.(cross_attention_)?layers\.(\d+)", key):
            place = (cross if match[1] else plain)[int(match[2])]
            name = re.sub(r"layers\.\d+", f"layers.{place}", name, count=1)
        found[name] = reshaped(key, value, params, record["tower"]["patch"])
    table = "language_model.model.embed_tokens.weight"
    return found | {table: torch.cat((found[table], extra))}


def hub_name(key: str) -> str:
    for pattern, name in RULES:
        if match := re.fullmatch(pattern, key):
            return match.expand(name)
    raise KeyError(key)


def reshaped(key: str, value: Tensor, params: dict[str, Any], patch: int) -> Tensor:
    if match := re.match(r"text_model\.layers\.\d+\.attention\.w([qk])\.", key):
        heads = params["n_heads" if match[1] == "q" else "n_kv_heads"]
        return value.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
    if key.endswith("conv1._linear.weight"):
        return value.reshape(-1, 3, patch, patch)
    if key.endswith("pos_embed.embedding") or key.endswith("gated_positional_embedding"):
        rows = torch.zeros(1 + len(RATIOS), len(value), *value.shape[2:])
        for index, (height, width) in enumerate(RATIOS):
            rows[index + 1, : height * width] = value[:height, :width].flatten(0, 1)
        return rows.flatten(1)
    return value


def hub_config(record: dict[str, Any]) -> dict[str, Any]:
    """config.json in the spelling of the hub's Llama-3.2-Vision folders, with this model's sizes."""
    params, tower, schedule = record["params"], record["tower"], record["fusion_schedule"]
    hidden = int(params.get("ffn_dim_multiplier", 1.0) * int(8 * params["dim"] / 3))
    step = params["multiple_of"]
    text = {
        "model_type": "mllama_text_model",
        "vocab_size": params["vocab_size"],
        "hidden_size": params["dim"],
        "intermediate_size": step * ((hidden + step - 1) // step),
        "num_hidden_layers": params["n_layers"] + len(schedule),
        "cross_attention_layers": [at + j for j, at in enumerate(schedule)],
        "num_attention_heads": params["n_heads"],
        "num_key_value_heads": params["n_kv_heads"],
        "hidden_act": "silu",
        "rms_norm_eps": params["norm_eps"],
        "rope_theta": params["rope_theta"],
        "rope_scaling": {"rope_type": "default"},
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    }
    if params["use_scaled_rope"]:
        text["rope_scaling"] = {
            **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
            **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        }
    vision = {
        "model_type": "mllama_vision_model",
        "hidden_size": tower["width"],
        "attention_heads": tower["heads"],
        "num_hidden_layers": tower["layers"],
        "num_global_layers": tower["global_layers"],
        "intermediate_size": int(tower["mlp_ratio"] * tower["width"]),
        "intermediate_layers_indices": tower["taps"],
        "vision_output_dim": tower["width"] * (1 + len(tower["taps"])),
        "image_size": params["vision_chunk_size"],
        "patch_size": tower["patch"],
        **{"num_channels": 3, "hidden_act": "gelu", "norm_eps": 1e-5, "max_num_tiles": 4},
        "supported_aspect_ratios": [list(ratio) for ratio in RATIOS],
    }
    top = {"architectures": ["MllamaForConditionalGeneration"], "model_type": "mllama"}
    top |= {"image_token_index": params["vocab_size"], "torch_dtype": "float32"}
    return {**top, "text_config": text, "vision_config": vision}
