"""Row 23: 16-bit pictures turn white: `convert("RGB")` cuts every value at 255, so that 99.6 % of a
16-bit ramp saturates (measured in our reliability report, M-6; LMCache#3301 and #4783 are kin).
"""

import numpy as np
from tests.inputs.toys import GREY, png

from chiasm.inputs import ImageDecoder

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def test_a_16_bit_ramp_stays_a_ramp() -> None:
    with ImageDecoder() as decoder:
        seen = decoder.decode(png(RAMP, 16, GREY))
    assert abs(float(seen.mean()) - 127.5) < 0.01  # 254.5 with the bug
    assert np.bincount(seen[..., 0].reshape(-1), minlength=256).min() >= 128
    np.testing.assert_array_equal(seen[..., 1], np.round(RAMP / 257))
