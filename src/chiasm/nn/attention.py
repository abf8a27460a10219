"""Attention: of a sequence to itself, and of text to pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.nn.cache import Cache
from chiasm.nn.linear import Linear
from chiasm.nn.masks import Groups, Look, causal_bias, pick
from chiasm.nn.norms import RMSNorm
from chiasm.nn.rope import Rope, rotate

_SCORES = 24 << 20
"""Bytes of scores above which queries are taken some at a time (docs/lab.md)."""


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d + bias) v for [G, heads, Lq, d], keys and values [G, kv_heads, Lk, d].

    Heads may outnumber kv_heads (grouped queries). `bias` is added to the scores and broadcasts to
    [G, 1, Lq, Lk]. bf16 on a CPU takes two plain matrix products: there the backward pass of torch's
    fused kernel is the slower of the two by a quarter of a training step (docs/lab.md).
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        rows = _rows_at_once(query, key, value)
        if rows >= query.shape[2]:
            return _attend_by_products(query, key, value, bias)
        parts = [slice(i, i + rows) for i in range(0, query.shape[2], rows)]
        whole = bias is None or bias.shape[-2] == 1
        return torch.cat(
            [
                _attend_by_products(query[:, :, p], key, value, bias if whole else bias[..., p, :])
                for p in parts
            ],
            dim=2,
        )
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, enable_gqa=grouped)


def _rows_at_once(query: Tensor, key: Tensor, value: Tensor) -> int:
    """How many queries to take at a time: scores that outgrow the processor's cache cost twice the time.

    Where something learns, all: the scores are kept for the way back anyhow.
    """
    learning = query.requires_grad or key.requires_grad or value.requires_grad
    row = 2 * query.shape[0] * query.shape[1] * key.shape[2]
    if (torch.is_grad_enabled() and learning) or row * query.shape[2] <= _SCORES:
        return query.shape[2]
    return max(64, _SCORES // 4 // row)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    groups, heads, queries, width = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    share = heads // kv_heads
    q = (query * width**-0.5).reshape(groups * kv_heads, share * queries, width)
    k = key.reshape(groups * kv_heads, keys, width)
    v = value.reshape(groups * kv_heads, keys, width)
    scores = torch.bmm(q, k.transpose(1, 2))
    if bias is not None:
        shaped = scores.view(groups, heads, queries, keys)
        shaped = shaped + bias if scores.requires_grad else shaped.add_(bias)
        scores = shaped.view(scores.shape)
    return torch.bmm(scores.softmax(-1), v).view(groups, heads, queries, width)


@dataclass(frozen=True)
class Route:
    """What one forward pass of a decoder shares between its blocks."""

    rope: Rope
    groups: Groups | None = None
    """Segments of a packed row, or None when each row is one sequence."""
    bias: Tensor | None = None
    """Added to the scores: the causal rule, or the cache's reach."""
    cache: Cache | None = None
    slots: Tensor | None = None
    """Where this pass writes into the cache; set only with a cache."""
    extent: int = 0
    """How many slots of the cache this pass attends to; 0 when it starts the cache itself."""

    def write(self, layer: int, heads: Tensor) -> None:
        """Put keys and values [B, T, 2 * kv_heads, head_width] into the cache, where there is one."""
        if self.cache is not None:
            self.cache.write(layer, self.slots, heads)


class SelfAttention(nn.Module):
    """Grouped-query attention: `forward` is an encoder's, `along` a decoder's causal one."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_width: int, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.q = Linear(width, heads * head_width, bias=bias)
        self.k = Linear(width, kv_heads * head_width, bias=bias)
        self.v = Linear(width, kv_heads * head_width, bias=bias)
        self.o = Linear(heads * head_width, width, bias=bias)
        self.head_width = head_width

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, width] -> queries, keys, values, each [B, T, its heads, head_width]."""
        split = (-1, self.head_width)
        return tuple(part(x).unflatten(-1, split) for part in (self.q, self.k, self.v))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend within each row, openly or by a bias on the scores: [B, T, width] -> [B, T, width]."""
        query, key, value = (part.transpose(1, 2) for part in self.heads(x))
        return self.o(attend(query, key, value, bias).transpose(1, 2).flatten(2))

    def along(self, x: Tensor, route: Route, layer: int) -> Tensor:
        """Attend causally along a route: [B, T, width] -> [B, T, width]."""
        query, key, value = self.heads(x)
        query, key = rotate(query, route.rope), rotate(key, route.rope)
        if route.cache is not None:
            route.write(layer, torch.cat((key, value), dim=2))
        return self.o(look_back(query, key, value, route, layer))


def look_back(query: Tensor, key: Tensor, value: Tensor, route: Route, layer: int) -> Tensor:
    """Attend causally along a route: heads [B, T, heads, head_width] -> [B, T, heads * head_width].

    Keys and values must be in the route's cache already, when it has one.
    """
    if route.groups is not None:
        return _grouped(query, key, value, route)
    query = query.transpose(1, 2)
    if route.cache is not None and route.extent:
        keys, values = (
            route.cache.keys(layer, route.extent),
            route.cache.values(layer, route.extent),
        )
        out = attend(query.to(keys.dtype), keys, values, route.bias).to(query.dtype)
    else:
        out = attend(query, key.transpose(1, 2), value.transpose(1, 2), route.bias)
    return out.transpose(1, 2).flatten(2)


def _grouped(query: Tensor, key: Tensor, value: Tensor, route: Route) -> Tensor:
    shape = query.shape[:2]
    query, key, value = (
        route.groups.gather(part.flatten(0, 1)).transpose(1, 2) for part in (query, key, value)
    )
    out = attend(query, key, value, route.bias)
    return route.groups.scatter(out.transpose(1, 2).flatten(2)).unflatten(0, shape)


class CrossAttention(nn.Module):
    """Text asks, pictures answer: queries from text, keys and values from picture features.

    Queries and keys are normalised per head (Llama 3.2 Vision) unless eps is None (Flamingo); nothing
    is rotated.
    """

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_width: int, eps: float | None
    ) -> None:
        super().__init__()
        self.q = Linear(width, heads * head_width, bias=False)
        self.k = Linear(width, kv_heads * head_width, bias=False)
        self.v = Linear(width, kv_heads * head_width, bias=False)
        self.o = Linear(heads * head_width, width, bias=False)
        self.q_norm = nn.Identity() if eps is None else RMSNorm(head_width, eps)
        self.k_norm = nn.Identity() if eps is None else RMSNorm(head_width, eps)
        self.head_width = head_width

    def memory(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of pictures: [N, V, width] -> two of [N, kv_heads, V, head_width]."""
        split = (-1, self.head_width)
        key = self.k_norm(self.k(features).unflatten(-1, split))
        return key.transpose(1, 2), self.v(features).unflatten(-1, split).transpose(1, 2)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], look: Look) -> Tensor:
        """x [n, width]: only the tokens that look, in the order of `look.rows`."""
        query = self.q_norm(self.q(x).unflatten(-1, (-1, self.head_width)))
        query = look.groups.gather(query).transpose(1, 2)
        key, value = memory
        if not look.alone(len(key)):
            key, value = (pick(part, look.units) for part in memory)
        out = attend(query, key, value, _hiding(look, key.shape[2], x))
        return self.o(look.groups.scatter(out.transpose(1, 2).flatten(2)))


def _hiding(look: Look, keys: int, like: Tensor) -> Tensor | None:
    """[G, 1, 1, keys] bias by which a group does not see the padding among its units."""
    if look.hidden is None:
        return None
    hidden = look.hidden.repeat_interleave(keys // look.hidden.shape[1], dim=1)[:, None, None]
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(hidden, float("-inf"))


class LatentAttention(nn.Module):
    """Latents ask, vectors answer: every latent attends to every vector (Perceiver)."""

    def __init__(
        self, width: int, heads: int, head_width: int, source: int, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.q = Linear(width, heads * head_width, bias=bias)
        self.k = Linear(source, heads * head_width, bias=bias)
        self.v = Linear(source, heads * head_width, bias=bias)
        self.o = Linear(heads * head_width, width, bias=bias)
        self.head_width = head_width

    def forward(self, x: Tensor, *sources: Tensor) -> Tensor:
        """x [N, L, width] over all sources [N, K, source] taken together -> [N, L, width]."""
        # Sources are joined after their projection: heads are narrower than what they are made of.
        key = torch.cat([self.k(part) for part in sources], dim=1)
        value = torch.cat([self.v(part) for part in sources], dim=1)
        split = (-1, self.head_width)
        heads = (part.unflatten(-1, split).transpose(1, 2) for part in (self.q(x), key, value))
        return self.o(attend(*heads).transpose(1, 2).flatten(2))


def reach(positions: Tensor, extent: int, like: Tensor) -> Tensor | None:
    """[B, 1, T, extent] bias by which each new token sees the cache up to itself; None when all do."""
    if int(positions.min()) == extent - 1:
        return None
    hidden = torch.arange(extent, device=positions.device) > positions[..., None]
    bias = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return bias.masked_fill(hidden, float("-inf"))[:, None]


def causal(tokens: int, like: Tensor) -> Tensor | None:
    """The causal bias of a fresh sequence; None for a single token."""
    return causal_bias(tokens, tokens, like) if tokens > 1 else None
