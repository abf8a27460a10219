"""From the width of the eyes to the width of the mind."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.nn import MLP, LayerNorm, Linear


class ProjectorConfig(Settings):
    """What stands between the encoder and the language model."""

    taps: tuple[str, ...] = ("final",)
    """Encoder layers that are read; their channels are laid side by side."""
    kind: Literal["linear", "mlp"] = "linear"
    """One matrix, or two with a GELU between (LLaVA-1.5)."""
    norm: bool = True
    """Normalise each tap before projecting: raw layers of CLIP have a few channels of huge size."""
    cls: bool = True
    """Keep the CLS vector beside the patches, where the encoder has one."""
    squares: int = 1
    """Merge squares x squares neighbouring patches into one vector, channels side by side."""

    def places(self, encoded: int, lead: int = 1) -> int:
        """How many vectors leave when `encoded` enter, `lead` of them (CLS) before the patches."""
        return (encoded - lead) // self.squares**2 + (lead if self.cls else 0)


class Projector(nn.Module):
    """Taps of the encoder, side by side [N, V, taps * width] -> [N, V', out] for the language model."""

    def __init__(self, config: ProjectorConfig, width: int, out: int, lead: int = 1) -> None:
        """lead: how many vectors (CLS) stand before the patches."""
        super().__init__()
        self.config = config
        self.width = width
        self.lead = lead
        merged = width * len(config.taps) * config.squares**2
        self.norms = nn.ModuleList(LayerNorm(width, 1e-5) for _ in config.taps if config.norm)
        self.map = Linear(merged, out) if config.kind == "linear" else MLP(merged, out, "gelu", out)

    def forward(self, x: Tensor) -> Tensor:
        if self.config.norm:
            taps = x.split(self.width, dim=-1)
            x = torch.cat([norm(tap) for norm, tap in zip(self.norms, taps, strict=True)], dim=-1)
        if not self.config.cls:
            x = x[:, self.lead :]
        if self.config.squares > 1:
            x = merge_squares(x, self.config.squares)
        return self.map(x)


def merge_squares(x: Tensor, side: int) -> Tensor:
    """Lay side x side neighbouring patches of a square grid side by side: [N, G*G, W] -> fewer, wider.

    Known as pixel shuffle (space to depth). The CLS vector must have been dropped.
    """
    grid = round(x.shape[1] ** 0.5)
    if grid * grid != x.shape[1] or grid % side:
        raise ValueError(f"{x.shape[1]} patches cannot be merged by squares of {side} x {side}")
    x = x.unflatten(1, (grid // side, side, grid // side, side))
    return x.transpose(2, 3).flatten(3, 5).flatten(1, 2)
