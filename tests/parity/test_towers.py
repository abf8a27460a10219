"""CLIP, SigLIP and the plain ViT against transformers, from folders that transformers writes.

Relative error: the largest difference over the largest value. Sizes are odd and differ from case to
case; every weight is random, norms too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint import oracles
from torch import Tensor
from transformers import (
    CLIPVisionModelWithProjection,
    SiglipVisionModel,
)

from chiasm.checkpoint.folder import load_vit
from chiasm.checkpoint.towers import load_classifier, load_dual, load_image_tower

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
# measured, worst of all cases here: 6.4e-7 and 1.8e-15


def error(found: Tensor, expected: Tensor) -> float:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert expected.std() > 1e-3  # a constant would be equal too easily
    return float((found - expected).abs().max() / expected.abs().max())


CLIP = {
    "openai": ({}, {}),
    "laion": ({"hidden_act": "gelu"}, {"hidden_act": "gelu"}),
    "mixed": ({"hidden_act": "gelu", "layer_norm_eps": 1e-3}, {"layer_norm_eps": 1e-4}),
    "old end": ({}, {"eos_token_id": 2}),
    "heads": ({"num_attention_heads": 6, "patch_size": 3}, {"num_attention_heads": 5}),
    "remainder": ({"image_size": 16, "num_hidden_layers": 1}, {"num_hidden_layers": 1}),
}
SIGLIP = {
    "siglip": ({}, {}),
    "heads": ({"num_attention_heads": 4, "patch_size": 7}, {"num_attention_heads": 4}),
    "remainder": ({"image_size": 17, "num_hidden_layers": 3}, {"layer_norm_eps": 1e-3}),
    "acts": ({"hidden_act": "gelu"}, {"hidden_act": "quick_gelu"}),
}


def drawn_sizes(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sizes of two towers that nobody chose."""
    rng = random.Random(seed)

    def sizes(least: int) -> dict[str, Any]:
        heads = rng.randint(1, 5)
        return {
            "num_attention_heads": heads,
            "hidden_size": heads * rng.randint(least, 9),
            "intermediate_size": rng.randint(9, 70),
            "num_hidden_layers": rng.randint(1, 4),
            "hidden_act": rng.choice(["quick_gelu", "gelu", "gelu_pytorch_tanh"]),
            "layer_norm_eps": rng.choice([1e-3, 1e-5, 1e-6]),
        }

    eyes, words = sizes(4), sizes(4)
    eyes |= {"image_size": rng.randint(11, 25), "patch_size": rng.randint(2, 11)}
    return eyes, words | {"projection_size": eyes["hidden_size"]}


CASES = [
    *((oracles.clip_model, *changes) for changes in CLIP.values()),
    *((oracles.siglip_model, *changes) for changes in SIGLIP.values()),
    *((oracles.clip_model, *drawn_sizes(seed)) for seed in range(4)),
    *((oracles.siglip_model, *drawn_sizes(seed)) for seed in range(4, 8)),
]
NAMES = [*(f"clip {name}" for name in CLIP), *(f"siglip {name}" for name in SIGLIP)]
NAMES += [f"{kind} drawn {i}" for kind in ("clip", "siglip") for i in range(4)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("make", "eyes", "words"), CASES, ids=NAMES)
@torch.no_grad()
def test_both_towers_and_their_logits(
    make: Callable[..., Any],
    eyes: dict[str, Any],
    words: dict[str, Any],
    dtype: torch.dtype,
    tmp_path: Path,
) -> None:
    theirs = make(eyes, words)
    theirs.save_pretrained(tmp_path)
    theirs = theirs.to(dtype)
    ours, _ = load_dual(tmp_path, dtype)
    length = theirs.config.text_config.max_position_embeddings
    tokens = oracles.texts(length=7 if "clip" in theirs.config.model_type else length)
    pixels = oracles.pictures(side=theirs.config.vision_config.image_size).to(dtype)
    expected = theirs(input_ids=tokens, pixel_values=pixels)
    image, text = ours.encode_image(pixels), ours.encode_text(tokens)
    pairs = {
        "image": (image, theirs.get_image_features(pixels).pooler_output),
        "text": (text, theirs.get_text_features(tokens).pooler_output),
        "logits": (ours.logits(image, text), expected.logits_per_image),
    }
    for name, (found, wanted) in pairs.items():
        assert error(found, wanted) <= TOLERANCE[dtype], name


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", ["CLIPVisionModelWithProjection", "SiglipVisionModel"])
@torch.no_grad()
def test_a_vision_model_alone_and_every_layer_of_it(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    theirs = oracles.drawn(
        CLIPVisionModelWithProjection(oracles.clip_vision_config())
        if kind.startswith("CLIP")
        else SiglipVisionModel(oracles.siglip_vision_config(num_hidden_layers=4))
    )
    theirs.save_pretrained(tmp_path)
    theirs = theirs.to(dtype)
    pixels = oracles.pictures().to(dtype)
    expected = theirs(pixels, output_hidden_states=True)
    tower, _ = load_image_tower(tmp_path, dtype)
    pooled = expected.image_embeds if kind.startswith("CLIP") else expected.pooler_output
    assert error(tower(pixels), pooled) <= TOLERANCE[dtype]
    eyes, _ = load_vit(tmp_path, dtype)
    names = [*(f"block.{i}" for i in range(eyes.config.depth)), "last"]
    found = eyes(pixels, (*names, "final"))
    for name, layer in zip(names, expected.hidden_states, strict=True):
        assert error(found[name], layer) <= TOLERANCE[dtype], name
    if kind.startswith("Siglip"):  # CLIP normalises only what it pools
        assert error(found["final"], expected.last_hidden_state) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "changes",
    [{}, {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}, {"patch_size": 4}],
    ids=str,
)
@torch.no_grad()
def test_a_classifier(changes: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = oracles.vit_classifier(**changes)
    theirs.save_pretrained(tmp_path)
    theirs = theirs.to(dtype)
    pixels = oracles.pictures().to(dtype)
    ours, _ = load_classifier(tmp_path, dtype)
    assert ours.config.labels == ("cat", "dog", "owl")
    assert error(ours(pixels), theirs(pixels).logits) <= TOLERANCE[dtype]
    expected = theirs(pixels, output_hidden_states=True).hidden_states
    names = [f"block.{i}" for i in range(len(expected) - 1)]
    for name, layer in zip(names, expected, strict=False):
        assert error(ours.encoder(pixels, names)[name], layer) <= TOLERANCE[dtype], name
