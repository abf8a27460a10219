"""Tiles as Llama 3.2 Vision sees them; the numbers come from hand and from transformers.

tests/parity/test_tiles.py holds the same against Meta's own answers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.inputs.toys import CHATML_CONTROLS, CHATML_TEMPLATE, reference_tokenizer
from torch import Tensor
from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.mllama import image_processing_pil_mllama as mllama
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from chiasm.base.errors import UserError
from chiasm.inputs import TileTransform, Transform, load_transform
from chiasm.inputs.image import CLIP_MEAN, CLIP_STD

STATS = {"image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD)}
EDGES = (1, 2, 13, 223, 224, 225, 448, 559, 560, 561, 1119, 1120, 1121, 1680, 2240, 2241, 9999)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(transform: TileTransform, tiles: Tensor) -> Tensor:
    """Undo normalisation and cutting: [H, W, 3] in 0 to 255."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (transform.mean, transform.std))
    rows, columns = tiles.shape[:2]
    whole = ((tiles * std + mean) * 255).permute(0, 3, 1, 4, 2)
    return whole.reshape(rows * transform.size, columns * transform.size, 3)


# ── canvas and size ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("width", "height", "grid", "fitted"),
    [
        (560, 560, (1, 1), (560, 560)),
        (1, 1, (1, 1), (560, 560)),  # a small picture grows to one tile, and no further
        (100, 300, (1, 1), (186, 560)),
        (561, 560, (1, 2), (561, 560)),
        (600, 600, (2, 2), (600, 600)),  # no larger one grows, though its canvas is larger
        (1280, 720, (2, 2), (1120, 630)),
        (5000, 1000, (1, 4), (2240, 448)),
        (1000, 5000, (4, 1), (448, 2240)),
        (3000, 1000, (1, 3), (1680, 560)),
        (4000, 4000, (2, 2), (1120, 1120)),
        (10_000, 1, (1, 4), (2240, 1)),  # 0.224 pixels high, where Meta's code fails
    ],
)
def test_canvases_worked_out_by_hand(
    width: int, height: int, grid: tuple[int, int], fitted: tuple[int, int]
) -> None:
    transform = TileTransform()
    assert transform.grid(width, height) == grid
    assert transform.fitted(width, height) == fitted


def sizes(count: int) -> list[tuple[int, int]]:
    """Widths and heights: all pairs of those where something changes, and random ones of all scales."""
    chance = np.random.default_rng(0)
    drawn = (10 ** chance.uniform(0, 4, (count, 2))).astype(int).tolist()
    return [(w, h) for w in EDGES for h in EDGES] + [(w, h) for w, h in drawn]


@pytest.mark.parametrize(("size", "most"), [(560, 4), (448, 4), (100, 12)])
def test_canvas_and_size_are_those_of_transformers(size: int, most: int) -> None:
    """transformers' are Meta's but for sides of less than a pixel."""
    transform = TileTransform(size=size, most=most)
    for width, height in sizes(1500):
        canvas = mllama.get_optimal_tiled_canvas(height, width, most, size)
        rows, columns = transform.grid(width, height)
        assert (rows * size, columns * size) == canvas, (width, height)
        theirs = mllama.get_image_size_fit_to_canvas(height, width, *canvas, size)
        assert transform.fitted(width, height) == theirs[::-1], (width, height)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 600), st.integers(1, 9))
def test_the_picture_fits_its_canvas_and_keeps_its_shape(
    width: int, height: int, size: int, most: int
) -> None:
    transform = TileTransform(size=size, most=most)
    rows, columns = transform.grid(width, height)
    wide, high = transform.fitted(width, height)
    assert 1 <= rows * columns <= most
    assert 1 <= wide <= columns * size and 1 <= high <= rows * size
    if min(wide, high) > 1:  # less than a pixel becomes one
        scale = max(wide / width, high / height)
        assert abs(width * scale - wide) < 1 + 1e-6 and abs(height * scale - high) < 1 + 1e-6
    assert wide <= max(width, size) and high <= max(height, size)
    assert wide in (width, size, columns * size) or high in (height, size, rows * size)


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("height", "width"),
    [(90, 160), (300, 200), (24, 24), (1, 1), (3, 2), (7, 90), (90, 7), (48, 24), (500, 60)],
)
def test_pixels_are_those_of_transformers(height: int, width: int) -> None:
    """Its Pillow side is Meta's way. Measured: at most 4.8e-7, which is one rounding."""
    transform = TileTransform(size=24)
    rgb = noise(height, width)
    theirs = mllama.MllamaImageProcessorPil(size={"height": 24, "width": 24}, **STATS)
    reference = theirs([[Image.fromarray(rgb)]], return_tensors="np")
    tiles = transform.pixels(rgb)
    assert tiles.shape == (*transform.grid(width, height), 3, 24, 24)
    assert tiles.dtype == torch.float32 and tiles.is_contiguous()
    flat = tiles.flatten(0, 1).numpy()
    held = reference["pixel_values"][0, 0]
    np.testing.assert_allclose(flat, held[: len(flat)], atol=1e-6, rtol=0)
    assert reference["num_tiles"] == [[len(flat)]] and not held[len(flat) :].any()


def test_tiles_stand_in_rows_and_black_is_put_in_before_the_brightness() -> None:
    """A 30 x 24 picture keeps its size on a canvas of 2 x 2 tiles of 16."""
    transform = TileTransform(size=16, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    rgb = np.full((24, 30, 3), (51, 102, 204), np.uint8)
    tiles = transform.pixels(rgb)
    assert tiles.shape == (2, 2, 3, 16, 16)
    whole = shown(transform, tiles)
    colour = torch.tensor([51.0, 102.0, 204.0])
    assert torch.allclose(whole[:24, :30], colour, atol=1e-4)
    assert whole[24:].abs().max() < 1e-4 and whole[:, 30:].abs().max() < 1e-4
    assert torch.equal(tiles[1, 1, :, -1, -1], torch.tensor([-1.0, -0.25, 0.0]))
    rgb[:16, 16:] = 0
    changed = (transform.pixels(rgb) != tiles).flatten(2).any(2)
    assert changed.tolist() == [[False, True], [False, False]]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 6))
def test_any_size_becomes_whole_tiles(height: int, width: int, size: int, most: int) -> None:
    transform = TileTransform(size=size, most=most)
    rgb = noise(height, width)
    tiles = transform.pixels(rgb)
    assert tiles.shape == (*transform.grid(width, height), 3, size, size)
    assert shown(transform, tiles).min() > -0.01 and shown(transform, tiles).max() < 255.01


def test_memory_layout_does_not_matter_and_the_picture_stays() -> None:
    rgb = noise(30, 20)
    kept = rgb.copy()
    rgb.flags.writeable = False
    transform = TileTransform(size=16)
    wanted = transform.pixels(rgb)
    assert torch.equal(transform.pixels(np.asfortranarray(rgb)), wanted)
    assert torch.equal(transform.pixels(rgb[::-1][::-1]), wanted)
    np.testing.assert_array_equal(rgb, kept)
    with pytest.raises(ValueError, match=r"need uint8 \[H, W, 3\]"):
        transform.pixels(np.zeros((4, 4), np.uint8))


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_saved_is_loaded_by_us_and_by_transformers(tmp_path: Path) -> None:
    ours = TileTransform(size=28, most=6, mean=(0.5, 0.25, 0.125), std=(0.1, 0.2, 0.3))
    ours.save(tmp_path)
    assert load_transform(tmp_path) == ours
    theirs = mllama.MllamaImageProcessorPil.from_pretrained(tmp_path)
    rgb = noise(80, 170)
    held = theirs([[Image.fromarray(rgb)]], return_tensors="np")["pixel_values"][0, 0]
    mine = ours.pixels(rgb).flatten(0, 1).numpy()
    np.testing.assert_allclose(mine, held[: len(mine)], atol=3e-6, rtol=0)
    theirs.save_pretrained(tmp_path)
    assert load_transform(tmp_path) == ours


def test_each_image_processor_is_read_as_what_it_is(tmp_path: Path) -> None:
    half = (0.5, 0.5, 0.5)
    siglip = Transform(size=384, fit="stretch", mean=half, std=half)
    cases = [
        (CLIPImageProcessorPil(), Transform(size=224, fit="crop")),
        (LlavaImageProcessorPil(size={"shortest_edge": 336}, crop_size=336), None),
        (SiglipImageProcessorPil(size={"height": 384, "width": 384}), siglip),
        (mllama.MllamaImageProcessorPil(), TileTransform(size=224, mean=half, std=half)),
    ]
    for theirs, expected in cases:
        theirs.save_pretrained(tmp_path)
        assert load_transform(tmp_path) == (expected or Transform(size=336, fit="crop"))
    Transform(size=32).save(tmp_path)
    assert load_transform(tmp_path) == Transform(size=32)


def test_the_file_that_transformers_writes_beside_a_tokenizer(tmp_path: Path) -> None:
    words = reference_tokenizer(CHATML_CONTROLS, CHATML_TEMPLATE)
    eyes = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=336)
    LlavaProcessor(eyes, words, patch_size=14).save_pretrained(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    assert load_transform(tmp_path) == Transform(size=336, fit="crop")
    whole = json.loads((tmp_path / "processor_config.json").read_text())
    del whole["image_processor"]
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"processor_config\.json must hold one JSON record"):
        load_transform(tmp_path)


TILES = {"image_processor_type": "MllamaImageProcessor", "size": {"height": 8, "width": 8}, **STATS}


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({**TILES, "image_processor_type": "BlipImageProcessor"}, "'BlipImageProcessor' is one"),
        ({**TILES, "do_pad": False}, "padded to whole tiles"),
        ({**TILES, "do_center_crop": True}, "padded to whole tiles"),
        ({**TILES, "size": {"height": 8, "width": 9}}, "does not give one square"),
        ({**TILES, "size": {"shortest_edge": 8}}, "does not give one square"),
        ({**TILES, "size": 8}, "does not give one square"),
        ({**TILES, "size": {"height": 0, "width": 0}}, "size"),
        ({**TILES, "size": {"height": "8", "width": "8"}}, "size"),
        ({**TILES, "max_image_tiles": 0}, "most"),
        ({**TILES, "max_image_tiles": 10**9}, "most"),
        ({**TILES, "max_image_tiles": 2.5}, "most"),
        ({**TILES, "resample": 1}, "resample 1 is neither"),
        ({**TILES, "do_split": True}, "do_split is a step"),
        ({**TILES, "image_mean": [0.5]}, "image_mean must be three"),
        ({**TILES, "rescale_factor": 1}, "scaled by 1/255"),
    ],
)
def test_what_we_would_compute_differently_is_refused(
    record: dict[str, object], says: str, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=says) as caught:
        load_transform(tmp_path)
    assert "preprocessor_config.json" in str(caught.value)


def test_a_padding_step_that_makes_no_square_is_refused(tmp_path: Path) -> None:
    theirs = LlavaImageProcessorPil(do_pad=True)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="do_pad is a step"):
        load_transform(tmp_path)
