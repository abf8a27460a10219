"""Encoders by their settings: whatever stands here can be the eyes of any architecture.

encoder(pixels [M, 3, H, W], taps, grids) -> {tap: [M, vectors of a tile, width]}
"""

from __future__ import annotations

from typing import TypeAlias

from chiasm.models.tiled import TiledViT, TiledViTConfig
from chiasm.models.vit import ViT, ViTConfig

Eyes: TypeAlias = ViT | TiledViT
EyesConfig: TypeAlias = ViTConfig | TiledViTConfig


def eyes(config: EyesConfig) -> Eyes:
    """Build the encoder that its settings name."""
    return TiledViT(config) if isinstance(config, TiledViTConfig) else ViT(config)
