"""Row 31: frames are found by counting at a rate, though 29.97 is not 30 and phones record at no fixed rate
(SlowFast#182): other moments are seen than those that were asked for.
"""

from tests.inputs.toys import film, number_in, numbered

from chiasm.inputs import FrameRule, ImageDecoder


def test_each_second_is_seen_once() -> None:
    """Thirty frames in the first second, then one a second."""
    times = [33 * k for k in range(30)] + [1000 * k for k in range(1, 6)]
    data = film(map(numbered, range(35)), times=times)
    with ImageDecoder() as decoder:
        chosen = FrameRule(by="fps", fps=1).chosen(decoder.durations(data))
        frames = decoder.frames(data, chosen)
    # The last frame's own length is not told, so it may stand for one moment or for more.
    assert [number_in(frame) for frame in frames] == [0, 30, 31, 32, 33, 34]
