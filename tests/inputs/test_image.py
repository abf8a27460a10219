"""One transform for training and serving; its numbers come from Pillow, from hand, and from transformers."""

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
from tests.inputs.toys import mosaic
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from chiasm.base.errors import UserError
from chiasm.inputs import Transform
from chiasm.inputs.image import CLIP_MEAN, CLIP_STD

FITS = ("pad", "crop", "stretch")


def shown(transform: Transform, pixels: Tensor) -> Tensor:
    """Undo the normalisation of the one tile: [S, S, 3] in 0 to 255."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (transform.mean, transform.std))
    return ((pixels[0, 0] * std + mean) * 255).permute(1, 2, 0)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def waves(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    channels = [127 + 120 * np.sin(x / 7 + c) * np.cos(y / 5) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


SIZES = [(64, 64), (224, 224), (225, 224), (480, 640), (37, 53), (1, 1), (2, 3), (100, 700)]
STRIPS = [(3, 900), (900, 3), (16, 2000)]


@pytest.mark.parametrize("picture", [noise, waves])
@pytest.mark.parametrize(("height", "width"), SIZES + STRIPS)
def test_crop_is_what_clip_does(height: int, width: int, picture: object) -> None:
    """Measured: at most 2/255, and beyond 1/255 in 3e-4 of the values (2 x 3) or 6e-5 (others)."""
    rgb = picture(height, width)  # type: ignore[operator]
    reference = CLIPImageProcessorPil()(Image.fromarray(rgb), return_tensors="np")
    wanted = torch.from_numpy(reference["pixel_values"])[None]
    transform = Transform(fit="crop")
    apart = (shown(transform, transform.pixels(rgb)) - shown(transform, wanted)).abs()
    assert apart.max() < 2.01
    assert (apart > 1.01).float().mean() < 1e-3
    assert (apart > 0.01).float().mean() < 0.02


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_stretch_is_pillows_resize(resample: str) -> None:
    """Both go along rows first here; where columns first is cheaper Pillow 13 does that, and clips
    a noise picture's overshoot between the passes differently (up to 16/255)."""
    rgb = noise(50, 90)
    transform = Transform(size=64, fit="stretch", resample=resample)  # type: ignore[arg-type]
    kernel = Image.Resampling[resample.upper()]
    wanted = torch.from_numpy(np.array(Image.fromarray(rgb).resize((64, 64), kernel))).float()
    apart = (shown(transform, transform.pixels(rgb)) - wanted).abs()
    assert apart.max() < 2.01 and (apart > 0.01).float().mean() < 0.02


def test_pad_shows_the_whole_picture_in_the_middle() -> None:
    transform = Transform(size=64, fit="pad", background=(1, 2, 3))
    wide = shown(transform, transform.pixels(np.full((10, 40, 3), 200, np.uint8)))
    assert torch.allclose(wide[24:40], torch.tensor(200.0), atol=1e-3)  # 40 x 10 -> 64 x 16
    for border in (wide[:24], wide[40:]):
        assert torch.allclose(border, torch.tensor([1.0, 2.0, 3.0]), atol=1e-3)
    high = shown(transform, transform.pixels(np.full((40, 10, 3), 200, np.uint8)))
    assert torch.equal(high, wide.transpose(0, 1))


def test_default_padding_is_nearly_zero_for_clip() -> None:
    pixels = Transform().pixels(np.full((8, 224, 3), 255, np.uint8))
    assert pixels[..., 0, :].abs().max() < 0.02


def test_pixels_of_one_size_are_only_normalised() -> None:
    rgb = noise(48, 48)
    for fit in FITS:
        transform = Transform(size=48, fit=fit)  # type: ignore[arg-type]
        by_hand = (rgb / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
        np.testing.assert_allclose(
            transform.pixels(rgb)[0, 0].numpy(), by_hand.transpose(2, 0, 1), atol=3e-7 * 8
        )


def test_crop_takes_the_middle() -> None:
    transform = Transform(size=16, fit="crop")
    rgb = np.zeros((16, 48, 3), np.uint8)
    rgb[:, 16:32] = 255
    assert torch.allclose(shown(transform, transform.pixels(rgb)), torch.tensor(255.0), atol=1e-3)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (1, 2), (3, 3), (3, 1)])
def test_odd_sizes(fit: str, shape: tuple[int, int]) -> None:
    transform = Transform(size=32, fit=fit)  # type: ignore[arg-type]
    rgb = np.full((*shape, 3), (10, 100, 200), np.uint8)
    pixels = transform.pixels(rgb)
    assert (
        pixels.shape == (1, 1, 3, 32, 32)
        and pixels.dtype == torch.float32
        and pixels.is_contiguous()
    )
    middle = shown(transform, pixels)[15, 15]
    assert torch.allclose(middle, torch.tensor([10.0, 100.0, 200.0]), atol=1e-3)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(FITS), st.integers(1, 40))
def test_any_size_becomes_the_square(height: int, width: int, fit: str, size: int) -> None:
    transform = Transform(size=size, fit=fit)  # type: ignore[arg-type]
    rgb = noise(height, width)
    pixels = transform.pixels(rgb)
    assert pixels.shape == (*transform.grid(width, height), 3, size, size)
    assert torch.equal(pixels, transform.pixels(rgb.copy()))
    assert shown(transform, pixels).min() > -0.01 and shown(transform, pixels).max() < 255.01


def test_memory_layout_does_not_matter_and_the_picture_stays() -> None:
    rgb = noise(30, 20)
    kept = rgb.copy()
    rgb.flags.writeable = False
    transform = Transform(size=16)
    wanted = transform.pixels(rgb)
    assert torch.equal(transform.pixels(np.asfortranarray(rgb)), wanted)
    assert torch.equal(transform.pixels(rgb[::-1][::-1]), wanted)
    np.testing.assert_array_equal(rgb, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_a_programmers_error(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"need uint8 \[H, W, 3\]"):
        Transform().pixels(wrong)


@pytest.mark.parametrize("fit", FITS)
def test_what_is_saved_is_loaded(fit: str, tmp_path: Path) -> None:
    ours = Transform(
        size=48,
        fit=fit,  # type: ignore[arg-type]
        background=(9, 8, 7),
        resample="bilinear",
        mean=(0.5, 0.25, 0.125),
        std=(0.1, 0.2, 0.3),
    )
    ours.save(tmp_path)
    assert Transform.load(tmp_path) == ours


def test_transformers_reads_what_we_write(tmp_path: Path) -> None:
    Transform(size=32, fit="crop").save(tmp_path)
    theirs = CLIPImageProcessorPil.from_pretrained(tmp_path)
    wanted = theirs(Image.fromarray(mosaic()), return_tensors="np")["pixel_values"][0]
    ours = Transform(size=32, fit="crop").pixels(mosaic())[0, 0]
    assert ours.shape == wanted.shape
    assert (ours - torch.from_numpy(wanted)).abs().max() < 2.01 / 255 / min(CLIP_STD)


def load(folder: Path, **record: object) -> Transform:
    (folder / "preprocessor_config.json").write_text(json.dumps(record))
    return Transform.load(folder)


STATS = {"image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD)}


def test_files_of_transformers_are_read(tmp_path: Path) -> None:
    CLIPImageProcessorPil().save_pretrained(tmp_path)
    assert Transform.load(tmp_path) == Transform(size=224, fit="crop")
    # As in the files of the first CLIP models.
    old = load(
        tmp_path,
        crop_size=336,
        do_center_crop=True,
        do_normalize=True,
        do_resize=True,
        feature_extractor_type="CLIPFeatureExtractor",
        resample=3,
        size=336,
        **STATS,
    )
    assert old == Transform(size=336, fit="crop")
    siglip = load(
        tmp_path,
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        rescale_factor=0.00392156862745098,
        resample=3,
        size={"height": 384, "width": 384},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=None,
    )
    assert siglip == Transform(size=384, fit="stretch", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    plain = load(tmp_path, size={"height": 8, "width": 8}, do_normalize=False)
    assert plain == Transform(size=8, fit="stretch", mean=(0, 0, 0), std=(1, 1, 1))


SQUARE = {"size": {"height": 8, "width": 8}}
CROP = {"size": {"shortest_edge": 8}, "do_center_crop": True, **STATS}


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({**STATS}, "size is None"),
        ({**STATS, "size": "big"}, "size is 'big'"),
        ({**STATS, "size": {"height": 8, "width": 9}}, "does not give one square"),
        ({**STATS, "size": {"shortest_edge": 8}}, "does not give one square"),
        ({**STATS, "size": {"max_pixels": 8}}, "does not give one square"),
        ({**CROP, "crop_size": 7}, "crop_size 7 differs"),
        ({**CROP, "crop_size": {"height": 8, "width": 7}}, "differs"),
        ({**SQUARE}, "image_(mean|std) must be three"),
        ({**SQUARE, "image_mean": [0, 0, 0]}, "image_(mean|std) must be three"),
        ({**SQUARE, "image_mean": [0, 0], "image_std": [1, 1, 1]}, "image_mean must be three"),
        ({**SQUARE, "image_mean": 0.5, "image_std": 0.5}, "image_mean must be three"),
        ({**SQUARE, "image_mean": ["a", 0, 0], "image_std": [1, 1, 1]}, "number"),
        ({**SQUARE, **STATS, "resample": 1}, "resample 1 is neither"),
        ({**SQUARE, **STATS, "do_resize": False}, "must be resized"),
        ({**SQUARE, **STATS, "do_rescale": False}, "must be resized"),
        ({**SQUARE, **STATS, "rescale_factor": 1 / 127.5}, "scaled by 1/255"),
        ({**SQUARE, **STATS, "do_flip_channel_order": True}, "do_flip_channel_order is a step"),
        ({**STATS, "size": {"longest_edge": 8}, "pad_size": {"height": 9, "width": 9}}, "pad_size"),
    ],
)
def test_what_we_would_compute_differently_is_refused(
    record: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        load(tmp_path, **record)
    assert "preprocessor_config.json" in str(caught.value)


def test_bad_files_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Transform.load(tmp_path)
    for text, says in (("{", "not valid JSON"), ("[]", "one JSON record")):
        (tmp_path / "preprocessor_config.json").write_text(text)
        with pytest.raises(UserError, match=says):
            Transform.load(tmp_path)
