"""Tiles of one picture, seen jointly: their embeddings, and blocks that let them see each other.

Llama 3.2's tower was trained with every picture padded to four tiles and every tile padded to a
multiple of eight vectors, and its real vectors do attend to that padding. The padding need not be
computed four times, though: blocks treat equal vectors equally, so copies stay copies for ever. One
of each kind is kept, and counts in the softmax as often as it stands there:

    picture of 2 tiles, 5 vectors each, padded to 4 tiles of 8

    ■ ■ ■ ■ ■ · · ·     ■ real                      kept   10 ■
    ■ ■ ■ ■ ■ · · ·     · padding of a tile                 2 · x 3 (one per real tile)
    □ □ □ □ □ ∘ ∘ ∘     □ padding tile                      5 □ x 2
    □ □ □ □ □ ∘ ∘ ∘     ∘ its padding                       1 ∘ x 6

    k copies of a key weigh k exp(s) = exp(s + log k): a bias of log k on one of them
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.nn.attention import SelfAttention, attend
from chiasm.nn.mlp import MLP
from chiasm.nn.norms import LayerNorm


class TileBlock(nn.Module):
    """Pre-norm encoder layer over all tiles of a picture; a gated one begins as the identity."""

    def __init__(
        self, width: int, heads: int, hidden: int, activation: str, eps: float, *, gated: bool
    ) -> None:
        super().__init__()
        self.attn_norm = LayerNorm(width, eps)
        self.attn = SelfAttention(width, heads, heads, width // heads)
        self.mlp_norm = LayerNorm(width, eps)
        self.mlp = MLP(width, hidden, activation)
        for name in ("attn_gate", "mlp_gate"):
            self.register_parameter(name, nn.Parameter(torch.zeros(1)) if gated else None)

    def forward(self, x: Tensor, plan: TilePlan) -> Tensor:
        """x [N, L, width], laid out as `plan` says."""
        x = x + _gated(self._attend(self.attn_norm(x), plan), self.attn_gate)
        return x + _gated(self.mlp(self.mlp_norm(x)), self.mlp_gate)

    def _attend(self, x: Tensor, plan: TilePlan) -> Tensor:
        """Real vectors see everything, padding sees the real vectors alone."""
        query, key, value = (part.transpose(1, 2) for part in self.attn.heads(x))
        real = plan.real
        seen = attend(query[:, :, :real], key, value, plan.bias)
        padding = attend(query[:, :, real:], key[:, :, :real], value[:, :, :real])
        return self.attn.o(torch.cat((seen, padding), dim=2).transpose(1, 2).flatten(2))


def _gated(x: Tensor, gate: Tensor | None) -> Tensor:
    return x if gate is None else gate.tanh().to(x.dtype) * x


@dataclass(frozen=True)
class TilePlan:
    """How pictures of `tiles` tiles lie in a row: real vectors first, then one of each kind of padding."""

    tiles: int
    vectors: int
    """Of each tile."""
    bias: Tensor
    """[1, 1, 1, L] log of how often each vector stands there."""
    apart: bool
    """Whether there are padding tiles."""

    @property
    def real(self) -> int:
        """How many of a row's vectors are a picture's own."""
        return self.tiles * self.vectors

    @property
    def kinds(self) -> int:
        """How many tiles of a row are kept: the real ones, and one padding tile for all."""
        return self.tiles + self.apart


def plan_tiles(tiles: int, most: int, vectors: int, like: Tensor) -> TilePlan:
    """Plan pictures of `tiles` tiles, padded to `most` tiles and each tile to a multiple of eight.

    A tile whose size is a multiple of eight already is padded by eight more (llama-models,
    `expand_num_tokens_to_mult8`).
    """
    spare, beyond = 8 - vectors % 8, most - tiles
    counts = [1] * (tiles * vectors) + [spare] * tiles
    if beyond:
        counts += [beyond] * vectors + [beyond * spare]
    bias = torch.tensor([math.log(n) for n in counts], dtype=torch.float64, device=like.device)
    return TilePlan(tiles, vectors, bias.to(like.dtype).view(1, 1, 1, -1), beyond > 0)


def lay_out(x: Tensor, spare: Tensor, plan: TilePlan) -> Tensor:
    """[N, kinds, V, width] and each tile's padding [N, kinds, width] -> rows [N, L, width]."""
    tiles = plan.tiles
    real, padding = x[:, :tiles].flatten(1, 2), x[:, tiles:].flatten(1, 2)
    return torch.cat((real, spare[:, :tiles], padding, spare[:, tiles:]), dim=1)


def take_up(x: Tensor, plan: TilePlan) -> tuple[Tensor, Tensor]:
    """Undo `lay_out`: rows [N, L, width] -> [N, kinds, V, width], [N, kinds, width]."""
    tiles, beyond = plan.tiles, plan.vectors * plan.apart
    real, spare, padding, last = x.split((plan.real, tiles, beyond, int(plan.apart)), dim=1)
    whole = torch.cat((real, padding), dim=1).unflatten(1, (plan.kinds, plan.vectors))
    return whole, torch.cat((spare, last), dim=1)


def resample_tile_positions(
    table: Tensor, grid: tuple[int, int], tiles: int | None = None
) -> Tensor:
    """Stretch [rows, columns, 1 + G * G, width] to another patch grid, all tiles as one large picture.

    tiles  rows and columns of the new table; as many as before when absent

    Bilinear with corners aligned; CLS rows are stretched over the tiles alone (llama-models,
    `resize_global_position_embedding`). G may be 0: a table of one vector per tile. A table of one tile
    stretched to several is how Meta begins one (`initialize_global_position_embedding_from_local`).
    """
    rows, columns, count = table.shape[:3]
    side, new = round((count - 1) ** 0.5), (tiles or rows, tiles or columns)
    if count == 1:
        return _stretched(table, new) if new != (rows, columns) else table
    if ((side, side), (rows, columns)) == (grid, new):
        return table
    patches = table[:, :, 1:].unflatten(2, (side, side)).transpose(1, 2)
    size = (new[0] * grid[0], new[1] * grid[1])
    large = _stretched(patches.flatten(2, 3).flatten(0, 1)[:, :, None], size)
    large = large.unflatten(1, (new[1], grid[1])).unflatten(0, (new[0], grid[0])).transpose(1, 2)
    cls = resample_tile_positions(table[:, :, :1], grid, tiles)
    return torch.cat((cls, large.flatten(4).flatten(2, 3)), dim=2)


def _stretched(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[H, W, 1, width] -> [*size, 1, width]."""
    planes = x.float().permute(2, 3, 0, 1)
    new = F.interpolate(planes, size=size, mode="bilinear", align_corners=True)
    return new.permute(2, 3, 0, 1).to(x.dtype)
