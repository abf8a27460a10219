"""Row 23: a photograph lies on its side, because its EXIF orientation is ignored: llama.cpp#20870,
ollama#18418, mistral-common#330, sglang-omni#2113, mflux#495.
"""

import numpy as np
import pytest
from PIL import Image
from tests.inputs.toys import mosaic, saved

from chiasm.inputs import ImageDecoder

# How the camera was held, as a turn of the upright picture (EXIF 2.32, tag 0x0112).
HELD = {3: 2, 6: 1, 8: -1}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photograph_stands_upright(format: str) -> None:
    with ImageDecoder() as decoder:
        for orientation, turns in HELD.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            stored = Image.fromarray(np.ascontiguousarray(np.rot90(mosaic(), turns)))
            options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0}
            seen = decoder.decode(saved(stored, format, exif=exif, **options))
            assert seen.shape == mosaic().shape
            assert np.abs(seen.astype(int) - mosaic()).max() <= 3
