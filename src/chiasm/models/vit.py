"""The eyes: a vision transformer whose every layer can be read. Settings make it one of three:

           lead     patch bias   pre-norm   activation        norm_eps
CLIP       CLS      no           yes        quick_gelu, gelu  1e-5
SigLIP     none     yes          no         gelu_tanh         1e-6
plain ViT  CLS      yes          no         gelu              1e-6
"""

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
    activation: Literal["quick_gelu", "gelu", "gelu_tanh"] = "quick_gelu"
    """OpenAI's CLIP was trained with quick_gelu, SigLIP with gelu_tanh, most others with gelu."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""
    kind: Literal["vit"] = "vit"
    """Which encoder this is."""
    cls: bool = True
    """A learned vector (CLS) before the patches."""
    pre_norm: bool = True
    """A LayerNorm before the first block."""
    patch_bias: bool = False
    """A bias on the projection of patches."""

    @property
    def lead(self) -> int:
        """How many vectors stand before the grid of patches: CLS, or none."""
        return int(self.cls)

    def places(self, image_size: int | None = None) -> int:
        """Vectors that a square picture becomes, CLS included."""
        return self.lead + ((image_size or self.image_size) // self.patch) ** 2


class ViT(nn.Module):
    """Pixels to one vector per patch, after CLS where there is one.

    Dosovitskiy et al. 2020; Radford et al. 2021 (CLIP); Zhai et al. 2023 (SigLIP).
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = c = config
        self.patches = Patches(c.width, c.patch, bias=c.patch_bias)
        cls = nn.Parameter(torch.randn(c.width) * c.width**-0.5) if c.cls else None
        self.register_parameter("cls", cls)
        self.position = nn.Embedding(c.places(), c.width)
        nn.init.normal_(self.position.weight, std=c.width**-0.5)
        self.register_module("pre_norm", LayerNorm(c.width, c.norm_eps) if c.pre_norm else None)
        sizes = (c.width, c.heads, c.hidden, c.activation, c.norm_eps)
        self.blocks = nn.ModuleList(VisionBlock(*sizes) for _ in range(c.depth))
        self.post_norm = LayerNorm(c.width, c.norm_eps)

    def forward(
        self, pixels: Tensor, taps: Sequence[str] = ("final",), grids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the named layers of tiles [M, 3, H, W], each [M, lead + patches, width].

        "block.i"  what enters block i (0-based); "block.0" is the embedding, after pre_norm if any
        "last"     what leaves the last block
        "final"    the same after post_norm

        `grids` tells which tiles make a picture; to these eyes every tile is a picture of its own. H and
        W may differ; what they hold beyond whole patches is not seen. The pixels' type is the type of
        all that is computed. Blocks above the highest tap do not run. Raises ValueError for an unknown
        tap.
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
        """Return what enters the first block: CLS and patches with their positions, normalised."""
        c = self.config
        grid = (pixels.shape[-2] // c.patch, pixels.shape[-1] // c.patch)
        x = self.patches(pixels)
        if self.cls is not None:
            x = torch.cat((self.cls.to(x.dtype).expand(len(x), 1, -1), x), dim=1)
        x = x + resample_positions(self.position.weight, grid, c.lead).to(x.dtype)
        return x if self.pre_norm is None else self.pre_norm(x)
