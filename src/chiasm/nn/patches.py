"""Pixels to patches, and position grids for other resolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Patches(nn.Module):
    """Cut pictures into squares and project each to a vector: [N, 3, H, W] -> [N, H/P * W/P, width].

    The weight has a convolution's shape [width, 3, P, P]; cutting and one matrix product give the
    same numbers as the convolution with stride P (Dosovitskiy et al. 2020, section 3.1).
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 3, patch, patch))
        nn.init.normal_(self.weight, std=(3 * patch * patch) ** -0.5)
        self.patch = patch

    def forward(self, pixels: Tensor) -> Tensor:
        squares = F.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        return F.linear(squares, self.weight.flatten(1).to(pixels.dtype))


def resample_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Stretch the table [1 + G*G, width] of a square grid to another grid; the first row (CLS) stays.

    Bilinear with corners aligned, as the Llama 3.2 vision encoder does between its resolutions.
    """
    side = round((len(table) - 1) ** 0.5)
    if (side, side) == grid:
        return table
    old = table[1:].float().unflatten(0, (side, side)).permute(2, 0, 1)[None]
    new = F.interpolate(old, size=grid, mode="bilinear", align_corners=True)
    return torch.cat((table[:1], new[0].flatten(1).T.to(table.dtype)))
