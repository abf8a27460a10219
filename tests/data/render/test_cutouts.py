"""Cut-outs: decoded in the limited child, equal to what Pillow itself reads."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
from PIL import Image

from chiasm.base.errors import UserError
from chiasm.data.render.cutouts import FEWEST, Cutouts, decoded
from chiasm.inputs.media import MediaError


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def test_colour_and_transparency_are_found_again() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    pixels[:3, :, 3] = 0  # a clear margin is cut off
    found = np.asarray(decoded(png(pixels)))
    wanted = pixels[3:]
    assert found.shape == wanted.shape
    assert np.abs(found[..., 3].astype(int) - wanted[..., 3]).max() <= 1
    solid = wanted[..., 3] > 60  # what is nearly clear has no colour to speak of
    assert np.abs(found[..., :3].astype(int) - wanted[..., :3])[solid].max() <= 6


def test_a_damaged_one_is_a_media_error() -> None:
    with pytest.raises(MediaError):
        decoded(b"\x89PNG\r\n")


def test_names_that_hold_each_other_are_not_shown_together() -> None:
    data = png(np.full((9, 9, 4), 200, np.uint8))
    names = ["cat", "black cat", "dog", "hot dog", "owl", "cow", "hen", "pig"]
    art = Cutouts([(name, data) for name in names])
    assert art and not Cutouts([(name, data) for name in names[: FEWEST - 1]])
    for i in range(50):
        chosen = [look.name for look in art.looks(Random(i), 5)]
        assert not any(a != b and a in b for a in chosen for b in chosen)
    with pytest.raises(UserError, match="too few"):
        art.looks(Random(0), 7)
