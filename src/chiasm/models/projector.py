"""From the width of the eyes to the width of the mind."""

from __future__ import annotations

from typing import Literal, Self

import pydantic
import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.models.perceiver import Resampler, ResamplerConfig
from chiasm.nn import MLP, LayerNorm, Linear


class ProjectorConfig(Settings):
    """What stands between the encoder and the language model."""

    taps: tuple[str, ...] = ("final",)
    """Encoder layers that are read; their channels are laid side by side."""
    kind: Literal["linear", "mlp", "resampler"] = "linear"
    """One matrix, two with a GELU between (LLaVA-1.5), or a resampler and then one matrix (Flamingo)."""
    norm: bool = True
    """Normalise each tap before projecting: raw layers of CLIP have a few channels of huge size."""
    cls: bool = True
    """Keep the CLS vector beside the patches, where the encoder has one."""
    squares: int = 1
    """Merge squares x squares neighbouring patches into one vector, channels side by side."""
    resampler: ResamplerConfig | None = None
    """Sizes of the resampler, for that kind alone; it works at the width of the taps side by side."""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.kind == "resampler") != (self.resampler is not None):
            raise ValueError("the kind resampler and the group resampler go together: give both")
        if self.squares > 1 and self.cls:
            raise ValueError("only patches merge into squares: set cls to false beside squares")
        return self

    def places(self, encoded: int, lead: int = 1) -> int:
        """How many vectors leave when `encoded` enter, the first `lead` of them (CLS) no patches."""
        if self.resampler is not None:
            return self.resampler.latents
        return (encoded - lead) // self.squares**2 + (lead if self.cls else 0)


class Projector(nn.Module):
    """Taps of the encoder, side by side [M, V, taps * width] -> [M, V', out] for the language model."""

    def __init__(self, config: ProjectorConfig, width: int, out: int, lead: int = 1) -> None:
        """Build for an encoder of `width` whose first `lead` vectors (CLS) are no patches."""
        super().__init__()
        self.config = config
        self.width = width
        self.lead = lead
        merged = width * len(config.taps) * config.squares**2
        self.norms = nn.ModuleList(LayerNorm(width, 1e-5) for _ in config.taps if config.norm)
        if config.resampler is not None:
            self.resampler = Resampler(config.resampler, merged)
        mlp = config.kind == "mlp"
        self.map = MLP(merged, out, "gelu", out) if mlp else Linear(merged, out)

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        """Map every row by itself, or, given `counts`, let a resampler merge the frames of N clips.

        [M, V, taps * width] -> [M, V', out], or with counts [N], which add up to M, -> [N, V', out].
        Raises ValueError when a kind that merges no frames gets counts.
        """
        if self.config.norm:
            taps = x.split(self.width, dim=-1)
            x = torch.cat([norm(tap) for norm, tap in zip(self.norms, taps, strict=True)], dim=-1)
        if not self.config.cls:
            x = x[:, self.lead :]
        if self.config.squares > 1:
            x = merge_squares(x, self.config.squares)
        if self.config.kind == "resampler":
            x = self.resampler(x, counts)
        elif counts is not None:
            raise ValueError(f"a projector of kind {self.config.kind} does not merge frames")
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
