"""Odd but valid pictures, each as an independent decoder sees it.

    file ──▶ ours ──────────────────────────────┐
      └────▶ OpenCV: stored samples ──▶ numpy ──┴─▶ no pixel differs by more than 2 / 255
                                        16 bits to 8, alpha on white, upright

OpenCV gives the samples as they are stored (IMREAD_UNCHANGED); what becomes of them stands here. Where
OpenCV and a format's definition part, `unlike` says how, and the definition decides.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.inputs.toys import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, png, saved

from chiasm.inputs import ImageDecoder

Array = NDArray[Any]
HEIGHT, WIDTH = 37, 53


@dataclass(frozen=True)
class Golden:
    """A file, how it is stored, and what OpenCV does not know about it."""

    data: bytes
    orientation: int = 1
    unlike: str = ""
    wanted: Callable[[], Array] | None = None
    """The pixels by the format's definition, where OpenCV differs."""


def scene(height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth colours with an edge, no two quarters alike; alpha from clear to opaque."""
    y, x = np.mgrid[:height, :width] / max(1, max(height, width) - 1)
    planes = [255 * x, 255 * y, 255 * (1 - x) * (1 - y) + 60 * (x > y), 255 * (x + y) / 2]
    return np.stack(planes[:channels], -1).clip(0, 255).astype(np.uint8)


def smooth(**options: Any) -> bytes:
    return saved(Image.fromarray(scene()), options.pop("format", "JPEG"), **options)


# ── PNG: every colour type and depth, with and without a clear colour, interlaced or not ──────────


def png_files() -> Iterator[tuple[str, Golden]]:
    chance = np.random.default_rng(0)
    kinds = [(GREY, d) for d in (1, 2, 4, 8, 16)] + [(PALETTE, d) for d in (1, 2, 4, 8)]
    kinds += [(colour, depth) for colour in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)]
    names = {GREY: "grey", PALETTE: "palette", RGB: "rgb", GREY_ALPHA: "grey_alpha", RGBA: "rgba"}
    for (colour, depth), clear in itertools.product(kinds, (False, True)):
        if clear and colour in (GREY_ALPHA, RGBA):
            continue
        channels = {RGB: 3, GREY_ALPHA: 2, RGBA: 4}.get(colour, 1)
        samples = chance.integers(0, 2**depth, (HEIGHT, WIDTH, channels))
        before, unlike, wanted = [], "", None
        if colour == PALETTE:
            table = chance.integers(0, 256, (2**depth, 3))
            before.append(chunk(b"PLTE", table.astype(np.uint8).tobytes()))
            if clear:
                alpha = chance.integers(0, 256, 2**depth)
                before.append(chunk(b"tRNS", alpha.astype(np.uint8).tobytes()))
        elif clear:
            hole = samples[5, 5] = samples[5, 5] // 2
            samples[:12, :20] = hole
            before.append(chunk(b"tRNS", struct.pack(f">{channels}H", *map(int, hole))))
            if colour == GREY:
                unlike = "OpenCV leaves the clear colour of a grey picture as it is"
                wanted = cache(lambda s=samples, h=hole, d=depth: cut_out(s, h, d))
        for interlaced in (False, True):
            name = f"{names[colour]}_{depth}{'_clear' * clear}{'_interlaced' * interlaced}.png"
            data = png(samples, depth, colour, before=before, interlaced=interlaced)
            yield name, Golden(data, unlike=unlike, wanted=wanted)


def cut_out(samples: Array, hole: Array, depth: int) -> Array:
    """W3C PNG, 11.3.1.1: pixels whose samples all equal the hole's are clear, the rest are opaque."""
    eight = np.round(samples * (255 / (2**depth - 1))).repeat(3 // samples.shape[2], 2)
    return np.where((samples == hole).all(-1, keepdims=True), 255, eight)


# ── JPEG ─────────────────────────────────────────────────────────────────────────────────────────


def jpeg_files() -> Iterator[tuple[str, Golden]]:
    for subsampling, progressive in itertools.product((0, 1, 2), (False, True)):
        name = f"{['444', '422', '420'][subsampling]}{'_progressive' * progressive}.jpg"
        yield name, Golden(smooth(quality=90, subsampling=subsampling, progressive=progressive))
    for quality in (1, 30, 100):
        yield f"quality_{quality}.jpg", Golden(smooth(quality=quality))
    yield "restarts.jpg", Golden(smooth(quality=80, restart_marker_blocks=2))
    yield "adobe_rgb.jpg", Golden(smooth(quality=95, keep_rgb=True))
    yield "grey.jpg", Golden(saved(Image.fromarray(scene()).convert("L"), "JPEG"))
    yield "comment.jpg", Golden(smooth(comment=b"x" * 60_000))
    profile = b"\0\0\2\x0clcms" + bytes(520)
    yield "profile.jpg", Golden(smooth(icc_profile=profile))
    yield "profile.png", Golden(smooth(format="PNG", icc_profile=profile))
    second = Image.fromarray(scene()[::-1])
    yield "two.mpo", Golden(smooth(format="MPO", save_all=True, append_images=[second]))
    yield "wide.jpg", Golden(saved(Image.fromarray(scene(8, 65_500)), "JPEG"))
    yield "tall.jpg", Golden(saved(Image.fromarray(scene(65_500, 8)), "JPEG"))
    inks = Image.fromarray(scene(channels=4) // 2, "CMYK")
    yield "cmyk.jpg", Golden(saved(inks, "JPEG", quality=98))
    ycck = bytearray(saved(inks, "JPEG", quality=98))
    ycck[ycck.index(b"Adobe") + 11] = 2
    yield "ycck.jpg", Golden(bytes(ycck))


# ── upright, small, thin, moving ─────────────────────────────────────────────────────────────────


def other_files() -> Iterator[tuple[str, Golden]]:
    for format, orientation in itertools.product(("JPEG", "PNG", "WEBP"), range(1, 9)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = smooth(format=format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
        yield f"turned_{orientation}.{format.lower()}", Golden(data, orientation)
    for format, size in itertools.product(
        ("JPEG", "PNG", "WEBP", "GIF", "BMP"), ((1, 1), (1, 10_000), (10_000, 1), (2, 3))
    ):
        image = Image.fromarray(scene(*size))
        yield f"{size[0]}x{size[1]}.{format.lower()}", Golden(saved(image, format))
    first, others = Image.fromarray(scene()), [Image.new("RGB", (WIDTH, HEIGHT), "red")] * 2
    for format in ("GIF", "WEBP", "PNG"):
        data = saved(first, format, save_all=True, append_images=others, duration=50)
        yield f"moving.{format.lower()}", Golden(data)
    alpha = Image.fromarray(scene(channels=4), "RGBA")
    yield "alpha.webp", Golden(saved(alpha, "WEBP", quality=90))
    yield "alpha_lossless.webp", Golden(saved(alpha, "WEBP", lossless=True, exact=True))
    indexed = first.quantize(16)
    yield "interlaced.gif", Golden(saved(indexed, "GIF", interlace=1))
    hole = int(np.asarray(indexed)[3, 3])
    yield "clear.gif", Golden(saved(indexed, "GIF", transparency=hole))
    for mode in ("1", "L", "P", "RGB"):
        yield f"{mode}.bmp", Golden(saved(first.convert(mode), "BMP"))


@cache
def files() -> dict[str, Golden]:
    return dict(itertools.chain(png_files(), jpeg_files(), other_files()))


# ── the independent way ──────────────────────────────────────────────────────────────────────────


def by_opencv(data: bytes) -> Array:
    """Stored samples to RGB on white: OpenCV for the format, numpy for the rest."""
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen is not None
    samples = seen.reshape(*seen.shape[:2], -1).astype(float) / (
        257 if seen.dtype == np.uint16 else 1
    )
    if samples.shape[2] == 1:
        return samples.repeat(3, 2)
    if samples.shape[2] == 3:
        return samples[..., ::-1]
    cover = samples[..., 3:] / 255
    return samples[..., 2::-1] * cover + 255 * (1 - cover)


TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""EXIF 2.32, tag 0x0112: how the stored picture is made upright."""


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder() as shared:
        yield shared


@pytest.mark.parametrize("name", files())
def test_a_picture_is_what_an_independent_decoder_sees(decoder: ImageDecoder, name: str) -> None:
    case = files()[name]
    seen = decoder.decode(case.data, name)
    other = TURNS[case.orientation](by_opencv(case.data))
    wanted = other if case.wanted is None else case.wanted()
    assert seen.shape == wanted.shape and decoder.size(case.data) == seen.shape[1::-1]
    assert np.abs(seen - wanted).max() <= 2
    assert bool(case.unlike) == (np.abs(other - wanted).mean() > 2)


def test_the_set_is_as_large_and_as_odd_as_it_says() -> None:
    assert len(files()) >= 100
    modes = set()
    for case in files().values():
        with Image.open(io.BytesIO(case.data)) as image:
            modes.add((image.format, image.mode))
    assert len(modes) >= 13
