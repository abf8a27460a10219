"""Fetching by the real npm and the real apt-get, each from a shelf on this machine; what fails is told."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.base.archives import apt_archive, deb_package, npm_package, npm_registry

from chiasm.base import fetch
from chiasm.base.errors import UserError
from chiasm.base.fetch import Unavailable, fetch_deb, fetch_npm, package_folder

with_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
with_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")

CONTROL = "Package: toy\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: t <t@t>\nDescription: t\n"
TGZ = npm_package({"package/package.json": b'{"name": "@toy/pictures", "version": "1.0.0"}'})
DEB = deb_package({"./usr/share/toy/a.txt": b"a"}, control=CONTROL)
TGZ_SHA, DEB_SHA = (hashlib.sha256(data).hexdigest() for data in (TGZ, DEB))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with npm_registry("@toy/pictures", "1.0.0", TGZ) as address:
        monkeypatch.setenv("npm_config_registry", address)
        yield


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = apt_archive(tmp_path / "apt", "toy", "1:2.0-1", DEB)
    monkeypatch.setenv("APT_CONFIG", str(settings))


def folder_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@with_npm
def test_npm_delivers_once(registry: None, tmp_path: Path) -> None:
    said: list[str] = []
    file = fetch_npm("@toy/pictures", "1.0.0", TGZ_SHA, tmp_path / "cache", said.append)
    assert file.read_bytes() == TGZ and file.parent.name == "toy-pictures-1.0.0"
    assert folder_names(file.parent) == [file.name]  # none of npm's own files stays
    assert fetch_npm("@toy/pictures", "1.0.0", TGZ_SHA, tmp_path / "cache", said.append) == file
    assert said == ["Fetching @toy/pictures@1.0.0 with npm ..."]


@with_npm
def test_npm_with_another_checksum_version_or_name(registry: None, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"npm delivered .*{TGZ_SHA}, not 0000.*; refused"):
        fetch_npm("@toy/pictures", "1.0.0", "0" * 64, tmp_path / "cache", str)
    with pytest.raises(Unavailable, match="No matching version found for @toy/pictures@9"):
        fetch_npm("@toy/pictures", "9.0.0", TGZ_SHA, tmp_path / "cache", str)
    with pytest.raises(Unavailable, match="404 Not Found"):
        fetch_npm("@toy/nothing", "1.0.0", TGZ_SHA, tmp_path / "cache", str)
    assert not folder_names(tmp_path / "cache")


@with_npm
def test_npm_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    with pytest.raises(Unavailable, match="ECONNREFUSED"):
        fetch_npm("@toy/pictures", "1.0.0", TGZ_SHA, tmp_path / "cache", str)


@with_apt
def test_apt_delivers_once(archive: None, tmp_path: Path) -> None:
    said: list[str] = []
    file = fetch_deb("toy", "1:2.0-1", DEB_SHA, tmp_path / "cache", said.append)
    assert file.read_bytes() == DEB and file.parent.name == "toy-1-2.0-1"
    assert folder_names(file.parent) == [file.name]
    assert fetch_deb("toy", "1:2.0-1", DEB_SHA, tmp_path / "cache", said.append) == file
    assert said == ["Fetching toy=1:2.0-1 with apt-get ..."]
    file.write_bytes(DEB[:-9])
    assert fetch_deb("toy", "1:2.0-1", DEB_SHA, tmp_path / "cache", said.append).read_bytes() == DEB
    assert "damaged" in said[1]


@with_apt
def test_apt_with_another_checksum_or_version(archive: None, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"apt-get delivered .*{DEB_SHA}, not 0000.*; refused"):
        fetch_deb("toy", "1:2.0-1", "0" * 64, tmp_path / "cache", str)
    with pytest.raises(Unavailable, match=r"archive has version 1:2\.0-1 of toy, not 1:1\.9"):
        fetch_deb("toy", "1:1.9", DEB_SHA, tmp_path / "cache", str)
    assert not folder_names(tmp_path / "cache")


@with_apt
def test_apt_without_its_lists(archive: None, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "apt" / "lists")
    (tmp_path / "apt" / "lists" / "partial").mkdir(parents=True)
    shutil.rmtree(tmp_path / "apt" / "cache")
    with pytest.raises(Unavailable, match='no list with toy in it; run "apt-get update"'):
        fetch_deb("toy", "1:2.0-1", DEB_SHA, tmp_path / "cache", str)


def test_without_the_programs_the_way_out_is_told_and_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = tmp_path / "cache"
    with pytest.raises(Unavailable, match=rf"npm is not installed; .*{cache}/toy-1\.0\.0 yourself"):
        fetch_npm("toy", "1.0.0", TGZ_SHA, cache, str)
    with pytest.raises(Unavailable, match=rf"apt-get is not installed .*{cache}/toy-1-2\.0-1"):
        fetch_deb("toy", "1:2.0-1", DEB_SHA, cache, str)
    for home, name, data in (("toy-1.0.0", "a.tgz", TGZ), ("toy-1-2.0-1", "a.deb", DEB)):
        (cache / home).mkdir()
        (cache / home / name).write_bytes(data)
    assert fetch_npm("toy", "1.0.0", TGZ_SHA, cache, str).name == "a.tgz"
    assert fetch_deb("toy", "1:2.0-1", DEB_SHA, cache, str).name == "a.deb"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("npm", "npm error code ENOSPC"),
        ("npm", "npm ERR! code ENOSPC"),
        ("apt-get", "E: Write error - write (28: No space left on device)"),
        ("apt-get", "E: You don't have enough free space in /x."),
    ],
)
def test_a_full_disk_is_no_matter_of_the_source(
    program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = tmp_path / program
    speaker.write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    speaker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    ask = fetch_npm if program == "npm" else fetch_deb
    with pytest.raises(UserError, match="the disk is full") as caught:
        ask("toy", "1", "0" * 64, tmp_path / "cache", str)
    assert not isinstance(caught.value, Unavailable)


def test_a_program_that_says_nothing_is_told_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("npm", "apt-get"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="npm ended with code 3"):
        fetch_npm("toy", "1", "0" * 64, tmp_path / "cache", str)
    with pytest.raises(Unavailable, match="apt-get ended with code 3"):
        fetch_deb("toy", "1", "0" * 64, tmp_path / "cache", str)


def test_folders_of_packages_have_plain_names() -> None:
    assert package_folder("@lobehub/fluent-emoji-3d", "1.1.0") == "lobehub-fluent-emoji-3d-1.1.0"
    assert package_folder("a", "1:0.18+dfsg-19") == "a-1-0.18+dfsg-19"
    assert fetch._final(Path("x/.toy-1-2.0.tmp-12-0123abcd")) == Path("x/toy-1-2.0")
