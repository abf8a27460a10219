"""A picture takes as many places in the text as it becomes vectors, whatever its size.

header ── grid ── places ──► tokens that mark it   ┐
pixels ── tiles ── encoder ── projector ──► vectors ┴ equal: 10,000 sizes, and whole conversations
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inputs.toys import RGB, chunk

from chiasm.base.vision import Vision
from chiasm.inputs import Message, Picture, Processor, Text, TileTransform, Transform
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.tiles import AnyTransform
from chiasm.models import ProjectorConfig
from chiasm.models.sight import vectors_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.testing import TOY_GRIDS, toy_crossed, toy_decoder_config, toy_prefix, toy_tokenizer

LONG = toy_decoder_config(context=4000)
TILED = TiledViTConfig(
    image_size=12, patch=4, width=12, depth=3, gated=1, heads=2, hidden=18, tiles=6
)
MERGED = ProjectorConfig(taps=("last",), kind="mlp", cls=False, squares=3)
MODELS = {
    "prefix": toy_prefix(decoder=LONG),
    "prefix, merged": toy_prefix(decoder=LONG, projector=MERGED),
    "crossed": toy_crossed(decoder=LONG),
    "crossed, tiled": toy_crossed(
        decoder=LONG, encoder=TILED, projector=ProjectorConfig(taps=("block.1", "final"))
    ),
}
CASES = [
    ("prefix", TileTransform(size=12), 3000),
    ("prefix", TileTransform(size=20, most=6), 2000),
    ("prefix, merged", TileTransform(size=36, most=9), 2000),
    ("prefix", Transform(size=16), 1000),
    ("crossed", TileTransform(size=16, most=5), 1000),
    ("crossed, tiled", TileTransform(size=12), 1000),
]


class reading:
    """A processor for a toy model, whose worker ends with the block."""

    def __init__(self, model: Any, transform: AnyTransform) -> None:
        config = model.config
        self.processor = Processor(
            toy_tokenizer(),
            CHATML,
            transform,
            image_token=config.image_token,
            places=partial(config.places, transform.size),
            default_system=None,
        )

    def __enter__(self) -> Processor:
        return self.processor

    def __exit__(self, *_: object) -> None:
        self.processor.close()


def header(width: int, height: int) -> Picture:
    """A PNG that ends where its pixels should begin: its size is all that can be read."""
    size = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)
    return Picture(data=b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b""))


def sizes(count: int, seed: int) -> list[tuple[int, int]]:
    """Different widths and heights of at most 40 million pixels, as many small ones as large ones."""
    chance = np.random.default_rng(seed)
    drawn = (10 ** chance.uniform(0, 3.8, (2 * count, 2))).astype(int).tolist()
    return list(dict.fromkeys((w, h) for w, h in drawn))[:count]


def vectors(model: Any, transform: AnyTransform, grid: tuple[int, int]) -> int:
    """How many vectors the model's own eyes make of a picture of these tiles."""
    tiles = torch.zeros(grid[0] * grid[1], 3, transform.size, transform.size)
    vision = Vision(torch.zeros(1, 1, 2), tiles, torch.tensor([grid]))
    with torch.no_grad():
        return vectors_of(model, vision).flatten(0, 1).shape[0]


@pytest.mark.parametrize(("name", "transform", "count"), CASES)
def test_places_are_vectors_for_10_000_sizes(
    name: str, transform: AnyTransform, count: int
) -> None:
    model, asked = MODELS[name], sizes(count, CASES.index((name, transform, count)))
    assert len(asked) == count
    known: dict[tuple[int, int], int] = {}
    with reading(model, transform) as processor:
        for start in range(0, count, 20):
            pictures = [header(*size) for size in asked[start : start + 20]]
            prompt = processor.prompt([Message("user", (*pictures, Text("x")))])
            image = model.config.image_token
            marks = zip(prompt.ids, prompt.seen, strict=True)
            places = Counter(seen[1] - 1 for id, seen in marks if id == image)
            for number, (width, height) in enumerate(asked[start : start + 20]):
                grid = transform.grid(width, height)
                if grid not in known:
                    known[grid] = vectors(model, transform, grid)
                wanted = known[grid] if name.startswith("prefix") else 1
                assert places[number] == wanted, (width, height)
    assert len(known) == sum(transform.most // rows for rows in range(1, transform.most + 1))


@pytest.mark.parametrize("transform", [TileTransform(size=12), TileTransform(size=20, most=6)])
def test_the_grid_that_the_header_promises_is_that_of_the_pixels(transform: TileTransform) -> None:
    for width, height in sizes(2000, 77):
        if width * height < 40_000:
            tiles = transform.pixels(np.zeros((height, width, 3), np.uint8))
            assert tiles.shape[:2] == transform.grid(width, height)


def drawn(width: int, height: int, orientation: int = 1) -> Picture:
    """A JPEG of this size as stored; some orientations make it as wide as it is high."""
    chance = np.random.default_rng(width)
    pixels = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    return Picture(data=file.getvalue())


def talks() -> Iterator[list[Message]]:
    """All grids of up to four tiles, upright and lying, in one conversation, and two in another."""
    shapes = ((10, 9), (20, 9), (30, 9), (50, 9), (20, 20), (9, 20), (9, 30), (9, 50))
    pictures = [drawn(*size, orientation) for size in shapes for orientation in (1, 6, 8)]
    said = Message("assistant", (Text("so"),))
    yield [Message("user", (*pictures, Text("?"))), said, Message("user", (pictures[3], Text("!")))]
    yield [Message("user", (pictures[1], Text("and"), pictures[8], Text("?")))]


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_conversations_with_pictures_of_all_grids_are_read(name: str) -> None:
    """A count that differed would be an error (prefix), or a tile that nobody asked for (crossed)."""
    model = MODELS[name]
    with reading(model, TileTransform(size=12)) as processor:
        prompts = [processor.prompt(talk) for talk in talks()]
        batch = processor.batch(prompts)
        assert batch.vision is not None and batch.pictures == 27
        grids = [processor.grid_of(picture) for prompt in prompts for picture in prompt.pictures]
        assert batch.vision.grids.tolist() == [list(grid) for grid in grids]
        assert len(batch.vision.pixels) == sum(rows * columns for rows, columns in grids)
        # Upright once and lying twice: of each shape as many stand as lie.
        assert Counter(grids[:24]) == dict.fromkeys(TOY_GRIDS, 3)
        whole = model(**batch.inputs())
        for row, prompt in enumerate(prompts):
            alone = model(**processor.batch([prompt]).inputs())[0]
            got = whole[row, : len(prompt.ids)]
            torch.testing.assert_close(got, alone, atol=1e-4, rtol=0)
