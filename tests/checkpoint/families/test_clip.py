"""CLIP's settings and names; the numbers are tested in test_folder."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.checkpoint import oracles
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
from chiasm.models import DualConfig

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
    table = clip.table(names=names)
    found = table.match(names, kind)
    assert set(found.places) == ours
    assert set(table.rename(ours).values()) == names - set(found.left_out)
    assert len(found.left_out) == {"tower": 0, "projection": 1, "both": 23}[kind]


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_transformers_4_stored_a_buffer_more(prefix: str) -> None:
    names = [f"{prefix}embeddings.position_ids", f"{prefix}post_layernorm.bias"]
    found = clip.table(names=names).match(names, "x")
    assert list(found.left_out) == names[:1] and list(found.places) == ["post_norm.bias"]


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
        {"patch_size": 17},
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


def dual_config(**text: Any) -> DualConfig:
    return clip.read_dual(oracles.clip_config(words=text).to_dict(), "x")


def test_a_dual_config_is_read_whole() -> None:
    found = dual_config(num_attention_heads=4)
    assert found.image.pool == "cls" and found.image.projection == found.text.projection == 12
    assert (found.text.vocab, found.text.context, found.text.depth, found.text.heads) == (
        50,
        9,
        3,
        4,
    )
    assert (found.text.pool, found.text.end_token, found.text.causal) == ("end", 49, True)
    assert (found.logit_scale, found.logit_bias) == (2.6592, None)
    assert (found.image.encoder.image_size, found.image.encoder.patch) == (15, 5)


def test_an_old_end_token_means_the_highest() -> None:
    found = dual_config(eos_token_id=2).text
    assert (found.pool, found.end_token) == ("highest", None)
    assert dual_config(eos_token_id=0).text.end_token == 0


@pytest.mark.parametrize("words", [{}, {"eos_token_id": 2}, {"hidden_act": "gelu"}], ids=str)
def test_a_dual_config_goes_back_and_transformers_reads_it(words: dict[str, Any]) -> None:
    config = dual_config(**words)
    written = clip.write_dual(config, torch.float16)
    assert clip.read_dual(written, "x") == config
    theirs, first = CLIPConfig.from_dict(written), oracles.clip_config(words=words)
    assert theirs.projection_dim == first.projection_dim
    for key in ("hidden_size", "num_attention_heads", "hidden_act", "layer_norm_eps"):
        assert getattr(theirs.text_config, key) == getattr(first.text_config, key), key
        assert getattr(theirs.vision_config, key) == getattr(first.vision_config, key), key
    for key in ("vocab_size", "max_position_embeddings", "eos_token_id", "num_hidden_layers"):
        assert getattr(theirs.text_config, key) == getattr(first.text_config, key), key


def test_absent_settings_of_two_towers_are_transformers_defaults() -> None:
    found = clip.read_dual({"model_type": "clip", "text_config": {}, "vision_config": {}}, "x")
    assert found == clip.read_dual(CLIPConfig().to_dict(), "x")


def test_the_dicts_of_the_first_converter_come_before_the_configs() -> None:
    values = oracles.clip_config().to_dict()
    values["text_config_dict"] = {**values["text_config"], "hidden_act": "gelu"}
    values["vision_config_dict"] = {**values["vision_config"], "intermediate_size": 40}
    ours = clip.read_dual(values, "x")
    theirs = CLIPConfig.from_dict(copy.deepcopy(values))  # it writes into what it is given
    assert ours.text.activation == theirs.text_config.hidden_act == "gelu"
    assert ours.image.encoder.hidden == theirs.vision_config.intermediate_size == 40


def test_a_projection_that_is_promised_is_expected() -> None:
    values = oracles.clip_vision_config().to_dict()
    assert clip.read_image(values, "x", ()).projection is None
    assert clip.read_image(values, "x", ["visual_projection.weight"]).projection == 12
    promised = {**values, "architectures": ["CLIPVisionModelWithProjection"]}
    assert clip.read_image(promised, "x", ()).projection == 12
    assert clip.read_image(oracles.clip_config().to_dict(), "x", ()).projection == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "clip_vision_model"},
        {"text_config": None},
        {"text_config": {"hidden_size": 33}},
        {"text_config": {"model_type": "siglip_text_model"}},
        {"text_config": {"eos_token_id": [1, 2]}},
        {"projection_dim": 0},
        {"logit_scale_init_value": "2"},
    ],
    ids=str,
)
def test_towers_that_we_cannot_compute_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="cfg") as caught:
        clip.read_dual({**oracles.clip_config().to_dict(), **changes}, "cfg")
    assert "\n" not in str(caught.value)
