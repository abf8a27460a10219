"""SigLIP's names and settings, as transformers writes them, against ours: both towers, or one.

They are CLIP's, but for no CLS vector and no first norm in the vision tower, a bias on the patches, a
probe that makes one vector of a picture, and a bias on the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from chiasm.checkpoint.families.clip import (
    EYES,
    IMAGE,
    WHOLE,
    WHY,
    pairs,
    prefix_of,
    read_eyes,
    read_text,
    text_sizes,
    tower_rows,
    tower_sizes,
)
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.clip import DualConfig, ImageTowerConfig, TextTowerConfig
from chiasm.models.vit import ViTConfig

__all__ = [
    "EYES",
    "IMAGE",
    "WHOLE",
    "read_config",
    "read_dual",
    "read_image",
    "table",
    "write_config",
    "write_dual",
    "write_image",
]

_SHAPE = {"cls": False, "pre_norm": False, "patch_bias": True}
_SCALE, _BIAS = math.log(10.0), -10.0
"""Where training starts (Zhai et al. 2023, algorithm 1); config.json does not keep them."""


def table(part: str = EYES, names: Iterable[str] = ()) -> NameTable:
    """Return the names of a part of SigLIP; what a SiglipModel holds beyond it may be left out.

    part   WHOLE (a DualEncoder), IMAGE (an ImageTower) or EYES (a ViT)
    names  of a file whose spelling is to be followed; the hub's without
    """
    vision = prefix_of(names)
    head, pool = f"{vision}head", "image.pool"
    fused = {
        f"{head}.attention.in_proj_{kind}": " + ".join(f"{pool}.{p}.{kind}" for p in "qkv")
        for kind in ("weight", "bias")
    }
    rows = tower_rows(vision) | {
        f"{vision}embeddings.patch_embedding.bias": "image.encoder.patches.bias",
        f"{head}.probe": f"{pool}.probe",
        **fused,
        **pairs(f"{head}.attention.out_proj", f"{pool}.o"),
        **pairs(f"{head}.layernorm", f"{pool}.mlp_norm"),
        **pairs(f"{head}.mlp.fc1", f"{pool}.mlp.up"),
        **pairs(f"{head}.mlp.fc2", f"{pool}.mlp.down"),
        **pairs("text_model.head", "text.project"),
        "logit_scale": "logit_scale",
        "logit_bias": "logit_bias",
    }
    ones = {f"{pool}.probe": 2, "logit_scale": 1, "logit_bias": 1}
    return NameTable(rows, ones=ones).part(part, WHY)


def read_config(values: Mapping[str, Any], source: str) -> ViTConfig:
    """Return our settings for the config.json of a SiglipModel or SiglipVisionModel.

    Defaults are those of transformers' SiglipVisionConfig; what we cannot compute is a
    CheckpointError.
    """
    record = _vision(values, source)
    return read_eyes(record, patch=16, activation="gelu_pytorch_tanh", norm_eps=1e-6, **_SHAPE)


def read_image(values: Mapping[str, Any], source: str, names: Iterable[str]) -> ImageTowerConfig:
    """Return our settings for the same with the probe; without one it is a CheckpointError."""
    record = _vision(values, source)
    if not record.truth("vision_use_head", True):
        raise CheckpointError(
            f"{record.source}: this tower has no head that makes one vector of a picture; "
            "load it as eyes."
        )
    return ImageTowerConfig(encoder=read_config(values, source), pool="probe")


def read_dual(values: Mapping[str, Any], source: str) -> DualConfig:
    """Return our settings for the config.json of a SiglipModel; else as `read_config`."""
    record = Record(values, source)
    record.allow("model_type", "siglip")
    image, text = read_image(values, source, ()), _tower(record, "text")
    sizes = {"width": 768, "heads": 12, "hidden": 3072, "context": 64, "vocab": 32000}
    projection = text.whole("projection_size", text.whole("hidden_size", sizes["width"]))
    if projection != image.out:
        raise CheckpointError(
            f"{source}: texts become vectors of {projection} numbers and pictures of {image.out}."
        )
    shape = {"causal": False, "pool": "last", "projection": projection, "projection_bias": True}
    words = read_text(text, sizes, shape, activation="gelu_pytorch_tanh", norm_eps=1e-6)
    return DualConfig(image=image, text=words, logit_scale=_SCALE, logit_bias=_BIAS)


def _vision(values: Mapping[str, Any], source: str) -> Record:
    record = Record(values, source)
    record.allow("quantization_config", None)
    if record.allow("model_type", "siglip_vision_model", "siglip") == "siglip":
        return _tower(record, "vision")
    return record


def _tower(record: Record, which: str) -> Record:
    """Return the settings of one tower; transformers takes its defaults for one that is absent."""
    inner = record.inner(f"{which}_config") or Record({}, f"{record.source}, {which}_config")
    inner.allow("model_type", f"siglip_{which}_model")
    return inner


def write_config(config: ViTConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a SiglipVisionModel without a head."""
    return _write_vision(config, dtype, head=False)


def write_image(config: ImageTowerConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a SiglipVisionModel."""
    return _write_vision(config.encoder, dtype, head=True)


def write_dual(config: DualConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a SiglipModel."""
    return {
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "initializer_factor": 1.0,
        "text_config": {
            **_inner(config.text, "text"),
            **text_sizes(config.text),
            "projection_size": config.text.projection,
        },
        "vision_config": {**_inner(config.image.encoder, "vision"), "vision_use_head": True},
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def _write_vision(config: ViTConfig, dtype: torch.dtype, head: bool) -> dict[str, Any]:
    return {
        "architectures": ["SiglipVisionModel"],
        **_inner(config, "vision"),
        "vision_use_head": head,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def _inner(config: ViTConfig | TextTowerConfig, which: str) -> dict[str, Any]:
    return {"model_type": f"siglip_{which}_model", **tower_sizes(config)}
