"""Stamps: a sentence beside a picture, and its translations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.collections.toys import SQUARE, pixels, png, put

from chiasm.data.collections.tuxpaint import tuxpaint
from chiasm.data.rows import BadSample

HOME = "usr/share/tuxpaint/stamps"


def test_stamps(tmp_path: Path) -> None:
    told = "A red dog.\nde.utf8=Ein roter Hund.\nca@valencia.utf8=Un gos.\nfr.utf8=\n\n"
    home = put(
        tmp_path,
        {
            f"{HOME}/animals/dog.txt": told,
            f"{HOME}/animals/dog.png": png("red"),
            f"{HOME}/animals/dog.svg": SQUARE,  # a PNG beside it is what is shown
            f"{HOME}/animals/cat.txt": "A RED  dog!\n",
            f"{HOME}/animals/cat.svg": SQUARE,
            f"{HOME}/animals/dog_mirror.png": png("red"),  # no sentence
            f"{HOME}/lost.txt": "No picture.\n",
            f"{HOME}/mute.txt": "\n",
            f"{HOME}/mute.png": png(),
            f"{HOME}/odd.txt": b"\xff\xfe\n",
            f"{HOME}/odd.png": png(),
        },
    )
    source = tuxpaint("tuxpaint", {"tuxpaint-stamps-default": home})
    assert len(source) == 4
    cat, dog = source[0], source[1]
    assert dog.key == "tuxpaint/animals/dog" and dog.caption == "A red dog."
    assert dog.shown.path == str(home / HOME / "animals/dog.png")  # type: ignore[union-attr]
    assert json.loads(dog.notes["translations"]) == {
        "de": "Ein roter Hund.",
        "ca@valencia": "Un gos.",
    }
    assert dog.notes["concept"] == cat.notes["concept"] == "words:a red dog"
    assert max(pixels(cat.shown.data).size) == 256  # type: ignore[union-attr]
    for number, reason in ((2, "no_text"), (3, "bad_text")):
        with pytest.raises(BadSample) as caught:
            source[number]
        assert caught.value.reason == reason
