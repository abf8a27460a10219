"""The plain ViT's settings and names; the numbers are tested in parity/test_towers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import transformers
from tests.checkpoint import oracles
from transformers import ViTForImageClassification, ViTModel

from chiasm.checkpoint.families import vit
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import Classifier, ViT


def on_disk(config: transformers.ViTConfig) -> dict[str, Any]:
    """As config.json has it, where the classes' numbers are texts."""
    return json.loads(config.to_json_string(use_diff=False))


@pytest.mark.parametrize("kind", ["classifier", "model"])
def test_the_table_covers_the_names_in_transformers_5s_memory_exactly(kind: str) -> None:
    config = vit.read_classifier(on_disk(oracles.vit_config()), "x")
    makers = {"classifier": ViTForImageClassification, "model": ViTModel}
    names = set(makers[kind](oracles.vit_config()).state_dict())
    part = vit.WHOLE if kind == "classifier" else vit.EYES
    ours = set((Classifier(config) if part == vit.WHOLE else ViT(config.encoder)).state_dict())
    table = vit.table(part, names)
    found = table.match(names, "x")
    assert set(found.places) == ours
    assert set(table.rename(ours).values()) == names - set(found.left_out)
    assert len(found.left_out) == {"classifier": 0, "model": 2}[kind]


def test_eyes_leave_the_head_out() -> None:
    names = set(oracles.vit_classifier().state_dict())
    found = vit.table(names=names).match(names, "x")
    assert set(found.left_out) == {"classifier.weight", "classifier.bias"}


def test_settings_and_labels_are_read() -> None:
    found = vit.read_classifier(on_disk(oracles.vit_config()), "x")
    eyes = found.encoder
    assert (eyes.cls, eyes.pre_norm, eyes.patch_bias, eyes.places()) == (True, False, True, 10)
    assert (eyes.activation, eyes.norm_eps) == ("gelu", 1e-12)
    assert found.labels == ("cat", "dog", "owl")


def test_what_is_absent_is_transformers_default() -> None:
    theirs = transformers.ViTConfig()
    found = vit.read_classifier({"model_type": "vit"}, "x")
    assert found.encoder == vit.read_config(on_disk(theirs), "x")
    assert found.labels == tuple(theirs.id2label.values()) == ("LABEL_0", "LABEL_1")


def test_what_is_written_is_read_back_and_by_transformers() -> None:
    first = oracles.vit_config(hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6)
    config = vit.read_classifier(on_disk(first), "x")
    written = vit.write_classifier(config, torch.float16)
    assert vit.read_classifier(written, "x") == config
    theirs = transformers.ViTConfig.from_dict(written)
    for key in ("hidden_size", "hidden_act", "layer_norm_eps", "patch_size", "id2label"):
        assert getattr(theirs, key) == getattr(first, key), key
    assert theirs.label2id == {"cat": 0, "dog": 1, "owl": 2}
    eyes = vit.write_config(config.encoder, torch.float16)
    assert eyes["architectures"] == ["ViTModel"] and vit.read_config(eyes, "x") == config.encoder


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "deit"},
        {"qkv_bias": False},
        {"hidden_act": "relu"},
        {"image_size": [224, 224]},
        {"id2label": {"0": "a", "2": "b"}},
        {"id2label": {"0": 3}},
        {"id2label": ["a"]},
        {"hidden_size": 25},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="cfg") as caught:
        vit.read_classifier({**on_disk(oracles.vit_config()), **changes}, "cfg")
    assert "\n" not in str(caught.value)
