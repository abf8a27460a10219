"""CLIP's settings and names; the numbers are tested in test_folder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.checkpoint.toys import vit, vit_config
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from chiasm.checkpoint.families import clip
from chiasm.checkpoint.weights import CheckpointError

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "projection_dim": 12,
}


def vision_config(**changes: Any) -> CLIPVisionConfig:
    return CLIPVisionConfig(**{**SIZES, **changes})


def both_towers() -> CLIPModel:
    text = CLIPTextConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        projection_dim=12,
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision_config().to_dict(), projection_dim=12
        )
    )


@pytest.mark.parametrize("kind", ["tower", "projection", "both"])
def test_the_table_covers_both_sides_exactly(kind: str) -> None:
    theirs = {
        "tower": lambda: CLIPVisionModel(vision_config()),
        "projection": lambda: CLIPVisionModelWithProjection(vision_config()),
        "both": both_towers,
    }[kind]()
    names = set(theirs.state_dict())
    ours = set(vit().state_dict())
    table = clip.table(clip.prefix_of(names))
    found = table.match(names, kind)
    assert set(found.places) == ours
    assert set(table.rename(ours).values()) == names - set(found.left_out)
    assert len(found.left_out) == {"tower": 0, "projection": 1, "both": 23}[kind]


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_transformers_4_stored_a_buffer_more(prefix: str) -> None:
    found = clip.table(prefix).match([f"{prefix}embeddings.position_ids"], "x")
    assert found.left_out and not found.places


def test_both_kinds_of_config_are_read() -> None:
    assert clip.read_config(vision_config().to_dict(), "x") == vit_config()
    assert clip.read_config(both_towers().config.to_dict(), "x") == vit_config()
    gelu = vision_config(hidden_act="gelu", layer_norm_eps=1e-6).to_dict()
    assert clip.read_config(gelu, "x") == vit_config(activation="gelu", norm_eps=1e-6)


def test_what_is_absent_is_transformers_default() -> None:
    theirs = CLIPVisionConfig()
    found = clip.read_config({"model_type": "clip", "vision_config": {}}, "x")
    assert found == clip.read_config(theirs.to_dict(), "x")
    assert (found.width, found.patch, found.depth) == (768, 32, 12)


@pytest.mark.parametrize("projection", [None, 12])
def test_what_is_written_is_read_back_and_by_transformers(projection: int | None) -> None:
    written = clip.write_config(vit_config(), torch.float16, projection)
    assert clip.read_config(written, "x") == vit_config()
    theirs = CLIPVisionConfig.from_dict(written)
    for key, value in SIZES.items():
        if key != "projection_dim" or projection is not None:
            assert getattr(theirs, key) == value, key
    suffix = "" if projection is None else "WithProjection"
    assert theirs.architectures == [f"CLIPVisionModel{suffix}"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "siglip_vision_model"},
        {"hidden_act": "relu"},
        {"num_channels": 1},
        {"quantization_config": {}},
        {"hidden_size": 33},
        {"patch_size": 7},
        {"num_hidden_layers": 0},
        {"model_type": "clip"},
        {"model_type": "clip", "vision_config": {"hidden_act": "relu"}},
        {"model_type": "clip", "vision_config": [1]},
        {"model_type": "clip", "vision_config": {}, "quantization_config": {"bits": 4}},
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused_in_one_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="cfg") as caught:
        clip.read_config({**vision_config().to_dict(), **changes}, "cfg")
    assert "\n" not in str(caught.value)
