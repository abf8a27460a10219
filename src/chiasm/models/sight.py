"""What both architectures do alike: look up added tokens, run the eyes, project what they saw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.base.vision import Vision


def embed(model: nn.Module, tokens: Tensor) -> Tensor:
    """Look tokens up in the language model's table, and those behind its vocabulary in `model.extra`."""
    vocab = model.decoder.config.vocab
    added = tokens >= vocab
    x = model.decoder.embed(tokens.masked_fill(added, 0))
    if not bool(added.any()):
        return x
    rows = model.extra((tokens - vocab).clamp(min=0)).to(x.dtype)
    return torch.where(added[..., None], rows, x)


def see(model: nn.Module, pixels: Tensor) -> Tensor:
    """Run the eyes: pixels [N, 3, H, W] -> the projector's taps, side by side [N, V, taps * width]."""
    # Eyes that learn keep their weights wider than the stream, which they compute in all the same.
    pixels = pixels.to(model.decoder.embed.weight.dtype)
    taps = model.encoder(pixels, model.config.projector.taps)
    return torch.cat([taps[name] for name in model.config.projector.taps], dim=-1)


def picture_vectors(model: nn.Module, vision: Vision) -> Tensor:
    """Return the pictures of `vision` as vectors of the language model's width, [N, V', width]."""
    seen = see(model, vision.pixels) if vision.features is None else vision.features
    # The embedding table gives the stream its type.
    return model.projector(seen.to(model.decoder.embed.weight.dtype))
