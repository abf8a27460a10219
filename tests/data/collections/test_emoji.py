"""Emoji sets: one concept has one name in all of them, skins are left out, words come along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.collections.toys import SQUARE, pixels, png, put

from chiasm.base.errors import UserError
from chiasm.data.collections.emoji import code, datasource, fluent, openmoji


def label(hexcode: str, text: str, tags: list[str], **more: Any) -> dict[str, Any]:
    return {"hexcode": hexcode, "label": text, "tags": tags, "order": 1, **more}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    letter = {"hexcode": "1F1E6", "label": "regional indicator A"}  # has no order
    return put(
        tmp_path / "labels",
        {
            "package/en/data.json": [
                label("0023-FE0F-20E3", "keycap: #", ["keycap"]),
                label("1F44B", "waving hand", ["hello", "wave"]),
                letter,
            ],
            "package/en/compact.json": [{"hexcode": "1F44B", "label": "waving hand"}],
            "package/de/compact.json": [{"hexcode": "1F44B", "label": "winkende Hand"}],
            "package/fr/compact.json": [{"hexcode": "1F44B", "label": "signe de la main"}],
        },
    )


def test_codes_of_all_sets_are_the_same() -> None:
    spelt = ("0023-fe0f-20e3", "23-20E3", "0023-20E3", "0023_FE0F_20E3")
    assert {code(each) for each in spelt} == {"0023-20E3"}
    assert code("1f1e9-1f1ea") == "1F1E9-1F1EA"


def test_openmoji(tmp_path: Path, labels: Path) -> None:
    row = {"hexcode": "1F44B", "annotation": "waving hand", "tags": "hello, wave", "skintone": ""}
    row |= {"openmoji_tags": "wave, hi", "openmoji_author": "Emily"}
    own = {**row, "hexcode": "E000", "annotation": "goldfish", "tags": "", "openmoji_tags": ""}
    rows = [row, {**row, "hexcode": "1F44B-1F3FB", "skintone": "1"}, own]
    drawn = {f"package/color/svg/{each}.svg": SQUARE for each in ("1F44B", "E000")}
    home = put(tmp_path / "openmoji", {"package/data/openmoji.json": rows, **drawn})
    source = openmoji("openmoji", {"openmoji": home, "emojibase-data": labels})
    assert [source[i].caption for i in range(len(source))] == ["waving hand", "goldfish"]
    pair = source[0]
    assert (pair.key, pair.source, pair.licence) == ("openmoji/1F44B", "openmoji", "CC-BY-SA-4.0")
    assert pair.notes["concept"] == "emoji:1F44B" and pair.notes["author"] == "Emily"
    assert pair.notes["keywords"] == "hello, wave, hi"
    told = {"de": "winkende Hand", "fr": "signe de la main"}
    assert json.loads(pair.notes["translations"]) == told
    image = pixels(pair.shown.data)  # type: ignore[union-attr]
    assert max(image.size) == 256 and image.getpixel((128, 128)) == (255, 0, 0, 255)
    assert source[0] == pair  # the same one every time


def test_a_file_under_two_names_is_one_emoji(tmp_path: Path, labels: Path) -> None:
    names = ("0023-fe0f-20e3", "23-20e3", "1f44b", "1f44b-1f3fb", "1f1e6", "1f999")
    home = put(tmp_path / "f", {f"package/assets/{name}.webp": png() for name in names})
    source = fluent("fluent", {"@lobehub/fluent-emoji-3d": home, "emojibase-data": labels})
    assert [source[i].key for i in range(len(source))] == ["fluent/1F44B", "fluent/0023-20E3"]
    assert source[1].shown.path == str(home / "package/assets/23-20e3.webp")  # type: ignore[union-attr]
    assert source[0].shown.read() == png()  # type: ignore[union-attr]


def test_two_makers_share_their_concepts(tmp_path: Path, labels: Path) -> None:
    rows = [
        {"unified": "1F44B", "image": "1f44b.png", "has_img_google": True, "has_img_twitter": True},
        {
            "unified": "0023-FE0F-20E3",
            "image": "0023-fe0f-20e3.png",
            "has_img_google": True,
            "has_img_twitter": False,
        },
    ]
    concepts = {}
    for style in ("google", "twitter"):
        home = put(tmp_path / style, {"package/emoji.json": rows})
        folders = {f"emoji-datasource-{style}": home, "emojibase-data": labels}
        source = datasource(style, folders, style, "CC-BY-4.0")
        concepts[style] = {source[i].notes["concept"] for i in range(len(source))}
    assert concepts == {
        "google": {"emoji:1F44B", "emoji:0023-20E3"},
        "twitter": {"emoji:1F44B"},
    }


def test_a_damaged_package_is_told(tmp_path: Path, labels: Path) -> None:
    home = put(tmp_path / "openmoji", {"package/data/openmoji.json": "[{"})
    with pytest.raises(UserError, match=r"openmoji\.json cannot be read .*pull it again"):
        openmoji("openmoji", {"openmoji": home, "emojibase-data": labels})
    home = put(tmp_path / "empty", {"package/assets/readme.txt": ""})
    with pytest.raises(UserError, match="none of its pictures"):
        fluent("f", {"@lobehub/fluent-emoji-3d": home, "emojibase-data": labels})
