"""What a model remembers of a conversation: keys and values of its text, and of its pictures.

store[i]   row 0   k0 │ a a a b b . . .      keys of block i, one line per head
                   v0 │ a a a b b . . .      its values
           row 1   k0 │ c c . . . . . .      lengths = [5, 2]: rows grow at their own pace
                   v0 │ c c . . . . . .
"""

from __future__ import annotations

import torch
from torch import Tensor

from chiasm.nn.memory import Memory


class Cache:
    """Keys and values of `rows` sequences with room for `capacity` tokens each.

    keys[i], values[i]  [rows, kv_heads, capacity, head_width] of decoder block i
    lengths             [rows] tokens that each row holds; the next token goes there
    pictures, clips     what its pictures and its videos are to cross blocks

    Raises ValueError when a row would outgrow its capacity.
    """

    def __init__(
        self, rows: int, capacity: int, layers: int, kv_heads: int, head_width: int, like: Tensor
    ) -> None:
        # Keys and values of a block share one tensor, so that one copy writes both.
        shape = (rows, 2 * kv_heads, capacity, head_width)
        new = {"dtype": like.dtype, "device": like.device}
        self.kv_heads = kv_heads
        self._hold([torch.zeros(shape, **new) for _ in range(layers)])
        self.lengths = torch.zeros(rows, dtype=torch.long, device=like.device)
        self.pictures, self.clips = Memory(rows, like.device), Memory(rows, like.device)

    def _hold(self, store: list[Tensor]) -> None:
        """Take tensors as the store. Their views are made once: a pass asks for them in every block."""
        self.store, self.dtype, self.capacity = store, store[0].dtype, store[0].shape[2]
        self._keys = [part.narrow(1, 0, self.kv_heads) for part in store]
        self._values = [part.narrow(1, self.kv_heads, self.kv_heads) for part in store]
        self._lines = [part.view(-1, part.shape[-1]) for part in store]

    def keys(self, layer: int, extent: int) -> Tensor:
        """Keys [rows, kv_heads, extent, head_width] of a block's first `extent` slots."""
        return self._keys[layer].narrow(2, 0, extent)

    def values(self, layer: int, extent: int) -> Tensor:
        """Values [rows, kv_heads, extent, head_width] of a block's first `extent` slots."""
        return self._values[layer].narrow(2, 0, extent)

    def positions(self, tokens: int) -> Tensor:
        """[rows, tokens] where the next tokens of each row will stand."""
        return self.lengths[:, None] + torch.arange(tokens, device=self.lengths.device)

    def check(self, positions: Tensor) -> int:
        """Return how many key slots `positions` reaches over."""
        extent = int(positions.max()) + 1
        if extent > self.capacity:
            raise ValueError(f"{extent} tokens do not fit a cache of {self.capacity}")
        return extent

    def slots(self, positions: Tensor) -> Tensor:
        """Where `write` puts the heads of tokens at `positions` [rows, tokens]: the same in every block."""
        rows, lines = len(self.lengths), 2 * self.kv_heads
        line = torch.arange(rows * lines, device=positions.device).view(rows, 1, lines)
        return (line * self.capacity + positions[..., None]).flatten()

    def write(self, layer: int, slots: Tensor, heads: Tensor) -> None:
        """Store [rows, tokens, 2 * kv_heads, head_width], keys before values, at `slots`."""
        lines = heads.to(self.dtype).reshape(-1, heads.shape[-1])
        self._lines[layer].index_copy_(0, slots, lines)

    def advance(self, tokens: Tensor | int) -> None:
        """Count `tokens` more (one number, or one per row) as held."""
        self.lengths = self.lengths + tokens

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these, given as indices in the order that they shall stand in."""
        self._hold([store.index_select(0, rows) for store in self.store])
        self.lengths = self.lengths[rows]
        self.pictures.keep(rows)
        self.clips.keep(rows)

    def rewind(self, length: int) -> None:
        """Forget what a single row holds behind its first `length` tokens; `pictures` is rewound apart."""
        if len(self.lengths) != 1 or length > int(self.lengths):
            raise ValueError(
                f"rows of {self.lengths.tolist()} tokens cannot be rewound to {length}"
            )
        self.lengths = torch.full_like(self.lengths, length)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` tokens in each row; what is held stays."""
        room = capacity - self.capacity
        if room > 0:
            self._hold([torch.nn.functional.pad(store, (0, 0, 0, room)) for store in self.store])
