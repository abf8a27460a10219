"""Row 31: a video that was cut off in the middle counts as a shorter one: decord#83 (OpenCV skips what it
cannot read), MotionBench#3 (182 frames missing).
"""

import pytest
from tests.inputs.toys import film, numbered

from chiasm.inputs import ImageDecoder, MediaError

KINDS = [("mp4", {"mux_movflags": "faststart"}), ("matroska", {}), ("avi", {})]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_film_that_lacks_its_end_is_refused(kind: str, options: dict[str, str]) -> None:
    whole = film(map(numbered, range(30)), kind, **options)
    with ImageDecoder() as decoder:
        assert len(decoder.durations(whole)) == 30
        for percent in (50, 70, 90):
            with pytest.raises(MediaError) as caught:
                decoder.durations(whole[: len(whole) * percent // 100])
            assert caught.value.reason == "broken"
