"""CLIP's names and settings, as transformers writes them, against ours: both towers, or one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from chiasm.base.config import from_record
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.clip import DualConfig, ImageTowerConfig, TextTowerConfig
from chiasm.models.vit import ViTConfig

WHOLE, IMAGE, EYES = "", "image.", "image.encoder."
"""The parts of a model that a table can be asked for, by how their names begin in a DualEncoder."""
WHY = {
    "text.": "belongs to the text tower",
    "image.pool.": "makes one vector of a picture, which we do not use",
    "image.project.": "projects into the space shared with text, which we do not use",
    "logit_": "belongs to the contrastive loss",
}
ACTIVATIONS: dict[str, Any] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
"""transformers' names of activations -> ours."""
OLD_END = 2
"""The end token's number in configurations older than transformers 4.31; it then pools at the highest."""
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


def pairs(theirs: str, ours: str) -> dict[str, str]:
    """Return the rows of a layer's weight and bias."""
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in ("weight", "bias")}


def tower_rows(vision: str) -> dict[str, str]:
    """Return the rows that CLIP and SigLIP share; names of the vision tower begin with `vision`."""
    rows = {
        f"{vision}embeddings.patch_embedding.weight": "image.encoder.patches.weight",
        f"{vision}embeddings.position_embedding.weight": "image.encoder.position.weight",
        "text_model.embeddings.token_embedding.weight": "text.embed.weight",
        "text_model.embeddings.position_embedding.weight": "text.position.weight",
        **pairs(f"{vision}post_layernorm", "image.encoder.post_norm"),
        **pairs("text_model.final_layer_norm", "text.norm"),
    }
    for theirs, ours in _BLOCK.items():
        rows |= pairs(f"{vision}encoder.layers.*.{theirs}", f"image.encoder.blocks.*.{ours}")
        rows |= pairs(f"text_model.encoder.layers.*.{theirs}", f"text.blocks.*.{ours}")
    return rows


def prefix_of(names: Iterable[str]) -> str:
    """Return how the names of a file's vision tower begin.

    "vision_model." in whole models, in CLIPVisionModelWithProjection, in transformers 4's vision
    models, and where there is no file; "" in transformers 5's CLIPVisionModel and SiglipVisionModel.
    """
    names = tuple(names)
    bare = names and not any(name.startswith("vision_model.") for name in names)
    return "" if bare else "vision_model."


def table(part: str = EYES, names: Iterable[str] = ()) -> NameTable:
    """Return the names of a part of CLIP; what a CLIPModel holds beyond it may be left out.

    part   WHOLE (a DualEncoder), IMAGE (an ImageTower) or EYES (a ViT)
    names  of a file whose spelling is to be followed; the hub's without
    """
    vision = prefix_of(names)
    rows = tower_rows(vision) | {
        f"{vision}embeddings.class_embedding": "image.encoder.cls",
        **pairs(f"{vision}pre_layrnorm", "image.encoder.pre_norm"),  # transformers' spelling
        "visual_projection.weight": "image.project.weight",
        "text_projection.weight": "text.project.weight",
        "logit_scale": "logit_scale",
    }
    buffers = {
        f"{tower}embeddings.position_ids": "is the list 0, 1, 2, ..."
        for tower in (vision, "text_model.")
    }
    return NameTable(rows, left_out=buffers).part(part, WHY)


# ---- settings, read ------------------------------------------------------------------------------


def read_config(values: Mapping[str, Any], source: str) -> ViTConfig:
    """Return our settings for the config.json of a CLIPModel or CLIPVisionModel(WithProjection).

    Defaults are those of transformers' CLIPVisionConfig; what we cannot compute is a
    CheckpointError.
    """
    record = Record(values, source)
    record.allow("quantization_config", None)
    if record.allow("model_type", "clip_vision_model", "clip") == "clip":
        record = _tower(record, "vision")
    return read_eyes(record, patch=32, activation="quick_gelu", norm_eps=1e-5)


def read_image(values: Mapping[str, Any], source: str, names: Iterable[str]) -> ImageTowerConfig:
    """Return our settings for the same; `names` of the file tell whether there is a projection."""
    record = Record(values, source)
    whole = record.values.get("model_type") == "clip"
    named = "WithProjection" in str(record.values.get("architectures"))
    projected = whole or named or "visual_projection.weight" in names
    projection = record.whole("projection_dim", 512) if projected else None
    return ImageTowerConfig(encoder=read_config(values, source), projection=projection)


def read_dual(values: Mapping[str, Any], source: str) -> DualConfig:
    """Return our settings for the config.json of a CLIPModel; else as `read_config`."""
    record = Record(values, source)
    record.allow("model_type", "clip")
    projection = record.whole("projection_dim", 512)
    text = _tower(record, "text")
    end = text.whole("eos_token_id", 49407, least=0)
    image = ImageTowerConfig(encoder=read_config(values, source), projection=projection)
    shape = {
        "causal": True,
        "pool": "highest" if end == OLD_END else "end",
        "end_token": None if end == OLD_END else end,
        "projection": projection,
    }
    sizes = {"width": 512, "heads": 8, "hidden": 2048, "context": 77, "vocab": 49408}
    return DualConfig(
        image=image,
        text=read_text(text, sizes, shape, activation="quick_gelu", norm_eps=1e-5),
        logit_scale=record.number("logit_scale_init_value", 2.6592),
    )


def _tower(record: Record, which: str) -> Record:
    """Return the settings of one tower; transformers puts "..._config_dict" before "..._config"."""
    inner = record.inner(f"{which}_config_dict") or record.inner(f"{which}_config")
    if inner is None:
        raise CheckpointError(f'{record.source} has no "{which}_config".')
    inner.allow("model_type", f"clip_{which}_model")
    return inner


def read_eyes(
    record: Record, *, patch: int, activation: str, norm_eps: float, **shape: Any
) -> ViTConfig:
    """Return a vision tower's settings, with the family's defaults; `shape` are fields of ViTConfig."""
    record.allow("quantization_config", None)
    record.allow("num_channels", 3)
    config = ViTConfig(
        image_size=record.whole("image_size", 224),
        patch=record.whole("patch_size", patch),
        width=record.whole("hidden_size", 768),
        depth=record.whole("num_hidden_layers", 12),
        heads=record.whole("num_attention_heads", 12),
        hidden=record.whole("intermediate_size", 3072),
        activation=read_activation(record, activation),
        norm_eps=record.number("layer_norm_eps", norm_eps),
        **shape,
    )
    if config.width % config.heads or config.image_size < config.patch:
        raise CheckpointError(
            f"{record.source}: heads must divide hidden_size, and a patch must fit into the picture."
        )
    return config


def read_text(
    record: Record,
    sizes: Mapping[str, int],
    shape: Mapping[str, Any],
    *,
    activation: str,
    norm_eps: float,
) -> TextTowerConfig:
    """Return a text tower's settings; `sizes` are the family's defaults, `shape` the other fields."""
    values = {
        "vocab": record.whole("vocab_size", sizes["vocab"]),
        "width": record.whole("hidden_size", sizes["width"]),
        "depth": record.whole("num_hidden_layers", 12),
        "heads": record.whole("num_attention_heads", sizes["heads"]),
        "hidden": record.whole("intermediate_size", sizes["hidden"]),
        "context": record.whole("max_position_embeddings", sizes["context"]),
        "activation": read_activation(record, activation),
        "norm_eps": record.number("layer_norm_eps", norm_eps),
    }
    if values["width"] % values["heads"]:
        raise CheckpointError(f"{record.source}: heads must divide hidden_size.")
    return from_record(TextTowerConfig, {**values, **shape}, record.source)


def read_activation(record: Record, default: str) -> Any:
    """Return our name of "hidden_act"."""
    others = [name for name in ACTIVATIONS if name != default]
    return ACTIVATIONS[record.allow("hidden_act", default, *others)]


# ---- settings, written ---------------------------------------------------------------------------


def write_config(
    config: ViTConfig, dtype: torch.dtype, projection: int | None = None
) -> dict[str, Any]:
    """Return the config.json of a CLIPVisionModel, with a projection's width ...WithProjection."""
    kind = "CLIPVisionModel" if projection is None else "CLIPVisionModelWithProjection"
    return {
        "architectures": [kind],
        **_inner(config, "vision", projection),
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def write_image(config: ImageTowerConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a tower with or without a projection."""
    return write_config(config.encoder, dtype, config.projection)


def write_dual(config: DualConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a CLIPModel."""
    text, projection = config.text, config.text.projection
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "initializer_factor": 1.0,
        "logit_scale_init_value": config.logit_scale,
        "projection_dim": projection,
        "text_config": {
            **_inner(text, "text", projection),
            **text_sizes(text),
            "eos_token_id": OLD_END if text.pool == "highest" else text.end_token,
        },
        "vision_config": _inner(config.image.encoder, "vision", projection),
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def _inner(
    config: ViTConfig | TextTowerConfig, which: str, projection: int | None
) -> dict[str, Any]:
    return {
        "model_type": f"clip_{which}_model",
        **tower_sizes(config),
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "projection_dim": 512 if projection is None else projection,
    }


def tower_sizes(config: ViTConfig | TextTowerConfig) -> dict[str, Any]:
    """Return the settings that all towers of CLIP and SigLIP have, by transformers' names."""
    sizes = {
        "attention_dropout": 0.0,
        "hidden_act": {ours: theirs for theirs, ours in ACTIVATIONS.items()}[config.activation],
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "layer_norm_eps": config.norm_eps,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.depth,
    }
    if isinstance(config, ViTConfig):
        eyes = {"image_size": config.image_size, "num_channels": 3, "patch_size": config.patch}
        return {**sizes, **eyes}
    return sizes


def text_sizes(config: TextTowerConfig) -> dict[str, Any]:
    """Return the settings that only text towers have."""
    return {"vocab_size": config.vocab, "max_position_embeddings": config.context}
