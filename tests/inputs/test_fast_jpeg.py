"""JPEGs by TurboJPEG are JPEGs by Pillow, byte for byte, and nothing else comes out of it.

The child without simplejpeg is the same child with a folder in front of its path in which simplejpeg
cannot be imported: what a user has who did not install the extra.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from PIL import Image
from tests.inputs.toys import saved

from chiasm.inputs import ImageDecoder, MediaError
from chiasm.inputs.decoding import _plain_jpeg


@pytest.fixture(scope="module")
def fast() -> Iterator[ImageDecoder]:
    with ImageDecoder() as shared:
        yield shared


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageDecoder]:
    folder = tmp_path_factory.mktemp("without")
    (folder / "simplejpeg.py").write_text("raise ImportError\n")
    with pytest.MonkeyPatch.context() as patch, ImageDecoder() as shared:
        patch.setenv("PYTHONPATH", str(folder))
        shared.decode(saved(Image.new("RGB", (8, 8)), "JPEG"))
        yield shared


def photograph(height: int, width: int, seed: int) -> Image.Image:
    """Noise with the spectrum of photographs (1 / f), in colour."""
    noise = np.fft.rfft2(np.random.default_rng(seed).standard_normal((3, height, width)))
    across, down = np.fft.rfftfreq(width)[None], np.fft.fftfreq(height)[:, None]
    waves = noise / np.maximum(np.hypot(across, down), 1 / max(height, width))
    values = np.fft.irfft2(waves, (height, width))
    values = 120 + 45 * values / max(values.std(), 1e-9)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


@cache
def jpegs() -> dict[str, bytes]:
    made = {}
    sizes = ((1, 1), (7, 5), (16, 16), (33, 47), (120, 161))
    for (height, width), subsampling, progressive in itertools.product(
        sizes, (0, 1, 2), (False, True)
    ):
        picture = photograph(height, width, height)
        name = f"{height}x{width}/{subsampling}/{progressive}"
        made[name] = saved(picture, "JPEG", subsampling=subsampling, progressive=progressive)
    whole = photograph(61, 83, 1)
    for quality in range(1, 101):
        made[f"quality {quality}"] = saved(whole, "JPEG", quality=quality)
    for rows in (1, 3):
        made[f"restarts {rows}"] = saved(whole, "JPEG", restart_marker_rows=rows)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made[f"turned {orientation}"] = saved(whole, "JPEG", exif=exif)
        made[f"grey {orientation}"] = saved(whole.convert("L"), "JPEG", exif=exif, quality=60)
    made["rgb"] = saved(whole, "JPEG", keep_rgb=True)
    made["cmyk"] = saved(whole.convert("CMYK"), "JPEG")
    made["two"] = saved(whole, "MPO", save_all=True, append_images=[whole.rotate(180)])
    made["behind"] = made["rgb"] + b"what stands behind a picture"
    return made


def test_pixels_are_those_of_pillow(fast: ImageDecoder, plain: ImageDecoder) -> None:
    assert len(jpegs()) > 150
    for name, data in jpegs().items():
        np.testing.assert_array_equal(fast.decode(data, name), plain.decode(data, name), name)


def test_the_fast_way_is_the_way_that_is_taken() -> None:
    taken = {
        name: _plain_jpeg(Image.open(io.BytesIO(data)), data) is not None
        for name, data in jpegs().items()
    }
    assert {name for name, fast in taken.items() if not fast} == {"cmyk", "two"}


def test_damage_has_the_same_outcome_with_and_without(
    fast: ImageDecoder, plain: ImageDecoder
) -> None:
    """The extra is for speed: it refuses nothing that Pillow takes, and takes nothing that it refuses."""

    def outcome(decoder: ImageDecoder, data: bytes) -> object:
        try:
            return decoder.decode(data).tobytes()
        except MediaError as error:
            return error.reason

    refused = 0
    for name in ("33x47/2/False", "33x47/0/True", "grey 6", "restarts 1", "quality 30"):
        data, chance = jpegs()[name], random.Random(name)
        cuts = [data[: len(data) * percent // 100] for percent in range(1, 100, 3)]
        flips = []
        for _ in range(40):
            flips.append(bytearray(data))
            flips[-1][chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        for mutant in (*cuts, *map(bytes, flips)):
            seen = outcome(fast, mutant)
            assert seen == outcome(plain, mutant)
            refused += isinstance(seen, str)
        assert all(isinstance(outcome(fast, cut), str) for cut in cuts[:-1])
    assert refused > 150


# ── several workers ──────────────────────────────────────────────────────────────────────────────


def test_several_workers_share_the_work_and_keep_the_order() -> None:
    files = [saved(photograph(40, 40, seed), "JPEG") for seed in range(30)]
    with ImageDecoder() as one, ImageDecoder(workers=3) as three, ThreadPoolExecutor(6) as pool:
        wanted = [one.decode(data) for data in files]
        for _ in range(3):
            for seen, pixels in zip(pool.map(three.decode, files), wanted, strict=True):
                np.testing.assert_array_equal(seen, pixels)
        (lanes,) = three._lanes.values()
        assert len({lane.worker.pid for lane in lanes.all if lane.worker is not None}) > 1
    assert not any(lane.worker for lane in lanes.all)


def test_no_worker_starts_that_is_not_needed() -> None:
    with ImageDecoder(workers=4) as decoder:
        for _ in range(5):
            decoder.decode(jpegs()["rgb"])
        (lanes,) = decoder._lanes.values()
        assert sum(lane.worker is not None for lane in lanes.all) == 1
    with pytest.raises(ValueError, match="at least one worker"):
        ImageDecoder(workers=0)


def test_a_worker_that_died_is_replaced_and_the_others_stay() -> None:
    with ImageDecoder(workers=2) as decoder:
        start = threading.Barrier(2)

        def decode() -> None:
            start.wait()
            for _ in range(20):
                decoder.decode(jpegs()["rgb"])

        threads = [threading.Thread(target=decode) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (lanes,) = decoder._lanes.values()
        workers = [lane.worker for lane in lanes.all if lane.worker is not None]
        os.kill(workers[0].pid, signal.SIGKILL)
        while workers[0].alive():
            time.sleep(0.01)
        for _ in range(4):
            assert decoder.decode(jpegs()["rgb"]).shape == (61, 83, 3)
        assert all(worker.alive() for worker in workers[1:])
