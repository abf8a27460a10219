"""CLIP's names and settings, as transformers writes them, against ours: the vision tower only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.vit import ViTConfig

_BLOCK = {
    "layer_norm1": "attn_norm",
    "self_attn.q_proj": "attn.q",
    "self_attn.k_proj": "attn.k",
    "self_attn.v_proj": "attn.v",
    "self_attn.out_proj": "attn.o",
    "layer_norm2": "mlp_norm",
    "mlp.fc1": "mlp.up",
    "mlp.fc2": "mlp.down",
}
_TEXT = (
    "embeddings.token_embedding.weight",
    "embeddings.position_embedding.weight",
    "embeddings.position_ids",
)


def _vision_rows() -> dict[str, str]:
    rows = {
        "embeddings.patch_embedding.weight": "patches.weight",
        "embeddings.class_embedding": "cls",
        "embeddings.position_embedding.weight": "position.weight",
    }
    for kind in ("weight", "bias"):
        rows[f"pre_layrnorm.{kind}"] = f"pre_norm.{kind}"  # transformers' spelling
        rows[f"post_layernorm.{kind}"] = f"post_norm.{kind}"
        for theirs, ours in _BLOCK.items():
            rows[f"encoder.layers.*.{theirs}.{kind}"] = f"blocks.*.{ours}.{kind}"
    return rows


def _beyond() -> dict[str, str]:
    """Names of what a whole CLIP has beyond its vision tower."""
    text = [*_TEXT, "final_layer_norm.weight", "final_layer_norm.bias"]
    text += [
        f"encoder.layers.*.{theirs}.{kind}" for theirs in _BLOCK for kind in ("weight", "bias")
    ]
    beyond = {f"text_model.{name}": "belongs to the text tower" for name in text}
    beyond["visual_projection.weight"] = (
        "projects into the space shared with text, which we do not use"
    )
    beyond["text_projection.weight"] = "belongs to the text tower"
    beyond["logit_scale"] = "belongs to the contrastive loss"
    return beyond


def table(prefix: str = "vision_model.") -> NameTable:
    """Return the names of CLIP's vision tower; what a CLIPModel holds beyond it may be left out.

    prefix  "vision_model." in CLIPModel, CLIPVisionModelWithProjection and transformers 4's
            CLIPVisionModel; "" in transformers 5's CLIPVisionModel
    """
    buffer = {"embeddings.position_ids": "is the list 0, 1, 2, ..."}
    tower = NameTable(_vision_rows(), left_out=buffer).prefixed(prefix)
    return NameTable(tower.rows, left_out={**tower.left_out, **_beyond()})


def prefix_of(names: Iterable[str]) -> str:
    """Return the prefix that a file's vision tower has."""
    return "vision_model." if any(name.startswith("vision_model.") for name in names) else ""


def read_config(values: Mapping[str, Any], source: str) -> ViTConfig:
    """Return our settings for the config.json of a CLIPModel or CLIPVisionModel(WithProjection).

    Defaults are those of transformers' CLIPVisionConfig; what we cannot compute is a
    CheckpointError.
    """
    record = Record(values, source)
    if record.allow("model_type", "clip_vision_model", "clip") == "clip":
        inner = record.inner("vision_config")
        if inner is None:
            raise CheckpointError(f'{source} has no "vision_config".')
        inner.allow("model_type", "clip_vision_model")
        record = inner
    for part in (record, Record(values, source)):
        part.allow("quantization_config", None)
    record.allow("num_channels", 3)
    config = ViTConfig(
        image_size=record.whole("image_size", 224),
        patch=record.whole("patch_size", 32),
        width=record.whole("hidden_size", 768),
        depth=record.whole("num_hidden_layers", 12),
        heads=record.whole("num_attention_heads", 12),
        hidden=record.whole("intermediate_size", 3072),
        activation=record.allow("hidden_act", "quick_gelu", "gelu"),
        norm_eps=record.number("layer_norm_eps", 1e-5),
    )
    if config.width % config.heads or config.image_size % config.patch:
        raise CheckpointError(
            f"{source}: heads must divide hidden_size, and patch_size image_size."
        )
    return config


def write_config(
    config: ViTConfig, dtype: torch.dtype, projection: int | None = None
) -> dict[str, Any]:
    """Return the config.json of a CLIPVisionModel, with a projection's width ...WithProjection."""
    return {
        "architectures": [
            "CLIPVisionModel" if projection is None else "CLIPVisionModelWithProjection"
        ],
        "model_type": "clip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": config.activation,
        "hidden_size": config.width,
        "image_size": config.image_size,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": config.hidden,
        "layer_norm_eps": config.norm_eps,
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch,
        "projection_dim": 512 if projection is None else projection,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
