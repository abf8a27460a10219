"""Meta's image transform: canvases for 30,000 sizes, and the pixels of small drawn pictures.

    (w, h) ──► canvas (8 possible), resized (w', h')                      meta_canvas_448, _560
    picture(seed, w, h) ──► tiles [rows * columns, 3, S, S], (rows, columns)   meta_pixels

Asks `VariableSizeImageTransform` of llama-models 0.3.0 with max_num_chunks 4, through
torchvision_stand_in.py. Meta's code opens every picture as RGB, so pictures here are RGB.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.parity.goldens import drawing, torchvision_stand_in, unpack
from tests.parity.goldens.writing import Book, main
from torch import Tensor

torchvision_stand_in.install()

from llama_models.llama3.multimodal.image_transform import (  # noqa: E402
    VariableSizeImageTransform,
)

TILES = 4
SMALL = (  # (tile side, width, height): odd, thin, tiny, exactly a canvas, one more, one less
    *((28, w, h) for w, h in ((1, 1), (2, 1), (1, 3), (5, 7), (27, 28), (28, 28), (29, 28))),
    *((28, w, h) for w, h in ((56, 56), (57, 55), (28, 112), (112, 28), (113, 27), (84, 28))),
    *((28, w, h) for w, h in ((31, 97), (97, 31), (100, 100), (333, 41), (41, 333), (250, 251))),
    *((28, w, h) for w, h in ((3, 80), (80, 3), (640, 480), (199, 61), (45, 118), (1, 400))),
    *((42, w, h) for w, h in ((43, 41), (90, 200), (168, 42), (11, 130))),
)
LARGE = ((448, 500, 333), (448, 1333, 701), (560, 1207, 2401))


def level_table() -> Tensor:
    """[3, 256] float32: Meta's normalised value of every byte of every channel."""
    transform = VariableSizeImageTransform(size=16)
    bytes_ = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = Image.fromarray(np.stack((bytes_,) * 3, axis=-1), "RGB")
    tiles, _ = transform(grey, max_num_chunks=1)
    return tiles[0].flatten(1)


def as_levels(tiles: Tensor, table: Tensor) -> Tensor:
    """Bytes whose entries in the table are exactly these pixels; ValueError when they are not."""
    channels = [torch.searchsorted(table[c], tiles[..., c, :, :].contiguous()) for c in range(3)]
    bytes_ = torch.stack(channels, dim=-3).to(torch.uint8)
    if not torch.equal(unpack(bytes_, "levels", {"levels": table}), tiles):
        raise ValueError("pixels are not among the 256 levels")
    return bytes_


def sizes() -> list[tuple[int, int]]:
    """30,000 (width, height): every pair of sides near a tile's multiple, thin ones, and random ones."""
    edges = sorted({k * side + d for side in (448, 560) for k in (1, 2, 3, 4) for d in (-1, 0, 1)})
    edges += [1, 2, 3, 7, 13, 64, 100, 223, 224, 225, 300, 640, 1000, 3000, 9999]
    found = [(w, h) for w in edges for h in edges]
    found += [(w, h) for w in range(1, 61) for h in range(1, 61)]
    ratios = (
        (1, 2),
        (1, 3),
        (1, 4),
        (2, 3),
        (3, 4),
        (9, 16),
        (1, 1),
        (4, 5),
    )  # ties between canvases
    for k in range(1, 400):
        for a, b in ratios:
            found += [(a * k, b * k), (b * k, a * k)]
    rest = 30_000 - len(found)
    sides = 2 ** (
        drawing.uniform("sides", 2 * rest).reshape(rest, 2) * 13
    )  # 1 to 8191, as often per octave
    return found + [(int(w), int(h)) for w, h in sides]


class Sized:
    """All that Meta's `resize_without_distortion` reads of a picture before it resizes it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size


def chosen(side: int, asked: list[tuple[int, int]]) -> dict[str, Tensor]:
    """Canvas in tiles (rows, columns) and resized (w, h) of every size; a side of 0 is Meta's error."""
    transform = VariableSizeImageTransform(size=side)
    possible = torch.tensor(transform.find_supported_resolutions(TILES, side))
    canvases, resized = [], []
    with torchvision_stand_in.sizes_only():
        for size in asked:
            canvas = transform.get_best_fit(size, possible)
            canvases.append((canvas[1] // side, canvas[0] // side))
            resized.append(transform.resize_without_distortion(Sized(size), canvas, side))
    return {
        "canvas": torch.tensor(canvases, dtype=torch.uint8),
        "resized": torch.tensor(resized, dtype=torch.int16),
    }


def make_canvases(book: Book) -> None:
    asked = sizes()
    tensors = {"sizes/sizes": torch.tensor(asked, dtype=torch.int16)}
    for side in (448, 560):
        tensors |= {f"{side}/{key}": value for key, value in chosen(side, asked).items()}
    zero = [int((tensors[f"{side}/resized"] == 0).any(-1).sum()) for side in (448, 560)]
    record = {
        "max_tiles": TILES,
        "note": "a resized side of 0: Meta's code hands it to PIL, which raises ValueError",
        "sizes with a side of 0": {"448": zero[0], "560": zero[1]},
    }
    book.put("meta_canvas", tensors, record)


def make_pixels(book: Book) -> None:
    table = level_table()
    tensors: dict[str, Tensor] = {"levels": table}
    told: dict[str, Any] = {}
    for seed, (side, width, height) in enumerate(SMALL + LARGE):
        transform = VariableSizeImageTransform(size=side)
        case = f"{side}_{width}x{height}"
        told[case] = {"seed": seed, "side": side, "size": [width, height]}
        try:
            tiles, grid = transform(drawing.picture(seed, width, height), max_num_chunks=TILES)
        except ValueError as error:
            told[case]["error"] = str(error)
            continue
        told[case]["grid"] = grid
        bytes_ = as_levels(tiles, table)
        if (side, width, height) in SMALL:
            tensors[f"{case}/pixels"] = bytes_
            continue
        told[case]["sha256"] = hashlib.sha256(tiles.numpy().tobytes()).hexdigest()
        at = torch.tensor(drawing.whole(f"{case} places", 0, tiles.numel(), 2000))
        tensors[f"{case}/places"] = at.to(torch.int32)
        tensors[f"{case}/values"] = tiles.flatten()[at]
    record = {"max_tiles": TILES, "cases": told}
    book.put("meta_pixels", tensors, record, {"*/pixels": "levels"})


def make(book: Book) -> None:
    make_canvases(book)
    make_pixels(book)


if __name__ == "__main__":
    main("make_meta_pixels.py", ("llama_models", "pillow"), make)
