"""The language model: a Llama-shaped decoder that knows nothing of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.base.vision import Vision
from chiasm.nn import Block, Cache, Linear, RMSNorm, Rope, RopeScaling, group
from chiasm.nn.attention import Route, causal, reach
from chiasm.nn.rope import inverse_frequencies


class DecoderConfig(Settings):
    """Sizes of a Llama-shaped language model."""

    vocab: int
    """Rows of the embedding table."""
    width: int
    """Width of the residual stream."""
    depth: int
    """Number of blocks."""
    heads: int
    """Query heads of a block."""
    kv_heads: int
    """Key and value heads of a block; each serves heads / kv_heads query heads."""
    head_width: int
    """Width of one head."""
    hidden: int
    """Inner width of the feed-forward network."""
    context: int
    """Longest sequence that the model was trained for, in tokens."""
    rope_theta: float = 10000.0
    """Base of the rotary frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama 3.1's stretching of the rotary frequencies."""
    norm_eps: float = 1e-5
    """Added to the mean square in every RMSNorm."""
    tied: bool = True
    """Whether the head uses the embedding table."""


class Decoder(nn.Module):
    """Tokens to features, and features to logits (Touvron et al. 2023; Llama 3)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.vocab, c.width)
        nn.init.normal_(self.embed.weight, std=c.width**-0.5)
        sizes = (c.width, c.heads, c.kv_heads, c.head_width, c.hidden, c.norm_eps)
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(c.depth))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.register_module("unembed", None if c.tied else Linear(c.width, c.vocab, bias=False))

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        vision: Vision | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return features [B, T, width] of tokens [B, T].

        positions  [B, T] places within the document; counted from 0, or on from the cache, when absent
        segments   [B, T] document of each token; documents of a row never see each other; -1 = padding
        cache      keys and values of earlier tokens, written by this call (not together with segments)

        Raises ValueError for vision: this model has no eyes.
        """
        if vision is not None:
            raise ValueError("a Decoder has no eyes: compose it into a Crossed or a Prefix first")
        return self.run(self.embed(tokens), positions, segments, cache)

    def run(
        self,
        x: Tensor,
        positions: Tensor | None,
        segments: Tensor | None,
        cache: Cache | None,
        before: Mapping[int, Sequence[Callable[[Tensor], Tensor]]] = MappingProxyType({}),
    ) -> Tensor:
        """Send embeddings [B, T, width] through the blocks; `before[i]` act on what enters block i."""
        route = self.route(x, positions, segments, cache)
        for layer, block in enumerate(self.blocks):
            for act in before.get(layer, ()):
                x = act(x)
            x = block(x, route, layer)
        return self.norm(x)

    def head(self, features: Tensor) -> Tensor:
        """Return logits [..., vocab] of features [..., width]."""
        if self.unembed is not None:
            return self.unembed(features)
        return nn.functional.linear(features, self.embed.weight.to(features.dtype))

    def route(
        self, x: Tensor, positions: Tensor | None, segments: Tensor | None, cache: Cache | None
    ) -> Route:
        """Work out once what all blocks of a pass share: rotations, groups, masks, the cache's reach."""
        batch, length = x.shape[:2]
        if positions is None and cache is not None:
            positions = cache.positions(length)
        if positions is None:
            positions = torch.arange(length, device=x.device).expand(batch, length)
        c = self.config
        rope = Rope(
            positions, inverse_frequencies(c.head_width, c.rope_theta, c.rope_scaling), x.dtype
        )
        if cache is not None:
            return _cached_route(positions, segments, cache, rope)
        if segments is None:
            return Route(rope, bias=causal(length, x))
        row = torch.arange(batch, device=x.device)[:, None] * (int(segments.max()) + 1)
        groups = group(torch.where(segments < 0, segments, segments + row).flatten())
        return Route(rope, groups, bias=causal(groups.index.shape[1], x))

    def cache(self, rows: int, capacity: int) -> Cache:
        """Return an empty memory for `rows` conversations of up to `capacity` tokens."""
        c, like = self.config, self.embed.weight.detach()[:0]
        if like.dtype == torch.bfloat16 and like.device.type == "cpu":
            # One token's attention is many small products, and those are twice as fast in fp32.
            like = like.float()
        return Cache(rows, capacity, c.depth, c.kv_heads, c.head_width, like)


def _cached_route(positions: Tensor, segments: Tensor | None, cache: Cache, rope: Rope) -> Route:
    if segments is not None:
        raise ValueError("a cache holds one document per row: give positions, not segments")
    length, slots = positions.shape[1], cache.slots(positions)
    extent = cache.check(positions)
    if extent == length:  # the pass starts the cache: its own keys are all there is
        return Route(rope, bias=causal(extent, rope.cos), cache=cache, slots=slots)
    bias = reach(positions, extent, cache.store[0])
    return Route(rope, bias=bias, cache=cache, slots=slots, extent=extent)
