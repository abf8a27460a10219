"""Row 42: a 1 x 1 picture kills the engine, because code guesses from a shape which axis holds the
colours: CVE-2026-22773 (vLLM).
"""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inputs.toys import saved

from chiasm.inputs import ImageDecoder, Transform

COLOUR = (250, 130, 10)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_the_smallest_pictures_keep_their_colours(fit: str) -> None:
    """Every size whose axes could be mistaken for three (or four, or one) channels."""
    transform = Transform(size=8, fit=fit, background=COLOUR)
    wanted = (torch.tensor(COLOUR) / 255 - torch.tensor(transform.mean)) / torch.tensor(
        transform.std
    )
    with ImageDecoder() as decoder:
        for width in (1, 2, 3, 4):
            for height in (1, 2, 3, 4):
                seen = decoder.decode(saved(Image.new("RGB", (width, height), COLOUR), "PNG"))
                assert seen.shape == (height, width, 3)
                pixels = transform.pixels(seen)
                assert pixels.shape == (1, 1, 3, 8, 8)
                np.testing.assert_allclose(
                    pixels[0, 0].numpy(), wanted[:, None, None].expand(3, 8, 8).numpy(), atol=1e-5
                )
