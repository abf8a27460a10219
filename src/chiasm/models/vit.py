"""The eyes: a vision transformer in CLIP's shape, whose every layer can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.nn import LayerNorm, Patches, VisionBlock, resample_positions


class ViTConfig(Settings):
    """Sizes of a vision transformer."""

    image_size: int
    """Side of the square picture that the position grid was made for, in pixels."""
    patch: int
    """Side of a patch, in pixels."""
    width: int
    """Width of the residual stream."""
    depth: int
    """Number of blocks."""
    heads: int
    """Attention heads of a block."""
    hidden: int
    """Inner width of the feed-forward network."""
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    """OpenAI's CLIP was trained with quick_gelu, most others with gelu."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""

    def places(self, image_size: int | None = None) -> int:
        """Vectors that a square picture becomes, the CLS vector included."""
        return 1 + ((image_size or self.image_size) // self.patch) ** 2


class ViT(nn.Module):
    """Pixels to one vector per patch, after a CLS vector (Dosovitskiy et al. 2020; Radford et al. 2021)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = c = config
        self.patches = Patches(c.width, c.patch)
        self.cls = nn.Parameter(torch.randn(c.width) * c.width**-0.5)
        self.position = nn.Embedding(c.places(), c.width)
        nn.init.normal_(self.position.weight, std=c.width**-0.5)
        self.pre_norm = LayerNorm(c.width, c.norm_eps)
        sizes = (c.width, c.heads, c.hidden, c.activation, c.norm_eps)
        self.blocks = nn.ModuleList(VisionBlock(*sizes) for _ in range(c.depth))
        self.post_norm = LayerNorm(c.width, c.norm_eps)

    def forward(
        self, pixels: Tensor, taps: Sequence[str] = ("final",), grids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the named layers of pixels [N, 3, H, W], each [N, 1 + patches, width].

        "block.i"  what enters block i (0-based); "block.0" is the embedding after pre_norm
        "last"     what leaves the last block
        "final"    the same after post_norm

        To these eyes every tile is a picture of its own, whatever `grids` says.
        The pixels' type is the type of all that is computed. Blocks above the highest tap do not run.
        Raises ValueError for an unknown tap.
        """
        depth = len(self.blocks)
        level = {f"block.{i}": i for i in range(depth)} | {"last": depth, "final": depth}
        if unknown := [tap for tap in taps if tap not in level]:
            raise ValueError(
                f"no such tap {unknown}; there are block.0 … block.{depth - 1}, last, final"
            )
        read: dict[str, Tensor] = {}
        x = self.embed(pixels)
        for i, block in enumerate(self.blocks[: max(level[tap] for tap in taps)]):
            read[f"block.{i}"] = x
            x = block(x)
        read[f"block.{max(level[tap] for tap in taps)}"] = read["last"] = x
        if "final" in taps:
            read["final"] = self.post_norm(x)
        return {tap: read[tap] for tap in taps}

    def embed(self, pixels: Tensor) -> Tensor:
        """Return what enters the first block: patches and CLS with their positions, normalised."""
        grid = (pixels.shape[-2] // self.config.patch, pixels.shape[-1] // self.config.patch)
        patches = self.patches(pixels)
        cls = self.cls.to(patches.dtype).expand(len(patches), 1, -1)
        positions = resample_positions(self.position.weight, grid)
        return self.pre_norm(torch.cat((cls, patches), dim=1) + positions.to(patches.dtype))
