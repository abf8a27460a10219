"""Small random models of transformers with pictures in them: odd sizes, and no weight that is 0 or 1."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    ViTConfig,
    ViTForImageClassification,
)

EYES = {
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 15,
    "patch_size": 5,
}
WORDS = {
    "vocab_size": 50,
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 9,
    "bos_token_id": 48,
    "eos_token_id": 49,
    "pad_token_id": 0,
}


def drawn(model: Any, seed: int = 0) -> Any:
    """Draw every parameter anew, norms and biases too, so that a mix-up shows."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=source)
            value.copy_(0.2 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return model.eval()


def clip_vision_config(**changes: Any) -> CLIPVisionConfig:
    return CLIPVisionConfig(**{**EYES, "projection_dim": 12, **changes})


def clip_config(eyes: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Any:
    return CLIPConfig(
        vision_config={**EYES, **(eyes or {})},
        text_config={**WORDS, **(words or {})},
        projection_dim=12,
    )


def clip_model(eyes: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Any:
    return drawn(CLIPModel(clip_config(eyes, words)))


def siglip_vision_config(**changes: Any) -> SiglipVisionConfig:
    return SiglipVisionConfig(**{**EYES, **changes})


def siglip_config(eyes: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Any:
    return SiglipConfig(
        vision_config={**EYES, **(eyes or {})},
        text_config={**WORDS, "projection_size": EYES["hidden_size"], **(words or {})},
    )


def siglip_model(eyes: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Any:
    return drawn(SiglipModel(siglip_config(eyes, words)))


def vit_config(**changes: Any) -> ViTConfig:
    return ViTConfig(**{**EYES, "id2label": {0: "cat", 1: "dog", 2: "owl"}, **changes})


def vit_classifier(**changes: Any) -> PreTrainedModel:
    return drawn(ViTForImageClassification(vit_config(**changes)))


def texts(rows: int = 4, length: int = 7) -> torch.Tensor:
    """Texts of different lengths that end with id 49, some with more of it as padding."""
    source = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 48, (rows, length), generator=source)
    for row in range(rows):
        ids[row, row + 2] = 49
        ids[row, row + 3 :] = 49 if row % 2 else 0
    return ids


def pictures(rows: int = 3, side: int = 15) -> torch.Tensor:
    return torch.randn(rows, 3, side, side, generator=torch.Generator().manual_seed(2))
