"""Known sizes against published counts, and against transformers' modules of the same settings."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
import torch
import transformers
from torch import nn

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import clip, llama, llava, mllama
from chiasm.models import (
    Crossed,
    CrossedConfig,
    Decoder,
    DecoderConfig,
    PrefixConfig,
    ViTConfig,
    compose,
)
from chiasm.models.eyes import eyes
from chiasm.models.zoo import NAMES, zoo
from chiasm.testing import toy_crossed, toy_crossed_config

PUBLISHED = {
    "meta-llama-3-8b": 8_030_261_248,
    "llama-3.1-70b-instruct": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b-instruct": 3_212_749_824,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b-instruct": 1_711_376_384,
    "llama-3.2-11b-vision-instruct": 10_670_220_835,
    "llama-3.2-90b-vision": 88_593_355_323,
    "llava-1.5-7b-hf": 7_063_427_072,
}
"""Parameters of the hub's weight files."""


def built(name: str) -> Any:
    config = zoo(name)
    with torch.device("meta"):
        if isinstance(config, CrossedConfig | PrefixConfig):
            return compose(config)
        return Decoder(config) if isinstance(config, DecoderConfig) else eyes(config)


def count(model: nn.Module, *pieces: str) -> int:
    parts = [model.get_submodule(piece) for piece in pieces] or [model]
    return sum(p.numel() for part in parts for p in part.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_model_has_the_published_parameters(name: str) -> None:
    assert count(built(name)) == PUBLISHED[name]


def test_parts_of_llama_3_2_vision() -> None:
    """Llama 3 herd of models, 7.2, and the released weights."""
    small, large = built("llama-3.2-11b-vision-instruct"), built("llama-3.2-90b-vision")
    assert count(small.decoder) == 8_030_261_248 and count(large.decoder) == 70_553_706_496
    assert count(small.crosses) == 8 * 218_112_258 and count(large.crosses) == 20 * 855_654_658
    assert count(small.encoder) == count(large.encoder) == 863_567_379
    assert count(small.projector) == 31_461_376 and count(large.projector) == 62_922_752
    # A ViT-H/14 has 630 million; "850M" with 8 gated blocks lies between the layouts of the tables.
    assert round(count(built("clip-vit-h-14-laion2b-s32b-b79k")) / 1e6) == 631
    assert round(count(small.encoder, "blocks") / 1e6) == 630
    assert count(small.encoder, "gated") == 8 * (count(small.encoder, "blocks") // 32 + 2)
    assert round(count(built("llama-3.2-11b-vision").encoder) / 1e6) == 836
    assert zoo("llama-3.2-11b-vision").encoder.image_size == 448  # type: ignore[union-attr]


def test_the_adapter_of_405b_is_as_large_as_the_papers() -> None:
    """About 100 B: 31 crosses of 3.19 B, one for each whole four of the 126 blocks."""
    model = built("llama-3.1-405b-vision")
    assert round(count(model.crosses) / 1e8) == 988
    assert model.schedule == tuple(range(3, 126, 4)) and len(model.crosses) == 31
    assert round(count(model) / 1e9) == 506  # "≈ 500 B"


@pytest.mark.parametrize(("name", "paper"), [("8b", 0.6e9), ("70b", 4.6e9)])
def test_video_costs_what_the_paper_says(name: str, paper: float) -> None:
    model = built(f"llama-3.1-{name}-video")
    more = count(model, "video_crosses", "aggregator")
    assert abs(more / paper - 1) < 0.03  # measured 0.021 and 0.004


# ---- the same settings in transformers ---------------------------------------------------------


def theirs(kind: str, record: dict[str, Any]) -> nn.Module:
    settings = getattr(transformers, f"{kind}Config").from_dict(record)
    known = {"Llama": "ForCausalLM", "CLIPVision": "Model"}
    with torch.device("meta"):
        return getattr(transformers, kind + known.get(kind, "ForConditionalGeneration"))(settings)


@pytest.mark.parametrize("name", ["llama-3.2-1b", "smollm2-360m", "llama-3.1-8b"])
def test_transformers_counts_language_models_alike(name: str) -> None:
    config = zoo(name)
    assert isinstance(config, DecoderConfig)
    record = llama.write_config(config, torch.bfloat16, {})
    assert count(theirs("Llama", record)) == count(built(name))
    assert llama.read_config(record, name) == config


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("clip-")])
def test_transformers_counts_eyes_alike(name: str) -> None:
    config = zoo(name)
    assert isinstance(config, ViTConfig)
    record = clip.write_config(config, torch.float32)
    assert count(theirs("CLIPVision", record)) == count(built(name))


@pytest.mark.parametrize("name", ["llama-3.2-11b-vision", "llama-3.2-11b-vision-instruct"])
def test_transformers_counts_mllama_alike(name: str) -> None:
    config = zoo(name)
    assert isinstance(config, CrossedConfig)
    record = mllama.write_config(config, torch.bfloat16, {})
    assert count(theirs("Mllama", record)) == count(built(name))
    assert mllama.read_config(record, name) == config


@pytest.mark.parametrize("name", ["llava-1.5-7b-hf", "llava-1.5-13b-hf"])
def test_transformers_counts_llava_alike(name: str) -> None:
    config = zoo(name)
    assert isinstance(config, PrefixConfig)
    record = llava.write_config(config, torch.float16, {})
    assert count(theirs("Llava", record)) == count(built(name))
    assert llava.read_config(record, name) == config


def test_bare_eyes_are_those_of_transformers() -> None:
    for name, kind, more in (
        ("vit-base-patch16-224", "ViT", {"add_pooling_layer": False}),
        ("siglip-so400m-patch14-384", "SiglipVision", {}),
        ("siglip-base-patch16-224", "SiglipVision", {}),
    ):
        config: Any = zoo(name)
        settings = getattr(transformers, f"{kind}Config")(
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.hidden,
            image_size=config.image_size,
            patch_size=config.patch,
            **({"vision_use_head": False} if kind == "SiglipVision" else {}),
        )
        with torch.device("meta"):
            other = getattr(transformers, f"{kind}Model")(settings, **more)
        assert count(other) == count(built(name)), name


# ---- names -------------------------------------------------------------------------------------


def test_names_are_lower_case_and_a_wrong_one_is_mended() -> None:
    assert len(set(NAMES)) == len(NAMES) == 41
    assert all(name == name.lower() and "/" not in name for name in NAMES)
    with pytest.raises(UserError, match=r"Did you mean .*llama-3\.2-11b-vision"):
        zoo("llama-3.2-11-vision")


def test_long_contexts_have_stretched_rotations() -> None:
    for name in NAMES:
        text: Any = getattr(zoo(name), "decoder", zoo(name))
        if isinstance(text, DecoderConfig):
            assert (text.context == 131_072) == (text.rope_scaling is not None), name
    assert zoo("llama-3.1-8b").rope_scaling.factor == 8  # type: ignore[union-attr]
    assert zoo("llama-3.2-1b").rope_scaling.factor == 32  # type: ignore[union-attr]


# ---- crosses before blocks of one's own choice -------------------------------------------------


def test_crosses_stand_where_they_are_told() -> None:
    model = toy_crossed(crosses=2, before=(0, 1))
    assert model.schedule == (0, 1) == model.config.schedule
    assert toy_crossed_config(crosses=2).schedule == (1, 3)  # Meta's, of 4 blocks
    again = CrossedConfig.model_validate_json(model.config.model_dump_json())
    assert Crossed(again).schedule == (0, 1)


@pytest.mark.parametrize("before", [(1,), (1, 2, 3), (2, 1), (1, 1), (-1, 2), (1, 4), ()])
def test_a_schedule_that_does_not_fit_is_refused(before: tuple[int, ...]) -> None:
    with pytest.raises(pydantic.ValidationError, match="before"):
        toy_crossed_config(crosses=2, before=before)
