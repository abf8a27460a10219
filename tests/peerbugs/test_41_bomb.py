"""Row 41: a small file unfolds into gigabytes, because its size is looked at when it is decoded already:
vllm#47010, vllm-omni#6963, sglang#28587, CVE-2025-62164.
"""

import struct

import pytest
from tests.inputs.toys import RGB, bomb, chunk

from chiasm.inputs import ImageDecoder, MediaError


def test_a_bomb_is_refused_by_its_header() -> None:
    """One of them holds no pixels: only who believes the header can say that there are too many."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, RGB, 0, 0, 0))
    promise = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with ImageDecoder() as decoder:
        for data in (bomb(), promise):
            with pytest.raises(MediaError) as caught:
                decoder.decode(data)
            assert caught.value.reason == "too_many_pixels"
