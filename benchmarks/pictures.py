"""Photographs to what an encoder takes (224 x 224, normalised): ours against the usual Pillow way.

Both sides read the same JPEGs from memory and give float32 [3, 224, 224], the whole picture squeezed
into the square, bicubic, and both are held to so many `cores`. Ours goes its whole way: into the limited
child, decoded there, back, resized and normalised in the parent; a child for each core and, where there
are several, one thread more than children, as our loader has them. The peer decodes and resizes with
Pillow in its own process, unprotected, and normalises with numpy, as most loaders do, a thread for each
core.

Among the facts is the largest difference of any pixel from Pillow's, in 1/255, over all pictures.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import _duel
import numpy as np
from PIL import Image

SIDE, PICTURES = 224, 48
REPEATED = 12  # processes that slept take some tenths of a second to be as fast as they can
SIZES = ((480, 640), (640, 480), (426, 640), (768, 1024))
CASES = [{"quality": quality, "cores": cores} for quality in (75, 90) for cores in (1, 2)]
MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)


def photographs(quality: int) -> list[bytes]:
    """JPEGs with the spectrum of photographs (amplitude falls as 1 / f), of the usual sizes."""
    made = []
    for number in range(PICTURES):
        height, width = SIZES[number % len(SIZES)]
        noise = np.fft.rfft2(np.random.default_rng(number).standard_normal((3, height, width)))
        across, down = np.fft.rfftfreq(width)[None], np.fft.fftfreq(height)[:, None]
        # 1.2: between a landscape (1.0) and an indoor scene (1.3); Tolhurst et al. 1992
        waves = noise / np.maximum(np.hypot(across, down), 1 / max(height, width)) ** 1.2
        values = np.fft.irfft2(waves, (height, width))
        values = (120 + 45 * values / values.std()).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(values.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
        made.append(file.getvalue())
    return made


def by_pillow(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def usual(data: bytes) -> np.ndarray:
    """The usual way, to the end."""
    scaled = by_pillow(data).astype(np.float32) / 255
    return np.ascontiguousarray(((scaled - MEAN) / STD).transpose(2, 0, 1))


def eight_bits(tile: np.ndarray) -> np.ndarray:
    """The bytes that were normalised into [3, H, W]."""
    return np.rint((tile.transpose(1, 2, 0) * STD + MEAN) * 255)


def facts(way: Callable[[bytes], np.ndarray], files: list[bytes]) -> dict[str, Any]:
    off = max(float(np.abs(eight_bits(way(data)) - by_pillow(data)).max()) for data in files)
    return {"pictures": len(files), "bytes": sum(map(len, files)), "off Pillow's pixels by": off}


def alone() -> None:
    """A thread that resizes takes no further threads: the others have pictures of their own."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def work(
    way: Callable[[bytes], np.ndarray], case: _duel.Case, threads: int
) -> tuple[Callable[[], None], dict[str, Any]]:
    files = photographs(case["quality"])
    pool = ThreadPoolExecutor(threads, initializer=alone)
    many = files * REPEATED
    return lambda: [None for _ in pool.map(way, many)].clear(), facts(way, files)


def ours(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch

    from chiasm.inputs import ImageDecoder, Transform

    torch.set_num_threads(1)
    hold(case["cores"])
    decoder = ImageDecoder(workers=case["cores"])
    transform = Transform(size=SIDE, fit="stretch")
    threads = case["cores"] + (case["cores"] > 1)
    return work(lambda data: transform.pixels(decoder.decode(data))[0, 0].numpy(), case, threads)


def peer(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    hold(case["cores"])
    return work(usual, case, case["cores"])


def hold(cores: int) -> None:
    """Keep this process, and those that it starts, to so many cores, where the system can."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


if __name__ == "__main__":
    assert __doc__ is not None
    sides = {"ours": ours, "peer": peer}
    sys.exit(_duel.main(__file__, CASES, sides, __doc__.splitlines()[0], bound=False))
