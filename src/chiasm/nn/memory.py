"""What a conversation has shown so far: keys and values of its tiles, made once, and who sees them.

pictures   0        1            2          starts  [0, 1, 3, 4]
units      0        1     2      3          a unit is a tile of a picture, or a video's frame
pairs[j]   k0,v0    k1,v1 k2,v2  k3,v3      for cross j: [units, kv_heads, V, head_width]
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from chiasm.nn.masks import Look, look, pick

Pairs: TypeAlias = list[tuple[Tensor, Tensor]]
"""Keys and values for each cross block, each [units, kv_heads, V, head_width]."""


class Memory:
    """Pictures (or clips) of `rows` conversations, as cross blocks look at them.

    pairs   keys and values per cross block; empty before the first picture
    starts  [P + 1] the first unit of each picture, and the end of the last one
    spans   [rows, 2] the pictures that the newest token of each row sees
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.pairs: Pairs = []
        self.starts = torch.zeros(1, dtype=torch.long, device=device)
        self.spans = torch.zeros(rows, 2, dtype=torch.long, device=device)
        self._standing: tuple[int, Pairs, Look | None] | None = None

    def add(self, pairs: Pairs, starts: Tensor, spans: Tensor) -> tuple[Pairs, Look | None]:
        """Add new pictures behind the old ones; return all of them, and who among the new tokens looks.

        starts [P + 1] and spans [rows, T, 2] count from the first new picture; a token that sees none
        of the new ones goes on seeing what its row's newest token saw.
        """
        old = len(self.starts) - 1
        looking = (spans[..., 1] > spans[..., 0])[..., None]
        spans = torch.where(looking, spans + old, self.spans[:, None])
        if pairs:
            held = zip(self.pairs, pairs, strict=True) if self.pairs else ()
            joined = [(torch.cat((k, nk)), torch.cat((v, nv))) for (k, v), (nk, nv) in held]
            self.pairs = joined or pairs
            self.starts = torch.cat((self.starts, self.starts[-1] + starts[1:].to(spans.device)))
        self.spans, self._standing = spans[:, -1], None
        return self.pairs, look(spans.flatten(0, 1), self.starts) if self.pairs else None

    def standing(self, tokens: int) -> tuple[Pairs, Look | None]:
        """Return what rows see when each gains `tokens` and no picture; worked out once for an answer."""
        if self._standing is None or self._standing[0] != tokens:
            spans = self.spans[:, None].expand(-1, tokens, 2)
            found = look(spans.flatten(0, 1), self.starts) if self.pairs else None
            self._standing = (tokens, *_laid_out(self.pairs, found))
        return self._standing[1:]

    def keep(self, rows: Tensor) -> None:
        """Forget what all rows see but these, given in the order that they shall stand in."""
        self.spans, self._standing = self.spans[rows], None

    def rewind(self, pictures: int, span: tuple[int, int]) -> None:
        """Forget all but the first `pictures` pictures; `span` is what the last token that stays sees."""
        if self.pairs:  # nothing is held of pictures whose vectors stand in the text
            units = int(self.starts[pictures])
            self.pairs = [(k[:units], v[:units]) for k, v in self.pairs] if pictures else []
            self.starts = self.starts[: pictures + 1]
        self.spans, self._standing = self.spans.new_tensor([span]), None


def _laid_out(pairs: Pairs, found: Look | None) -> tuple[Pairs, Look | None]:
    """Lay what each group sees end to end, so that no token of the answer has to."""
    if found is None or found.alone(len(pairs[0][0])):
        return pairs, found
    pairs = [(pick(k, found.units), pick(v, found.units)) for k, v in pairs]
    groups = torch.arange(len(found.units), device=found.units.device)[:, None]
    return pairs, replace(found, units=groups)
