"""Pictures as tiles: a canvas of whole tiles that suits the picture's shape, cut into squares.

1280 x 720, tiles of 560, at most 4       canvas 2 x 2           tiles [2, 2, 3, 560, 560]

┌───────────────┐      resize to fit     ┌───────┬───────┐
│░░░░░░░░░░░░░░░│      ──────────────►   │░░░░░░░│░░░░░░░│       (0, 0)   (0, 1)
│░░░░░░░░░░░░░░░│      black at right    ├───────┼───────┤  ──►
│░░░░░░░░░░░░░░░│      and below         │░░░░░░░│░░░░░░░│       (1, 0)   (1, 1)
└───────────────┘                        │       │       │
                                         └───────┴───────┘

The rules are those that Llama 3.2 Vision was trained with (llama-models,
`VariableSizeImageTransform`): a different canvas would be another picture to it.
"""

from __future__ import annotations

import json
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from chiasm.base.config import Settings, from_record
from chiasm.base.files import write_atomic
from chiasm.inputs.image import (
    CLIP_MEAN,
    CLIP_STD,
    FILE,
    Transform,
    Triple,
    check_rgb,
    normalised,
    read_common,
    read_record,
    read_transform,
    refusing,
    written,
)

_BILINEAR = 2
"""Pillow's number, which transformers takes where a file names none."""


class TileTransform(Settings):
    """Turns 8-bit RGB of any size into one to `most` square tiles, as Llama 3.2 Vision sees them."""

    size: int = Field(560, ge=1)
    """Height and width of a tile, in pixels."""
    most: int = Field(4, ge=1, le=100)
    """Most tiles of a picture."""
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    """How pixels are interpolated; always antialiased."""
    mean: Triple = CLIP_MEAN
    """Subtracted from red, green, blue in 0 to 1."""
    std: Triple = CLIP_STD
    """Divides red, green, blue after that."""

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return rows and columns of the tiles that a picture of this size becomes.

        The canvas is one on which the picture need not shrink and grows least; when it has to
        shrink, one on which it shrinks least; of several such, the smallest.
        """
        scales = {
            (rows, columns): min(columns * self.size / width, rows * self.size / height)
            for rows, columns in _canvases(self.most)
        }
        growing = [scale for scale in scales.values() if scale >= 1]
        best = min(growing) if growing else max(scales.values())
        # The smallest is one alone: columns and rows that are both just enough.
        return min((grid for grid, scale in scales.items() if scale == best), key=math.prod)

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that a picture of this size has on its canvas.

        A picture smaller than a tile grows until one side is a tile's; no other one grows. Neither
        side is less than 1, where Meta's code rounds to 0 and fails (1 x 10000).
        """
        rows, columns = self.grid(width, height)
        wide = min(max(width, self.size), columns * self.size)
        high = min(max(height, self.size), rows * self.size)
        # Products and quotients in this order: their rounding decides about a pixel.
        across, down = wide / width, high / height
        if across < down:
            return wide, max(1, min(math.floor(height * across), high))
        return max(1, min(math.floor(width * down), wide)), high

    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Return tiles [rows, columns, 3, size, size] float32, normalised, of a picture uint8 [H, W, 3]."""
        from PIL import Image

        check_rgb(rgb)
        height, width = rgb.shape[:2]
        rows, columns = self.grid(width, height)
        inner = Image.fromarray(np.ascontiguousarray(rgb))
        if (fitted := self.fitted(width, height)) != (width, height):
            inner = inner.resize(fitted, Image.Resampling[self.resample.upper()])
        canvas = np.zeros((rows * self.size, columns * self.size, 3), np.uint8)
        canvas[: inner.height, : inner.width] = np.asarray(inner)
        whole = torch.from_numpy(canvas).unflatten(0, (rows, -1)).unflatten(2, (columns, -1))
        tiles = whole.permute(0, 2, 4, 1, 3).contiguous()
        # Black is put in before: next to the picture it is what the model was trained with.
        return normalised(tiles, self.mean, self.std)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write preprocessor_config.json as transformers writes it for Llama 3.2 Vision."""
        record = {
            "image_processor_type": "MllamaImageProcessor",
            **written(self),
            "do_pad": True,
            "max_image_tiles": self.most,
            "size": {"height": self.size, "width": self.size},
        }
        write_atomic(Path(folder) / FILE, json.dumps(record, indent=2) + "\n")


@lru_cache
def _canvases(most: int) -> tuple[tuple[int, int], ...]:
    """All (rows, columns) of at most `most` tiles."""
    sides = range(1, most + 1)
    return tuple((rows, columns) for rows in sides for columns in range(1, most // rows + 1))


# ── transformers' file ───────────────────────────────────────────────────────────────────────────

AnyTransform: TypeAlias = Transform | TileTransform
"""What turns a picture into tiles: one of them, or several."""

_ONE_SQUARE = ("CLIP", "Siglip", "Llava")
"""Whose image processors make one square of a picture, by settings that `Transform` has."""


def load_transform(folder: str | os.PathLike[str]) -> AnyTransform:
    """Read how a model folder's pictures are prepared, by its image processor; raises UserError."""
    record, path = read_record(folder)
    known = {f"{name}{kind}" for name in _ONE_SQUARE for kind in _KINDS}
    name = record.get("image_processor_type", record.get("feature_extractor_type"))
    if name in {f"Mllama{kind}" for kind in _KINDS}:
        return _read_tiles(record, path)
    # Files of the time when there was one kind alone name none.
    if name is not None and name not in known:
        raise refusing(path)(f"image_processor_type {name!r} is one that Chiasm does not know")
    return read_transform(record, path)


_KINDS = ("ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor")
"""One image processor under the names that it had over the years."""


def _read_tiles(record: dict[str, Any], path: Path) -> TileTransform:
    refuse = refusing(path)
    settings = read_common(record, refuse, _BILINEAR)
    if not record.get("do_pad", True) or record.get("do_center_crop"):
        raise refuse("pictures must be padded to whole tiles, not cropped")
    size = record.get("size")
    sides = (
        set(size.values()) if isinstance(size, dict) and set(size) == {"height", "width"} else ()
    )
    if len(sides) != 1:
        raise refuse(f"size {size!r} does not give one square")
    settings |= {"size": sides.pop(), "most": record.get("max_image_tiles", 4)}
    return from_record(TileTransform, settings, source=str(path))
