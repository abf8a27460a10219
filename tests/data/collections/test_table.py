"""The collections: pulled once, opened by name, told in the documents; the real ones in the soak."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.base.archives import deb_package, npm_package
from tests.cli.toys import call
from tests.data.collections.toys import SQUARE, png

from chiasm.base.errors import UserError
from chiasm.base.fetch import Unavailable, package_folder
from chiasm.base.files import cache_dir
from chiasm.data.collections import COLLECTIONS, collection, listing, pull, table, tables
from chiasm.data.collections.icons import lucide
from chiasm.data.collections.packages import Package
from chiasm.data.collections.table import Collection
from chiasm.data.collections.tuxpaint import tuxpaint
from chiasm.inputs.media import ImageDecoder

DOCS = Path(__file__).parents[3] / "docs"
NPM = npm_package(
    {
        "package/tags.json": b'{"red-square": ["red"]}',
        "package/icons/red-square.svg": SQUARE.encode(),
        "package/readme.txt": b"left out",
    }
)
DEB = deb_package(
    {
        "./usr/share/tuxpaint/stamps/dog.txt": b"A dog.\n",
        "./usr/share/tuxpaint/stamps/dog.png": png(),
    }
)


def toy(kind: Any, name: str, data: bytes) -> Package:
    only = ("package/*.json", "package/*.svg", "usr/*")
    return Package(kind, name, "1.0", hashlib.sha256(data).hexdigest(), len(data), only)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two toy collections, no npm and no apt-get: what is on the shelf is all there is."""
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    stamps = toy("deb", "tuxpaint-stamps-default", DEB)
    icons = toy("npm", "lucide-static", NPM)
    toys = {
        "icons": Collection("toy icons", 1, "ISC", (icons,), lucide),
        "stamps": Collection("toy stamps", 1, "GPL-2.0-only", (stamps,), tuxpaint),
        "tables": Collection("toy tables", 0, "MIT", (icons,), None),
    }
    monkeypatch.setattr(table, "COLLECTIONS", toys)
    return tmp_path / "cache" / "packages"


def stock(shelf: Path, name: str, data: bytes) -> None:
    (shelf / package_folder(name, "1.0")).mkdir(parents=True)
    (shelf / package_folder(name, "1.0") / "a").with_suffix(
        ".deb" if data is DEB else ".tgz"
    ).write_bytes(data)


def test_a_collection_is_pulled_once_and_says_where_it_comes_from(shelf: Path) -> None:
    stock(shelf, "lucide-static", NPM)
    said: list[str] = []
    source = collection("icons", said.append)
    assert source.name == "icons" and len(source) == 1
    digest = hashlib.sha256(NPM).hexdigest()
    assert source[0].notes["packages"] == f"npm:lucide-static@1.0#sha256={digest}"
    assert source[0].notes["keywords"] == "red" and source[0].licence == "ISC"
    assert said == ["Unpacking a.tgz ..."]
    (home,) = pull("icons", said.append).values()
    assert not (home / "package/readme.txt").exists() and len(said) == 1
    assert home.is_relative_to(cache_dir())


def test_what_cannot_be_had_is_one_sentence(shelf: Path) -> None:
    with pytest.raises(
        UserError, match=r"Cannot get data:stamps: apt-get is not installed"
    ) as caught:
        collection("stamps", str)
    assert not isinstance(caught.value, Unavailable)
    with pytest.raises(UserError, match=r'"stmps" is no known collection. Did you mean "stamps"\?'):
        collection("stmps", str)
    with pytest.raises(UserError, match="tables, not pictures"):
        collection("tables", str)


def test_the_rest_goes_on(shelf: Path, capsys: Any) -> None:
    stock(shelf, "tuxpaint-stamps-default", DEB)
    done = call(capsys, "pull", "data:icons", "data:stamps", "--json")
    assert done.code == 2
    assert "1 of 2 could not be fetched; the others are there" in done.err
    assert "- data:icons: npm is not installed; install Node.js" in done.err
    (name, folder), *rest = json.loads(done.out).items()
    assert name == "data:stamps" and Path(folder, "usr/share/tuxpaint/stamps/dog.png").is_file()
    assert not rest
    stock(shelf, "lucide-static", NPM)
    done = call(capsys, "pull", "data:all")
    assert done.code == 0 and (done.out + done.err).count("data:") == 3


def test_a_pull_that_was_killed_leaves_nothing_half(shelf: Path, monkeypatch: Any) -> None:
    stock(shelf, "lucide-static", NPM)
    from chiasm.data.collections import packages

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packages, "unpack_npm", killed)
        with pytest.raises(KeyboardInterrupt):
            pull("icons", str)
    assert len(collection("icons", str)) == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["data:opnmoji"], '"data:opnmoji" is not built in. Did you mean "data:openmoji"?'),
        (["opnmoji"], "and the collections that --list shows"),
        (["data:flags", "--list"], "not both"),
    ],
)
def test_what_nobody_knows_is_said(capsys: Any, names: list[str], said: str) -> None:
    done = call(capsys, "pull", *names)
    assert done.code == 2 and said in done.err


def test_the_docs_show_the_table_of_collections(capsys: Any) -> None:
    shown = call(capsys, "pull", "--list").out.strip()
    assert shown == listing()
    assert shown in (DOCS / "collections.md").read_text("utf-8"), "run: chiasm pull --list"


def test_every_package_is_pinned() -> None:
    for name, each in COLLECTIONS.items():
        assert each.licence and each.packages and (each.pairs > 0) == (each.open is not None), name
        for package in each.packages:
            assert len(bytes.fromhex(package.sha256)) == 32
    homes = {package.home: package for each in COLLECTIONS.values() for package in each.packages}
    assert len(homes) == len({p for each in COLLECTIONS.values() for p in each.packages})


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name, each in COLLECTIONS.items() if each.open])
def test_the_real_collections_are_what_we_say(name: str) -> None:
    """Fetched from their registries into the user's cache; every 20th picture is decoded."""
    source = collection(name)
    assert len(source) == COLLECTIONS[name].pairs
    refused: Counter[str] = Counter()
    keys = set()
    with ImageDecoder() as decoder:
        for number in range(len(source)):
            if name == "openclipart" and number % 20:
                continue
            pair = source[number]
            assert (
                pair.caption and pair.licence and pair.notes["concept"] and pair.notes["packages"]
            )
            keys.add(pair.key)
            if number % 20 == 0:
                decoder.decode(pair.shown.read(), pair.key)  # type: ignore[union-attr]
    assert not refused and len(keys) == len(source) // (20 if name == "openclipart" else 1)


@pytest.mark.soak
def test_the_real_tables_are_read() -> None:
    found = tables()
    assert len(found) == 58
    assert all(found[name] for name in found) and len(found["cars"]) == 406
