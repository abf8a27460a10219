"""Real pictures with transparent grounds, and what they show, for scenes to be composed of.

(name, PNG bytes) ─► decoded twice in the limited child, on black and on white ─► RGBA
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from chiasm.base.errors import UserError
from chiasm.data.render.things import Look
from chiasm.inputs.media import ImageDecoder, MediaError

LARGEST = 160
"""Pixels of a cut-out's longer side: scenes show none larger."""
FEWEST = 6
"""Names that a scene of cut-outs needs."""
LONGEST = 40
"""Characters of a name; longer ones are sentences, not names."""


class Cutouts:
    """Cut-outs by name; empty when too few are given for a scene."""

    def __init__(self, given: Sequence[tuple[str, bytes]]) -> None:
        self._by_name: dict[str, list[bytes]] = {}
        for name, data in given:
            self._by_name.setdefault(name, []).append(data)
        self._names = list(self._by_name)

    def __bool__(self) -> bool:
        return len(self._names) >= FEWEST

    def looks(self, random: Random, count: int) -> list[Look]:
        """Return so many different cut-outs, none of whose names is part of another's."""
        chosen: list[str] = []
        for name in random.sample(self._names, len(self._names)):
            if not any(name in other or other in name for other in chosen):
                chosen.append(name)
            if len(chosen) == count:
                return [Look(name) for name in chosen]
        raise UserError(
            f"{len(self._names)} cut-outs are too few for a scene: give at least {count} whose names "
            "are not part of each other."
        )

    def picture(self, name: str, random: Random) -> Image.Image:
        """Return one of the pictures of a name, RGBA."""
        return decoded(random.choice(self._by_name[name]))


@lru_cache(maxsize=1)
def _decoders() -> tuple[ImageDecoder, ImageDecoder]:
    return ImageDecoder(background=(0, 0, 0)), ImageDecoder(background=(255, 255, 255))


@lru_cache(maxsize=4096)
def decoded(data: bytes) -> Image.Image:
    """Return a cut-out as RGBA of at most LARGEST pixels a side; raises MediaError.

    What shows through on white and on black tells how transparent each pixel is.
    """
    black, white = (decoder.decode(data, "A cut-out").astype(np.int16) for decoder in _decoders())
    alpha = 255 - (white - black).mean(-1, keepdims=True)
    colour = np.where(alpha > 0, black * 255.0 / np.maximum(alpha, 1), 0)
    pixels = np.concatenate([colour, alpha], -1).clip(0, 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels, "RGBA")
    picture = picture.crop(picture.getchannel("A").getbbox())
    picture.thumbnail((LARGEST, LARGEST))
    return picture


def read_cutouts(folder: Path, say: Callable[[str], object] = print) -> list[tuple[str, bytes]]:
    """Return the cut-outs of a folder: PNG, WebP and GIF files named by what they show ("red-apple.png").

    What cannot be decoded, is opaque or has a long name is left out and counted. Raises UserError
    when too few are left.
    """
    found, left_out = [], 0
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() not in (".png", ".webp", ".gif"):
            continue
        name = path.stem.replace("_", " ").replace("-", " ").strip().lower()
        data = path.read_bytes()
        try:
            clear = np.asarray(decoded(data).getchannel("A")).mean() < 250
        except (MediaError, ValueError):
            clear = False
        if clear and 0 < len(name) <= LONGEST:
            found.append((name, data))
        else:
            left_out += 1
    if left_out:
        say(
            f"{folder}: left out {left_out} pictures that are damaged, opaque or have no short name."
        )
    if not Cutouts(found):
        raise UserError(
            f"{folder} holds {len(found)} usable cut-outs, but scenes need {FEWEST}: give a folder of PNG "
            "files with a transparent ground, named by what they show."
        )
    return found
