"""What pictures are drawn from: collections laid out as the real ones are, in a cache of the test's own."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from tests.data.collections.test_maps import division
from tests.data.collections.toys import put
from tests.data.render.toys import stamps, toy_map

from chiasm.base.errors import UserError
from chiasm.data.collections import packages
from chiasm.data.render.chart_data import SEEN_ROWS
from chiasm.data.render.kinds import kind_of, kinds
from chiasm.data.render.runner import Job, draw, row_of
from chiasm.data.render.stock import stocked
from chiasm.data.render.versions import versions


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def disc(tone: int, ground: int = 0) -> bytes:
    out = io.BytesIO()
    picture = Image.new("RGBA", (40, 30), (0, 0, 0, ground))
    ImageDraw.Draw(picture).ellipse([5, 5, 30, 25], fill=(tone, 90, 200, 255))
    picture.save(out, "PNG")
    return out.getvalue()


def stickers() -> None:
    names = ("frog", "cow", "red barn", "sun", "boat", "kite", "lamp")
    files: dict[str, bytes | str] = {}
    for i, name in enumerate(names):
        files[f"{name}.png"], files[f"{name}.txt"] = disc(30 * i), f"A {name}.\nde.utf8=Ding\n"
    files["wall.png"], files["wall.txt"] = disc(9, ground=255), "A wall."
    files["story.png"], files["story.txt"] = disc(8), f"A {'very ' * 9}long story."
    put(packages.TUXPAINT.home / "usr/share/tuxpaint/stamps", files)


def test_cutouts_of_a_collection_and_of_a_folder(cache: Path) -> None:
    stickers()
    heard: list[str] = []
    both = ("data:tuxpaint", str(stamps(cache / "mine")))
    stock = stocked(kind_of("scenes"), both, heard.append)
    names = [name for name, _ in stock.values]
    assert sorted(names[:7]) == ["boat", "cow", "frog", "kite", "lamp", "red barn", "sun"]
    assert len(names) == 15 and "left out 2 of 9" in heard[0]
    assert stock.licence == "GPL-2.0-only" and len(stock.sources) == 2
    assert packages.TUXPAINT.sha256 in stock.sources[0]


def test_licences_are_joined_in_order(cache: Path) -> None:
    stock = stocked(kind_of("scenes"), ())
    assert stock.licence == "" and stock.values is None
    told = {"MIT", "CC-BY-4.0", "GPL-2.0-or-later OR CC-BY-SA-3.0"}
    joined = replace(stock, licences=told).licence
    assert joined == "(GPL-2.0-or-later OR CC-BY-SA-3.0) AND CC-BY-4.0 AND MIT"
    assert replace(stock, licences={"A OR B"}).licence == "A OR B"


def test_maps_are_drawn_from_the_collection_without_being_told(cache: Path) -> None:
    toy = toy_map()
    regions = "".join(division(name, tuple(colour)) for name, colour in toy["regions"])
    told = f"<map><mapFile>toy.png</mapFile><name>Toyland</name>{regions}</map>"
    home = packages.KGEOGRAPHY.home / "usr/share/kgeography"
    put(home, {"toyland.kgm": told, "toy.png": toy["data"]})
    kind = kind_of("maps")
    stock = stocked(kind, ())
    assert stock.values == [toy]
    job = Job(kind, 1, 0, {"maps": stock.values}, stock.licence, sources=tuple(stock.sources))
    assert row_of(draw(job, 0), job, 0).licence == "GPL-2.0-or-later"
    assert packages.KGEOGRAPHY.sha256 in job.made()["sources"][0]


def test_each_table_has_its_own_licence(cache: Path) -> None:
    lines = [f"Port {i},{7 + 3 * (i % 9)}" for i in range(SEEN_ROWS + 50)]
    resources = [{"path": "ports.csv", "licenses": [{"name": "CC-BY-4.0"}]}, {"path": "towns.csv"}]
    table = "\n".join(["port,ships", *lines])
    put(
        packages.VEGA.home / "package",
        {
            "data/ports.csv": table,
            "data/towns.csv": table,
            "datapackage.json": {"resources": resources},
        },
    )
    kind = kind_of("tables")
    stock = stocked(kind, ("data:vega-datasets",))
    assert type(stock.values) is dict and len(stock.values["ports"]) == SEEN_ROWS
    assert stock.by_source == {"ports": "CC-BY-4.0", "towns": "BSD-3-Clause"}
    job = Job(kind, 40, 0, {"tables": stock.values}, licences=stock.by_source)
    seen = set()
    for number in range(40):
        drawn = draw(job, number)
        seen.add((drawn.truth["source"], row_of(drawn, job, number).licence))
    assert seen == {*stock.by_source.items(), ("invented", "CC0-1.0")}
    with pytest.raises(UserError, match="Two of the sources"):
        stocked(kind, ("data:vega-datasets", str(packages.VEGA.home / "package/data/ports.csv")))


def test_nothing_that_can_be_used_is_one_sentence(cache: Path) -> None:
    (cache / "empty").mkdir()
    (cache / "bad.jsonl").write_text("{")
    for name, source, sentence in (
        ("documents", "empty", "holds no texts"),
        ("charts", "empty", "holds no tables"),
        ("documents", "bad.jsonl", "cannot be read as text"),
        ("scenes", "empty", "0 usable cut-outs"),
    ):
        with pytest.raises(UserError, match=sentence):
            stocked(kinds()[name], (str(cache / source),))


def test_another_version_or_source_is_another_job() -> None:
    kind = kind_of("scenes")
    made = Job(kind, 1).made()
    assert {"pillow", "numpy"} <= set(made)
    assert Job(kind, 1, sources=("data:tuxpaint x",)).made() != made


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_tool_of_a_kind_tells_its_version(name: str) -> None:
    try:
        kind = kind_of(name)
    except UserError as missing:
        pytest.skip(str(missing))
    told = versions(kind.tools)
    assert set(told) == {"pillow", *kind.tools}
    assert all(any(letter.isdigit() for letter in version) for version in told.values()), told
