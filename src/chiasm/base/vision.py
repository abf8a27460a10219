"""The record that `inputs` makes and `models` read: what a batch shows, and who sees what of it.

pictures   0 ▣      1 ▦▦        2 ▣       grids  [[1, 1], [1, 2], [1, 1]]   rows, columns of tiles
tiles      0        1 2         3         pixels [4, 3, H, W]              all tiles, end to end
spans      count pictures, never tiles
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vision:
    """Pictures of a batch as one flat list, and which of them each token sees."""

    spans: Tensor
    """[B, T, 2] int64: a token sees the pictures first <= j < last of its span; equal ends = none.

    Beside a cache that remembers a single row's pictures, these stand before picture 0: -1 is the last
    of them.
    """
    pixels: Tensor | None = None
    """[M, 3, H, W] normalised pixels of all tiles, end to end; the encoder runs on them."""
    grids: Tensor | None = None
    """[N, 2] int64, on the processor: rows and columns of each picture's tiles; None = one tile each."""
    features: Tensor | None = None
    """[M, V, D] what the encoder would give; when set, the encoder does not run."""
    clips: Clips | None = None
    """Videos of the batch, seen beside the pictures."""

    @property
    def pictures(self) -> int:
        """How many pictures the list holds."""
        if self.grids is not None:
            return len(self.grids)
        held = self.pixels if self.features is None else self.features
        return 0 if held is None else len(held)

    def to(self, device: torch.device) -> Vision:
        """Return the same record on another device."""
        return _moved(self, device)


@dataclass(frozen=True)
class Clips:
    """Videos of a batch: the frames of all clips end to end, and which clips each token sees."""

    spans: Tensor
    """[B, T, 2] int64: a token sees the clips first <= j < last of its span; equal ends = none."""
    frames: Tensor
    """[C] int64, on the processor: how many frames each clip has."""
    pixels: Tensor | None = None
    """[M, 3, H, W] normalised pixels of all frames' tiles, end to end."""
    grids: Tensor | None = None
    """[F, 2] int64, on the processor: rows and columns of each frame's tiles; None = one tile each."""
    features: Tensor | None = None
    """[M, V, D] what the encoder would give; when set, the encoder does not run."""

    def to(self, device: torch.device) -> Clips:
        """Return the same record on another device."""
        return _moved(self, device)


R = TypeVar("R", "Vision", "Clips")
_STAY = ("grids", "frames")
"""Counts that decide shapes: read on the processor, so that no device has to be waited for."""


def _moved(record: R, device: torch.device) -> R:
    held = {field.name: getattr(record, field.name) for field in fields(record)}
    names = [name for name, value in held.items() if value is not None and name not in _STAY]
    return replace(record, **{name: held[name].to(device) for name in names})
