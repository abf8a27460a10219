"""Numbers and pictures from names: the same on every machine and with every version of every library.

    name, index ── crc32, splitmix64 ──► 24 random bits ──► uniform ──► bell-shaped ──► a weight
    seed, x, y ── whole numbers only ──► bytes ──► a picture

No generator of torch or numpy is used: their streams may change between releases.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


def uniform(name: str, count: int) -> np.ndarray:
    """`count` float64 in [0, 1), multiples of 2**-24: splitmix64 of (crc32(name) << 32) + index."""
    with np.errstate(over="ignore"):
        state = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
        z = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def bell(name: str, *shape: int) -> Tensor:
    """Float32 of mean 0 and variance 1: the sum of four uniforms, whose tails end at 3.5."""
    count = math.prod(shape)
    parts = uniform(name, 4 * count).reshape(4, count)
    return torch.from_numpy((parts.sum(0) - 2) * math.sqrt(3)).float().reshape(shape)


def whole(name: str, low: int, high: int, count: int) -> list[int]:
    """`count` whole numbers, low <= n < high."""
    return [low + int(u * (high - low)) for u in uniform(name, count)]


def pixels(name: str, *shape: int) -> Tensor:
    """Pixels as after normalisation: multiples of 1/64 from -2 to 127/64, so that int8 holds them."""
    count = math.prod(shape)
    steps = np.floor(uniform(name, count) * 256) - 128
    return torch.from_numpy(steps / 64).float().reshape(shape)


def picture(seed: int, width: int, height: int) -> Image.Image:
    """An RGB picture with slopes, waves of whole numbers and edges; a large one has every byte value."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red = (x * (3 + seed % 5) + y * 2 + seed * 37) % 256
    green = ((x * x) // (7 + seed % 11) + (y * (5 + seed)) // 2) % 256
    blue = np.where(
        (x // 3 + y // 5 + seed) % 2 == 0, 255 - (x * 5) % 256, (y * 7 + seed * 11) % 256
    )
    return Image.fromarray(np.stack((red, green, blue), axis=-1).astype(np.uint8), "RGB")


def fill(model: nn.Module, name: str) -> None:
    """Give every stored weight of a model bfloat16-exact random values under which all parts matter.

    Matrices have a spread of 1.3 / sqrt(inputs), so that attention is neither flat nor one-hot; norms
    lie around 1; gates of one number lie between 0.3 and 1.2 on either side of 0: none is closed.
    """
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    drawn = draw(shapes, name)
    model.load_state_dict(drawn, strict=True)


def draw(shapes: Mapping[str, tuple[int, ...]], name: str) -> dict[str, Tensor]:
    """Random weights for the given names and shapes; what a tensor is, its name and shape tell."""
    return {key: one(f"{name}:{key}", key, shape) for key, shape in shapes.items()}


def one(seed: str, key: str, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1 and shape[0] == 1:
        u = uniform(seed, 2)
        value = torch.tensor([(0.3 + 0.9 * float(u[0])) * (1 if u[1] < 0.5 else -1)])
    elif "embed" in key:
        value = bell(seed, *shape) * (1.0 if "tok" in key else 0.5)
    elif len(shape) == 1 and not key.endswith("bias"):
        value = 1 + 0.2 * bell(seed, *shape)
    elif len(shape) == 1:
        value = 0.1 * bell(seed, *shape)
    else:
        value = bell(seed, *shape) * 1.3 / math.sqrt(math.prod(shape[1:]))
    return value.to(torch.bfloat16).float()
