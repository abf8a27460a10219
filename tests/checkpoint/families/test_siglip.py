"""SigLIP's settings and names; the numbers are tested in parity/test_towers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.checkpoint import oracles
from transformers import SiglipConfig, SiglipVisionModel

from chiasm.checkpoint.families import siglip
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import DualEncoder, ImageTower, ViT


def test_the_table_covers_both_sides_exactly() -> None:
    names = set(oracles.siglip_model().state_dict())
    config = siglip.read_dual(oracles.siglip_config().to_dict(), "x")
    parts = {
        siglip.WHOLE: DualEncoder(config),
        siglip.IMAGE: ImageTower(config.image),
        siglip.EYES: ViT(config.image.encoder),
    }
    for part, model in parts.items():
        ours, table = set(model.state_dict()), siglip.table(part, names)
        found = table.match(names, "x")
        assert set(found.places) == ours
        assert set(table.rename(ours).values()) == names - set(found.left_out)
        assert bool(found.left_out) == (part != siglip.WHOLE)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_both_spellings_of_a_vision_model(prefix: str) -> None:
    """transformers 5 writes no prefix, transformers 4 does."""
    theirs = SiglipVisionModel(oracles.siglip_vision_config()).state_dict()
    assert "post_layernorm.bias" in theirs
    names = [prefix + name for name in theirs]
    found = siglip.table(siglip.IMAGE, names).match(names, "x")
    assert found.places["encoder.post_norm.bias"] == f"{prefix}post_layernorm.bias"
    assert found.places["pool.k.bias"] == f"{prefix}head.attention.in_proj_bias"
    assert not found.left_out


def test_settings_are_read() -> None:
    found = siglip.read_dual(oracles.siglip_config(eyes={"patch_size": 4}).to_dict(), "x")
    eyes = found.image.encoder
    assert (eyes.cls, eyes.pre_norm, eyes.patch_bias, eyes.lead) == (False, False, True, 0)
    assert (eyes.activation, eyes.norm_eps, eyes.patch, eyes.places()) == ("gelu_tanh", 1e-6, 4, 9)
    assert (found.image.pool, found.image.projection, found.image.out) == ("probe", None, 24)
    text = found.text
    assert (text.causal, text.pool, text.end_token) == (False, "last", None)
    assert (text.projection, text.projection_bias, text.context) == (24, True, 9)
    assert (found.logit_scale, found.logit_bias) == (math.log(10), -10.0)


def test_what_is_absent_is_transformers_default() -> None:
    found = siglip.read_dual({"model_type": "siglip"}, "x")
    assert found == siglip.read_dual(SiglipConfig().to_dict(), "x")
    assert (found.text.vocab, found.text.context, found.image.encoder.width) == (32000, 64, 768)


@pytest.mark.parametrize("words", [{}, {"hidden_act": "gelu"}], ids=str)
def test_what_is_written_is_read_back_and_by_transformers(words: dict[str, Any]) -> None:
    first = oracles.siglip_config(words=words)
    config = siglip.read_dual(first.to_dict(), "x")
    written = siglip.write_dual(config, torch.bfloat16)
    assert siglip.read_dual(written, "x") == config
    theirs = SiglipConfig.from_dict(written)
    keys = ("hidden_size", "num_attention_heads", "hidden_act", "layer_norm_eps")
    for key in keys:
        assert getattr(theirs.text_config, key) == getattr(first.text_config, key), key
        assert getattr(theirs.vision_config, key) == getattr(first.vision_config, key), key
    for key in ("vocab_size", "max_position_embeddings", "projection_size"):
        assert getattr(theirs.text_config, key) == getattr(first.text_config, key), key
    alone = siglip.write_image(config.image, torch.float32)
    assert siglip.read_image(alone, "x", ()) == config.image
    eyes = siglip.write_config(config.image.encoder, torch.float32)
    assert siglip.read_config(eyes, "x") == config.image.encoder
    with pytest.raises(CheckpointError, match=r"no head.*load it as eyes"):
        siglip.read_image(eyes, "x", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "siglip_vision_model"},
        {"text_config": {"projection_size": 20}},
        {"text_config": {"hidden_act": "relu"}},
        {"text_config": [1]},
        {"vision_config": {"model_type": "clip_vision_model"}},
        {"vision_config": {"vision_use_head": False}},
        {"vision_config": {"num_channels": 4}},
        {"quantization_config": {"bits": 8}},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="cfg") as caught:
        siglip.read_dual({**oracles.siglip_config().to_dict(), **changes}, "cfg")
    assert "\n" not in str(caught.value)
