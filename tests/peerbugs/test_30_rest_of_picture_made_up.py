"""Row 30: what could not be read is made up: a picture cut short comes with grey rows, as if whole
(Pillow's LOAD_TRUNCATED_IMAGES).
"""

import pytest
from PIL import Image
from tests.inputs.toys import mosaic, saved

from chiasm.inputs import ImageDecoder, MediaError


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_half_a_picture_is_none(format: str) -> None:
    data = saved(Image.fromarray(mosaic(160, 160)), format)
    with ImageDecoder() as decoder:
        assert decoder.decode(data).shape == (160, 160, 3)
        for percent in (60, 75, 90):
            with pytest.raises(MediaError) as caught:
                decoder.decode(data[: len(data) * percent // 100])
            assert caught.value.reason == "broken"
