"""Stands in for the five names of torchvision that Meta's image transform imports.

torchvision is no part of this project's environments (its wheels pin another torch). For a PIL
picture in RGB its functions are thin, and these say the same (torchvision/transforms/functional.py
and _functional_pil.py):

- `functional.resize(picture, (height, width), BILINEAR)` is `picture.resize((width, height), 2)`;
- `ToTensor()` makes float32 [3, H, W] of the bytes, divided by 255;
- `Normalize(mean, std, inplace=True)` is `x.sub_(mean).div_(std)` per channel, both as float32.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class InterpolationMode(Enum):
    BILINEAR = Image.Resampling.BILINEAR


class ToTensor:
    def __call__(self, picture: Image.Image) -> Tensor:
        assert picture.mode == "RGB", picture.mode
        bytes_ = torch.from_numpy(np.array(picture, dtype=np.uint8, copy=True))
        return bytes_.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class Normalize:
    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool) -> None:
        assert inplace
        self.mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.sub_(self.mean).div_(self.std)


def resize(
    picture: Image.Image, size: tuple[int, int], interpolation: InterpolationMode
) -> Image.Image:
    assert picture.mode == "RGB", picture.mode
    height, width = size
    return picture.resize((width, height), interpolation.value)


@contextmanager
def sizes_only() -> Iterator[None]:
    """While open, `functional.resize` gives back the (width, height) that it was asked for."""
    functional = vars(sys.modules["torchvision.transforms.functional"])
    functional["resize"] = lambda picture, size, interpolation: (size[1], size[0])
    yield
    functional["resize"] = resize


def install() -> None:
    """Make `import torchvision.transforms` find this file; call before importing Meta's modules."""
    top, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    functional = ModuleType("torchvision.transforms.functional")
    vars(functional)["resize"] = resize
    vars(transforms).update(
        functional=functional,
        ToTensor=ToTensor,
        Normalize=Normalize,
        InterpolationMode=InterpolationMode,
    )
    vars(top)["transforms"] = transforms
    for module in (top, transforms, functional):
        sys.modules[module.__name__] = module
