"""Pixels to patches, and position grids for other resolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Patches(nn.Module):
    """Cut pictures into squares and project each to a vector: [N, 3, H, W] -> [N, H/P * W/P, width].

    The weight has a convolution's shape [width, 3, P, P]; cutting and one matrix product give the
    same numbers as the convolution with stride P (Dosovitskiy et al. 2020, section 3.1). What is left
    at the right and lower edges is less than a patch and not seen.
    """

    def __init__(self, width: int, patch: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 3, patch, patch))
        nn.init.normal_(self.weight, std=(3 * patch * patch) ** -0.5)
        self.register_parameter("bias", nn.Parameter(torch.zeros(width)) if bias else None)
        self.patch = patch

    def forward(self, pixels: Tensor) -> Tensor:
        squares = F.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        bias = None if self.bias is None else self.bias.to(pixels.dtype)
        return F.linear(squares, self.weight.flatten(1).to(pixels.dtype), bias)


def resample_positions(table: Tensor, grid: tuple[int, int], lead: int = 1) -> Tensor:
    """Stretch the table [lead + G*G, width] of a square grid to a grid of rows x columns.

    The first `lead` rows (CLS) have no place in the grid and stay. Bilinear with corners aligned, as
    the Llama 3.2 vision encoder does between its resolutions.
    """
    side = round((len(table) - lead) ** 0.5)
    if (side, side) == grid:
        return table
    wide = table[lead:].to(torch.promote_types(table.dtype, torch.float32))
    old = wide.unflatten(0, (side, side)).permute(2, 0, 1)[None]
    new = F.interpolate(old, size=grid, mode="bilinear", align_corners=True)
    return torch.cat((table[:lead], new[0].flatten(1).T.to(table.dtype)))
