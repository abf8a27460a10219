"""Llama 3.2's eyes: a vision transformer that sees all tiles of a picture jointly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.nn import LayerNorm, Patches, resample_positions
from chiasm.nn.tiles import (
    TileBlock,
    TilePlan,
    lay_out,
    plan_tiles,
    resample_tile_positions,
    take_up,
)


class TiledViTConfig(Settings):
    """Sizes of a vision transformer over tiles."""

    kind: Literal["tiled"] = "tiled"
    """Which encoder this is."""
    image_size: int
    """Side of a tile that the position grid was made for, in pixels."""
    patch: int = 14
    """Side of a patch, in pixels."""
    width: int = 1280
    """Width of the residual stream."""
    depth: int = 32
    """Number of blocks."""
    gated: int = 8
    """Gated blocks behind them, which only the tap "final" runs through."""
    heads: int = 16
    """Attention heads of a block."""
    hidden: int = 5120
    """Inner width of the feed-forward network."""
    tiles: int = 4
    """Most tiles of a picture; what a picture has fewer is padding that the others see."""
    activation: Literal["gelu", "quick_gelu"] = "gelu"
    """Llama 3.2 was trained with the exact gelu."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""
    tables: Literal["grid", "shapes"] = "grid"
    """Tile embeddings by place in the grid (Meta), or apart for every shape of the grid (transformers)."""

    @property
    def lead(self) -> int:
        """Vectors of a tile that stand before its patches: CLS."""
        return 1

    def places(self, image_size: int | None = None) -> int:
        """Vectors that a tile becomes, the CLS vector included."""
        return 1 + ((image_size or self.image_size) // self.patch) ** 2


def shapes_of(tiles: int) -> tuple[tuple[int, int], ...]:
    """Return the grids (rows, columns) of up to `tiles` tiles, in transformers' order."""
    sides = range(1, tiles + 1)
    return tuple((rows, columns) for rows in sides for columns in sides if rows * columns <= tiles)


class TileTable(nn.Module):
    """An embedding for every place of a tile, behind a tanh gate: [tiles, vectors, width] for a grid."""

    def __init__(self, config: TiledViTConfig, vectors: int) -> None:
        super().__init__()
        tiles, width = config.tiles, config.width
        self.order = {shape: row + 1 for row, shape in enumerate(shapes_of(tiles))}
        self.shared = config.tables == "grid"
        # Row 0 of the other kind belongs to pictures that are none (transformers' padding of batches).
        first = (tiles, tiles) if self.shared else (1 + len(self.order), tiles)
        self.weight = nn.Parameter(torch.randn(*first, vectors, width) * width**-0.5)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, shape: tuple[int, int], grid: tuple[int, int] | None = None) -> Tensor:
        """Return [rows * columns, vectors, width] for a shape; `grid` stretches patches to another grid."""
        rows, columns = shape
        table: Tensor = self.weight
        if not self.shared:
            tiles = self.weight[self.order.get(shape, 0), : max(1, rows * columns)]
            table = tiles.unflatten(0, (max(1, rows), max(1, columns)))
        if grid is not None:
            table = resample_tile_positions(table, grid)
        if shape == (0, 0):
            return table[:1, :1].flatten(0, 1) * (0 if self.shared else 1)
        return table[:rows, :columns].flatten(0, 1)


class TiledViT(nn.Module):
    """Tiles to one vector per patch after a CLS vector (llama-models, `VisionEncoder`).

    Computes what Meta's code computes with four padded tiles, in fewer products: nn/tiles.py says how.
    """

    def __init__(self, config: TiledViTConfig) -> None:
        super().__init__()
        self.config = c = config
        self.patches = Patches(c.width, c.patch)
        self.cls = nn.Parameter(torch.randn(c.width) * c.width**-0.5)
        self.position = nn.Embedding(c.places(), c.width)
        nn.init.normal_(self.position.weight, std=c.width**-0.5)
        self.tile_position = TileTable(c, c.places())
        self.before, self.after = TileTable(c, 1), TileTable(c, 1)
        self.pre_norm = LayerNorm(c.width, c.norm_eps)
        sizes = (c.width, c.heads, c.hidden, c.activation, c.norm_eps)
        self.blocks = nn.ModuleList(TileBlock(*sizes, gated=False) for _ in range(c.depth))
        self.post_norm = LayerNorm(c.width, c.norm_eps)
        self.gated = nn.ModuleList(TileBlock(*sizes, gated=True) for _ in range(c.gated))

    def forward(
        self,
        pixels: Tensor,
        taps: Sequence[str] = ("final",),
        grids: Tensor | None = None,
        padding: bool = False,
    ) -> dict[str, Tensor]:
        """Return the named layers of tiles pixels [M, 3, H, W], each [M, 1 + patches, width].

        grids    [N, 2] rows and columns of each picture's tiles; one tile each when absent
        padding  also return padding tiles: each [N * tiles, 1 + patches, width]

        "block.i"  what enters block i (0-based); "block.0" is the embedding after pre_norm
        "last"     what leaves the last block, before post_norm
        "final"    what leaves the gated blocks

        Raises ValueError for an unknown tap, and for pictures of too many tiles.
        """
        depth = self.config.depth
        level = {f"block.{i}": i for i in range(depth)} | {"last": depth, "final": depth}
        if unknown := [tap for tap in taps if tap not in level]:
            raise ValueError(
                f"no such tap {unknown}; there are block.0 … block.{depth - 1}, last, final"
            )
        shapes = [(1, 1)] * len(pixels) if grids is None else [tuple(g) for g in grids.tolist()]
        counts = [max(1, rows * columns) for rows, columns in shapes]
        if max(counts) > self.config.tiles or sum(counts) != len(pixels):
            raise ValueError(
                f"pictures of {counts} tiles, {len(pixels)} tiles in all, do not fit eyes for up to "
                f"{self.config.tiles} tiles"
            )
        tiles = pixels.split(counts)
        found: dict[str, list[Tensor]] = {tap: [Tensor()] * len(tiles) for tap in taps}
        for count in sorted(set(counts)):
            chosen = [i for i, held in enumerate(counts) if held == count]
            alike = torch.stack([tiles[i] for i in chosen])
            read = self._run(alike, [shapes[i] for i in chosen], level, taps)
            for tap, layer in read.items():
                for i, picture in zip(chosen, self._spread(layer, count, padding), strict=True):
                    found[tap][i] = picture
        return {tap: torch.cat(pictures) for tap, pictures in found.items()}

    def _run(
        self,
        pixels: Tensor,
        shapes: list[tuple[int, int]],
        level: dict[str, int],
        taps: Sequence[str],
    ) -> dict[str, Tensor]:
        """Read taps of pictures with equally many tiles: [N, t, 3, H, W] -> [N, kinds, V, width]."""
        x, spare, plan = self._embed(pixels, shapes)
        highest = max(level[tap] for tap in taps)
        row, read = lay_out(x, spare, plan), {}
        for i, block in enumerate(self.blocks[:highest]):
            read[f"block.{i}"] = row
            row = block(row, plan)
        read[f"block.{highest}"] = read["last"] = row
        if "final" in taps:
            read["final"] = self._globally(row, shapes, plan)
        return {tap: take_up(read[tap], plan)[0] for tap in taps}

    def _embed(
        self, pixels: Tensor, shapes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor, TilePlan]:
        """Return what enters the first block: [N, kinds, V, width], padding [N, kinds, width], a plan."""
        count, kind = pixels.shape[1], pixels.dtype
        patch = self.config.patch
        grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)
        plan = plan_tiles(count, self.config.tiles, 1 + grid[0] * grid[1], pixels)
        x = self.patches(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        x = x + self._gated(self.before, shapes).to(kind)
        if plan.apart:  # a padding tile is black after normalisation, and has no tile embedding
            x = torch.cat((x, torch.zeros_like(x[:, :1])), dim=1)
        cls = self.cls.to(kind).expand(*x.shape[:2], 1, -1)
        gate = self.tile_position.gate.tanh()
        x = torch.cat((cls, x), dim=2)
        x = x + (resample_positions(self.position.weight, grid) * (1 - gate)).to(kind)
        placed = torch.stack([self.tile_position(shape, grid) for shape in shapes]) * gate
        x = torch.cat((x[:, :count] + placed.to(kind), x[:, count:]), dim=1)
        return self.pre_norm(x), x.new_zeros(*x.shape[:2], x.shape[-1]), plan

    def _globally(self, row: Tensor, shapes: list[tuple[int, int]], plan: TilePlan) -> Tensor:
        """Normalise, say again which tile is which, and run the gated blocks: rows to rows."""
        x, spare = take_up(self.post_norm(row), plan)
        placed = self._gated(self.after, shapes).to(x.dtype)
        x = torch.cat((x[:, : plan.tiles] + placed, x[:, plan.tiles :]), dim=1)
        spare = torch.cat((spare[:, : plan.tiles] + placed[:, :, 0], spare[:, plan.tiles :]), dim=1)
        row = lay_out(x, spare, plan)
        for block in self.gated:
            row = block(row, plan)
        return row

    @staticmethod
    def _gated(table: TileTable, shapes: list[tuple[int, int]]) -> Tensor:
        return torch.stack([table(shape) for shape in shapes]) * table.gate.tanh()

    def _spread(self, layer: Tensor, count: int, padding: bool) -> Tensor:
        """Leave padding tiles out, or stand them where they belong."""
        real = layer[:, :count]
        if not padding:
            return real
        beyond = layer[:, count:].expand(-1, self.config.tiles - count, -1, -1)
        return torch.cat((real, beyond), dim=1)
