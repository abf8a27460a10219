"""Row 30: another sample stands in for a damaged one. Here the damage decodes: nearly half of the JPEGs with
one bit flipped do, into other pixels, and only a checksum tells them from what was written.
"""

import random

import pytest
from PIL import Image
from tests.inputs.toys import mosaic, saved

from chiasm.inputs import MediaError, Picture, verified


def test_a_flipped_bit_is_not_learned_from() -> None:
    written = Picture(data=saved(Image.fromarray(mosaic()), "JPEG"))
    assert verified(written, written.key).read() == written.read()
    chance = random.Random(30)
    for _ in range(100):
        data = bytearray(written.read())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with pytest.raises(MediaError) as caught:
            verified(Picture(data=bytes(data)), written.key)
        assert caught.value.reason == "changed"
