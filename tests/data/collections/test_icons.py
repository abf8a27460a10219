"""Icons: their names are their captions."""

from __future__ import annotations

from pathlib import Path

from tests.data.collections.toys import SQUARE, pixels, put

from chiasm.data.collections.icons import game_icons, lucide


def test_lucide(tmp_path: Path) -> None:
    files = {"package/icons/cable-car.svg": SQUARE, "package/icons/untold.svg": SQUARE}
    home = put(tmp_path, {"package/tags.json": {"cable-car": ["ski lift", "alpine"]}, **files})
    source = lucide("lucide", {"lucide-static": home})
    assert len(source) == 1
    pair = source[0]
    assert (pair.key, pair.caption, pair.licence) == ("lucide/cable-car", "cable car", "ISC")
    assert pair.notes["keywords"] == "ski lift, alpine"


def test_game_icons(tmp_path: Path) -> None:
    body = '<path fill="currentColor" d="M0 0h256v512H0z"/>'
    told = {"icons": {"half-black": {"body": body}}, "width": 512, "height": 512}
    home = put(tmp_path, {"package/icons.json": told})
    pair = game_icons("game-icons", {"@iconify-json/game-icons": home})[0]
    assert (pair.caption, pair.notes["concept"]) == ("half black", "words:half black")
    image = pixels(pair.shown.data)  # type: ignore[union-attr]
    assert image.getpixel((10, 10)) == (0, 0, 0, 255) and image.getpixel((200, 10))[3] == 0  # type: ignore[index]
