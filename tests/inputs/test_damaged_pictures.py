"""Pictures that something happened to: each is decoded or refused for a known reason, and never another's.

    seeds ──┬─ cut at every 1 %                   ──▶ refused, or the very pixels of the whole
            ├─ bits flipped, bytes changed,       ──▶ a reason of media.REASONS, or pixels that are
            │  header lies                            not those of another seed; no crash, no hang
            └─ bombs                              ──▶ refused by the header

Each seed is a picture of its own size class and pattern, so that another one's pixels would be known.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.inputs.toys import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    bomb,
    chunk,
    mosaic,
    png,
    saved,
)

from chiasm.base.worker import Worker
from chiasm.inputs import ImageDecoder, Limits, MediaError, Picture, verified
from chiasm.inputs.media import REASONS

MUTANTS, MUTANTS_IN_SOAK = 30, 300
"""Mutants of each seed, beside its cuts."""


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(Limits(seconds=300), workers=2) as shared:
        yield shared


def coded(number: int, height: int = 40, width: int = 56) -> Image.Image:
    """A picture that only this number has: blocks of colours drawn by it, with some grain."""
    chance = np.random.default_rng(number)
    blocks = chance.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    grain = chance.integers(-12, 13, (height, width, 3))
    pixels = blocks.repeat(8, 0).repeat(8, 1)[:height, :width] + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def seeds() -> dict[str, bytes]:
    """Forty files of all formats and of most ways to store pixels in them."""
    made: dict[str, bytes] = {}

    def add(name: str, format: str, mode: str = "RGB", **options: object) -> None:
        made[name] = saved(coded(len(made)).convert(mode), format, **options)

    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        add(f"{mode}.png", "PNG", mode)
    for level in (0, 9):
        add(f"level_{level}.png", "PNG", compress_level=level)
    for quality, subsampling in ((95, 0), (80, 1), (60, 2)):
        for progressive in (False, True):
            name = f"{quality}_{progressive}.jpg"
            add(name, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    add("grey.jpg", "JPEG", "L")
    add("cmyk.jpg", "JPEG", "CMYK")
    add("rgb.jpg", "JPEG", keep_rgb=True)
    add("restarts.jpg", "JPEG", restart_marker_blocks=3)
    add("optimised.jpg", "JPEG", optimize=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for format in ("JPEG", "PNG", "WEBP"):
        add(f"turned.{format.lower()}", format, exif=exif)
    for options in ({"quality": 80}, {"lossless": True}, {"quality": 20, "method": 0}):
        add(f"{len(made)}.webp", "WEBP", **options)
    add("alpha.webp", "WEBP", "RGBA", lossless=True)
    for mode in ("L", "P", "RGB"):
        add(f"{mode}.gif", "GIF", mode)
        add(f"{mode}.bmp", "BMP", mode)
    add("1.bmp", "BMP", "1")
    for format in ("GIF", "WEBP", "PNG"):
        frames = [coded(len(made)), coded(1000 + len(made))]
        made[f"moving.{format.lower()}"] = saved(
            frames[0], format, save_all=True, append_images=frames[1:], duration=40
        )
    for colour, depth in ((GREY, 16), (RGB, 16), (GREY_ALPHA, 8), (RGBA, 8), (GREY, 2), (RGB, 8)):
        chance = np.random.default_rng(len(made))
        channels = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}[colour]
        samples = chance.integers(0, 2**depth, (40, 56, channels))
        made[f"{colour}_{depth}.png"] = png(samples, depth, colour, interlaced=depth != 8)
    palette = chunk(b"PLTE", np.random.default_rng(9).bytes(48))
    indexed = np.random.default_rng(8).integers(0, 16, (40, 56))
    made["indexed.png"] = png(indexed, 4, PALETTE, before=[palette])
    return made


@pytest.fixture(scope="module")
def whole(decoder: ImageDecoder) -> dict[str, NDArray[np.uint8]]:
    return {name: decoder.decode(data, name) for name, data in seeds().items()}


def another(pixels: NDArray[np.uint8], name: str, whole: dict[str, NDArray[np.uint8]]) -> str:
    """The other seed whose picture these pixels are, if any."""
    for other, wanted in whole.items():
        alike = other != name and wanted.shape == pixels.shape
        if alike and np.abs(wanted.astype(int) - pixels).mean() < 8:
            return other
    return ""


def test_the_seeds_are_forty_and_differ(whole: dict[str, NDArray[np.uint8]]) -> None:
    assert len(seeds()) >= 40
    assert not [name for name, pixels in whole.items() if another(pixels, name, whole)]


def test_a_file_cut_short_is_never_half_a_picture(
    decoder: ImageDecoder, whole: dict[str, NDArray[np.uint8]]
) -> None:
    """At every 1 % of its length; grey rows where nothing was read would be silent damage."""
    for name, data in seeds().items():
        for percent in range(100):
            try:
                seen = decoder.decode(data[: len(data) * percent // 100], name)
            except MediaError as error:
                assert error.reason in ("broken", "empty", "not_a_picture")
            else:
                np.testing.assert_array_equal(seen, whole[name])  # only the end mark was lost


_LIES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\0\0", b"\0\1\0\1", b"\x40\x1f\x88\x13")


def mutant(data: bytes, chance: random.Random) -> bytes:
    """A copy with one to eight changes, half of them near the start, where the header lies."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(changed) if chance.random() < 0.5 else min(64, len(changed)))
        match chance.randrange(4):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + 4] = chance.choice(_LIES)
            case 2:
                del changed[at : at + chance.randrange(1, 9)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(changed)


def workers_of(decoder: ImageDecoder) -> list[Worker]:
    lanes = decoder._lanes[os.getpid()]
    return [lane.worker for lane in lanes.all if lane.worker is not None]


def most_memory(decoder: ImageDecoder) -> int:
    """The most memory that a worker ever held, in bytes."""
    paths = [Path(f"/proc/{worker.pid}/status") for worker in workers_of(decoder)]
    return max(int(path.read_text().split("VmHWM:")[1].split()[0]) * 1024 for path in paths)


def outcomes(
    decoder: ImageDecoder, whole: dict[str, NDArray[np.uint8]], each: int, first: int
) -> Counter[str]:
    """What became of so many mutants of each seed, decoded by two threads at once."""

    def outcome(task: tuple[str, int]) -> str:
        name, number = task
        data = mutant(seeds()[name], random.Random(f"{name}/{number}"))
        try:
            seen = decoder.decode(data, name)
        except MediaError as error:
            return error.reason
        assert seen.dtype == np.uint8 and seen.ndim == 3 and seen.shape[2] == 3
        assert not another(seen, name, whole)
        return "a picture"

    # Neighbours in this order are of different seeds: a mixed-up answer would be another's picture.
    tasks = [(name, number) for number in range(first, first + each) for name in seeds()]
    with ThreadPoolExecutor(2) as pool:
        return Counter(pool.map(outcome, tasks))


def check(
    decoder: ImageDecoder,
    whole: dict[str, NDArray[np.uint8]],
    each: int,
    first: int,
    most: int = 300_000_000,
) -> None:
    pids, before = [worker.pid for worker in workers_of(decoder)], most_memory(decoder)
    found = outcomes(decoder, whole, each, first)
    assert sum(found.values()) == each * len(seeds())
    assert set(found) <= {"a picture", *REASONS} and found["broken"] and found["a picture"]
    # No mutant needs a worker killed: neither crash nor hang, and the same processes all the time.
    assert not found["decoder_died"] and not found["too_slow"], found
    assert set(pids) <= {worker.pid for worker in workers_of(decoder)}
    assert most_memory(decoder) - before <= most


def test_a_damaged_file_is_a_picture_or_a_reason(
    decoder: ImageDecoder, whole: dict[str, NDArray[np.uint8]]
) -> None:
    check(decoder, whole, MUTANTS, 0)


@pytest.mark.soak
def test_ten_times_as_many(decoder: ImageDecoder, whole: dict[str, NDArray[np.uint8]]) -> None:
    # Among so many, some lie about a size just below the limit of 40 million pixels; with colours that are
    # laid on a background, a true picture of that size takes as much.
    check(decoder, whole, MUTANTS_IN_SOAK, MUTANTS, most=450_000_000)


# ── bombs ────────────────────────────────────────────────────────────────────────────────────────


def bombs() -> dict[str, bytes]:
    """Small files that promise more pixels than the limit, each by its format's header."""
    side = 40_000
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, RGB, 0, 0, 0))
    jpeg = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    progressive = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG", progressive=True))
    for data, mark in ((jpeg, b"\xff\xc0"), (progressive, b"\xff\xc2")):
        at = data.index(mark) + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    bmp = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return {
        "unfolds.png": bomb(),
        "promise.png": b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 99)),
        "promise.jpg": bytes(jpeg),
        "progressive.jpg": bytes(progressive),
        "promise.bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + bmp,
    }


def seconds_of(decoder: ImageDecoder) -> float:
    """Processor time of the workers."""
    paths = [Path(f"/proc/{worker.pid}/schedstat") for worker in workers_of(decoder)]
    return sum(int(path.read_text().split()[0]) for path in paths) / 1e9


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_costs_less_than_a_picture(name: str) -> None:
    """At most 50 ms of processor time and 20 MB."""
    with ImageDecoder() as decoder:
        decoder.decode(png(mosaic(), 8, RGB))
        spent, held = seconds_of(decoder), most_memory(decoder)
        with pytest.raises(MediaError) as caught:
            decoder.decode(bombs()[name], name)
        assert caught.value.reason == "too_many_pixels"
        assert seconds_of(decoder) - spent <= 0.05 and most_memory(decoder) - held <= 20_000_000


# ── what no decoder can see ──────────────────────────────────────────────────────────────────────


def test_a_checksum_catches_every_flip(
    decoder: ImageDecoder, whole: dict[str, NDArray[np.uint8]]
) -> None:
    """1,000 JPEGs with one bit flipped: many decode, into other pixels; the sum of none is right."""
    names = [name for name in seeds() if name.endswith(".jpg")]
    sums = {name: Picture(data=seeds()[name]).key for name in names}
    silent = 0
    for number in range(1000):
        name, chance = names[number % len(names)], random.Random(f"flip/{number}")
        data = bytearray(seeds()[name])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        flipped = Picture(data=bytes(data), path=name)
        with pytest.raises(MediaError) as caught:
            verified(flipped, sums[name])
        assert caught.value.reason == "changed"
        if number % 5 == 0:
            with suppress(MediaError):
                silent += not np.array_equal(decoder.decode(flipped.read()), whole[name])
    assert silent > 40  # of 200: without the sum they would be learned from


def test_what_was_verified_is_what_is_used(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(seeds()["rgb.jpg"])
    picture = Picture(path=str(path))
    held = verified(picture, picture.key.upper())
    path.write_bytes(seeds()["grey.jpg"])
    assert held.read() == seeds()["rgb.jpg"] and held.name == "a.jpg"
    with pytest.raises(MediaError, match=r"^a\.jpg is not what was written here once"):
        verified(Picture(path=str(path)), held.key)
