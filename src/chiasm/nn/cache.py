"""What a model remembers of a conversation: keys and values of its text, and of its pictures."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Keys and values of `rows` sequences with room for `capacity` tokens each.

    keys[i], values[i]  [rows, kv_heads, capacity, head_width] of decoder block i
    lengths             [rows] tokens that each row holds; the next token goes there
    memory[j]           keys and values of the pictures in cross block j, made once per picture
    spans               [rows, 2] the pictures that the newest token of each row sees

    Raises ValueError when a row would outgrow its capacity.
    """

    def __init__(
        self, rows: int, capacity: int, layers: int, kv_heads: int, head_width: int, like: Tensor
    ) -> None:
        shape = (rows, kv_heads, capacity, head_width)
        new = {"dtype": like.dtype, "device": like.device}
        self.keys = [torch.zeros(shape, **new) for _ in range(layers)]
        self.values = [torch.zeros(shape, **new) for _ in range(layers)]
        self.lengths = torch.zeros(rows, dtype=torch.long, device=like.device)
        self.memory: list[tuple[Tensor, Tensor]] = []
        self.spans = torch.zeros(rows, 2, dtype=torch.long, device=like.device)
        self.capacity = capacity

    def positions(self, tokens: int) -> Tensor:
        """[rows, tokens] where the next tokens of each row will stand."""
        return self.lengths[:, None] + torch.arange(tokens, device=self.lengths.device)

    def write(self, layer: int, positions: Tensor, key: Tensor, value: Tensor) -> None:
        """Store [rows, tokens, kv_heads, head_width] at `positions` [rows, tokens]."""
        row = torch.arange(len(positions), device=positions.device)[:, None]
        self.keys[layer][row, :, positions] = key.to(self.keys[layer].dtype)
        self.values[layer][row, :, positions] = value.to(self.values[layer].dtype)

    def check(self, positions: Tensor) -> int:
        """Return how many key slots `positions` reaches over."""
        extent = int(positions.max()) + 1
        if extent > self.capacity:
            raise ValueError(f"{extent} tokens do not fit a cache of {self.capacity}")
        return extent

    def remember(
        self, memory: list[tuple[Tensor, Tensor]], spans: Tensor
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Add new pictures behind the old ones and return all of them, with spans that count so.

        spans [rows, T, 2] count from the first new picture; a token that sees none of the new ones goes
        on seeing what its row's newest token saw.
        """
        old = self.memory[0][0].shape[0] if self.memory else 0
        looking = (spans[..., 1] > spans[..., 0])[..., None]
        spans = torch.where(looking, spans + old, self.spans[:, None])
        if memory and self.memory:
            pairs = zip(self.memory, memory, strict=True)
            memory = [(torch.cat((k, nk)), torch.cat((v, nv))) for (k, v), (nk, nv) in pairs]
        self.memory = memory or self.memory
        self.spans = spans[:, -1]
        return self.memory, spans

    def advance(self, tokens: Tensor | int) -> None:
        """Count `tokens` more (one number, or one per row) as held."""
        self.lengths = self.lengths + tokens
