"""Clip art: what a drawing is called when its title is its author's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.collections.toys import pixels, put

from chiasm.data.collections.openclipart import openclipart
from chiasm.data.rows import BadSample

HOME = "usr/share/openclipart/svg"


def drawing(
    title: str = "", author: str = "", keywords: tuple[str, ...] = (), licence: str = "PublicDomain"
) -> str:
    items = "".join(f"<rdf:li>{each}</rdf:li>" for each in keywords)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d" xmlns:cc="c" xmlns:rdf="r"'
        ' width="210mm" height="297mm"><metadata><rdf:RDF><cc:Work>'
        f"<dc:title>{title}</dc:title><dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"
        f"<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator>"
        f'<cc:license rdf:resource="http://x/{licence}"/></cc:Work></rdf:RDF></metadata>'
        '<rect x="100" y="900" width="40" height="20"/></svg>'
    )


@pytest.mark.parametrize(
    ("file", "title", "author", "keywords", "caption"),
    [
        ("food/hot_dog", "Hot Dog", "Gerald G.", ("menu", "food", "hot"), "Hot Dog (food, menu)"),
        (
            "animals/bugs/bee",
            "Clipart by Nicu Buculei - bee",
            "Nicu Buculei",
            ("", "insect"),
            "bee (insect)",
        ),
        (
            "geography/map_of_slovenia_in_euro_01",
            "Map of Slovenia (in Europe)",
            "Bojan Ivancic",
            (),
            "Map of Slovenia (in Europe) (geography)",
        ),
        ("x/rubik_s_cube_petri_lumme_01", "Cubes", "Petri Lummemäki", (), "rubik s cube (x)"),
        (
            "x/gelato_all_39_italiana_01",
            "Gelato all&#39;italiana",
            "",
            ("ice",),
            "Gelato all'italiana (ice)",
        ),
        (
            "flags/america/chile",
            "",
            "",
            ("united_nations_member", "america", "flag"),
            "chile (america, flag)",
        ),
        ("people/stickmen/sm_011", "stick man", "N", ("hash", "people"), "people"),
        (
            "roads/turn_left",
            "SVG Road Signs",
            "John Cliff",
            ("", "0x93a", "HASH(0x8)"),
            "turn left (roads)",
        ),
        ("unsorted/fiocco_12", "Various Cliparts", "A", ("unsorted",), "fiocco"),
    ],
)
def test_captions(
    file: str, title: str, author: str, keywords: tuple[str, ...], caption: str, tmp_path: Path
) -> None:
    home = put(tmp_path, {f"{HOME}/{file}.svg": drawing(title, author, keywords)})
    assert openclipart("openclipart", {"openclipart-svg": home})[0].caption == caption


def test_the_empty_page_around_a_drawing_goes(tmp_path: Path) -> None:
    home = put(tmp_path, {f"{HOME}/food/stone.svg": drawing("stone")})
    pair = openclipart("openclipart", {"openclipart-svg": home})[0]
    image = pixels(pair.shown.data)  # type: ignore[union-attr]
    assert 1.7 < image.width / image.height < 2.3  # of a page that is upright
    assert image.getpixel((image.width // 2, image.height // 2)) == (0, 0, 0, 255)
    assert pair.licence == "CC-PDDC" and pair.notes["folder"] == "food"


def test_what_cannot_be_a_pair_has_a_reason(tmp_path: Path) -> None:
    blank = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    files = {
        f"{HOME}/x/a_blank.svg": blank,
        f"{HOME}/x/broken.svg": "<svg",
        f"{HOME}/x/free.svg": drawing("free", licence="GPL/2.0/"),
        f"{HOME}/x/other.svg": drawing("other", licence="by-nc"),
        f"{HOME}/unsorted/01.svg": drawing(),
        f"{HOME}/shapes/stars/star.svg": drawing(),  # a folder that is left out
    }
    source = openclipart("openclipart", {"openclipart-svg": put(tmp_path, files)})
    assert len(source) == 5
    for number, reason in ((0, "no_text"), (1, "bad_drawing"), (2, "bad_drawing")):
        with pytest.raises(BadSample) as caught:
            source[number]
        assert caught.value.reason == reason
    assert [source[i].licence for i in (3, 4)] == ["GPL-2.0-only", "http://x/by-nc"]
