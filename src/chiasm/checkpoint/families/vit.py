"""The plain ViT's names and settings, as transformers writes them, against ours, with its classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from chiasm.checkpoint.families.clip import pairs, read_eyes, tower_sizes
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.classifier import ClassifierConfig
from chiasm.models.vit import ViTConfig

WHOLE, EYES = "", "encoder."
"""The parts of a model that a table can be asked for, by how their names begin in a Classifier."""
_WHY = {"head.": "tells classes apart, which we do not use"}
_STORED = {
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.o",
    "intermediate.dense": "mlp.up",
    "output.dense": "mlp.down",
}
"""On disk, by transformers 4 and by 5."""
_IN_MEMORY = {
    "attention.q_proj": "attn.q",
    "attention.k_proj": "attn.k",
    "attention.v_proj": "attn.v",
    "attention.o_proj": "attn.o",
    "mlp.fc1": "mlp.up",
    "mlp.fc2": "mlp.down",
}
"""In transformers 5's modules, and on disk when it is told not to rename."""


def table(part: str = EYES, names: Iterable[str] = ()) -> NameTable:
    """Return the names of a ViTForImageClassification, or of the eyes in it or in a ViTModel.

    part   WHOLE (a Classifier) or EYES (a ViT)
    names  of a file whose spelling is to be followed; the hub's without
    """
    names = tuple(names)
    whole = any(name.startswith("vit.") for name in names) if names else part == WHOLE
    vit = "vit." if whole else ""  # a ViTModel has no prefix
    new = any(name.startswith(f"{vit}layers.") for name in names)
    layer = f"{vit}layers.*" if new else f"{vit}encoder.layer.*"
    rows = {
        f"{vit}embeddings.cls_token": "encoder.cls",
        f"{vit}embeddings.position_embeddings": "encoder.position.weight",
        **pairs(f"{vit}embeddings.patch_embeddings.projection", "encoder.patches"),
        **pairs(f"{layer}.layernorm_before", "encoder.blocks.*.attn_norm"),
        **pairs(f"{layer}.layernorm_after", "encoder.blocks.*.mlp_norm"),
        **pairs(f"{vit}layernorm", "encoder.post_norm"),
        **pairs("classifier", "head"),
    }
    for theirs, ours in (_IN_MEMORY if new else _STORED).items():
        rows |= pairs(f"{layer}.{theirs}", f"encoder.blocks.*.{ours}")
    pooler = [f"{vit}pooler.dense.{kind}" for kind in ("weight", "bias")]
    left_out = dict.fromkeys(pooler, "makes one vector of a picture, which we do not use")
    ones = {"encoder.cls": 2, "encoder.position.weight": 1}
    return NameTable(rows, left_out=left_out, ones=ones).part(part, _WHY)


def read_config(values: Mapping[str, Any], source: str) -> ViTConfig:
    """Return our settings for the config.json of a ViTModel or ViTForImageClassification.

    Defaults are those of transformers' ViTConfig; what we cannot compute is a CheckpointError.
    """
    record = Record(values, source)
    record.allow("model_type", "vit")
    record.allow("qkv_bias", True)
    shape = {"cls": True, "pre_norm": False, "patch_bias": True}
    return read_eyes(record, patch=16, activation="gelu", norm_eps=1e-12, **shape)


def read_classifier(values: Mapping[str, Any], source: str) -> ClassifierConfig:
    """Return our settings for the config.json of a ViTForImageClassification, its classes by name."""
    record = Record(values, source)
    named = record.inner("id2label") or Record({"0": "LABEL_0", "1": "LABEL_1"}, source)
    labels = []
    for number in range(len(named.values)):
        if str(number) not in named.values:
            raise CheckpointError(f'{named.source} names no class "{number}".')
        labels.append(named.text(str(number)))
    return ClassifierConfig(encoder=read_config(values, source), labels=tuple(labels))


def write_config(config: ViTConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a ViTModel without its pooler."""
    return _write(config, dtype, "ViTModel")


def write_classifier(config: ClassifierConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Return the config.json of a ViTForImageClassification."""
    return {
        **_write(config.encoder, dtype, "ViTForImageClassification"),
        "id2label": {str(number): name for number, name in enumerate(config.labels)},
        "label2id": {name: number for number, name in enumerate(config.labels)},
    }


def _write(config: ViTConfig, dtype: torch.dtype, kind: str) -> dict[str, Any]:
    sizes = tower_sizes(config)
    del sizes["attention_dropout"]
    return {
        "architectures": [kind],
        "model_type": "vit",
        **sizes,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "qkv_bias": True,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
