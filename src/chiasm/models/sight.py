"""What both architectures do alike: look up added tokens, run the eyes, project what they saw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.base.vision import Clips, Vision


def embed(model: nn.Module, tokens: Tensor) -> Tensor:
    """Look tokens up in the language model's table, and those behind its vocabulary in `model.extra`."""
    vocab = model.decoder.config.vocab
    added = tokens >= vocab
    x = model.decoder.embed(tokens.masked_fill(added, 0))
    if not bool(added.any()):
        return x
    rows = model.extra((tokens - vocab).clamp(min=0)).to(x.dtype)
    return torch.where(added[..., None], rows, x)


def see(model: nn.Module, pixels: Tensor, grids: Tensor | None = None, **how: bool) -> Tensor:
    """Run the eyes: tiles [M, 3, H, W] -> the projector's taps, side by side [M, V, taps * width].

    grids  [N, 2] rows and columns of each picture's tiles; one tile each when absent
    """
    # Eyes that learn keep their weights wider than the stream, which they compute in all the same.
    pixels = pixels.to(model.decoder.embed.weight.dtype)
    read = model.encoder(pixels, model.taps, grids, **how)
    return torch.cat([read[tap] for tap in model.taps], dim=-1)


def project(model: nn.Module, pixels: Tensor, grids: Tensor | None, **how: bool) -> Tensor:
    """Return tiles as vectors of the language model's width, [M, V', width]."""
    return model.projector(see(model, pixels, grids, **how))


def vectors_of(model: nn.Module, shown: Vision | Clips) -> Tensor:
    """Return what a batch shows as vectors of the language model's width, [M, V', width]."""
    if shown.features is None:
        return project(model, shown.pixels, shown.grids)
    # The embedding table gives the stream its type.
    return model.projector(shown.features.to(model.decoder.embed.weight.dtype))


def starts_of(counts: Tensor) -> Tensor:
    """Return [P + 1] the first unit of each of P pictures of `counts` [P] units, and the end of the last."""
    return torch.cat((counts.new_zeros(1), counts.cumsum(0)))


def tiles_of(vision: Vision) -> Tensor:
    """Return [N] how many tiles each picture has."""
    if vision.grids is not None:
        return vision.grids.prod(dim=1)
    return torch.ones(vision.pictures, dtype=torch.long)
