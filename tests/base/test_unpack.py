"""Unpacking: what honest packages hold comes out, and nothing that a hostile one wants happens."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.base.archives import Content, deb_package, npm_package, special

from chiasm.base import unpack
from chiasm.base.errors import UserError
from chiasm.base.unpack import unpack_deb, unpack_npm


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_npm_package_unpacks(tmp_path: Path) -> None:
    files: dict[str, Content] = {"package/a.json": b"{}", "package/deep/b.svg": b"<svg/>" * 9999}
    (tmp_path / "a.tgz").write_bytes(npm_package({"package": special(tarfile.DIRTYPE), **files}))
    assert unpack_npm(tmp_path / "a.tgz", tmp_path / "all") == 2
    assert tree(tmp_path / "all") == files
    assert unpack_npm(tmp_path / "a.tgz", tmp_path / "some", ["package/*.svg"]) == 1
    assert list(tree(tmp_path / "some")) == ["package/deep/b.svg"]


@pytest.mark.parametrize("packing", [".xz", ".gz", ""])
def test_a_debian_package_unpacks_as_dpkg_does(packing: str, tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "./usr/share/toy/a.txt": b"odd",
        "./usr/share/toy/again.txt": special(tarfile.LNKTYPE, "./usr/share/toy/a.txt"),
        "./usr/share/toy/é.png": os.urandom(70_001),
    }
    control = "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t>\nDescription: t\n"
    (tmp_path / "a.deb").write_bytes(deb_package(files, packing, control))
    assert unpack_deb(tmp_path / "a.deb", tmp_path / "ours") == 3
    assert tree(tmp_path / "ours")["usr/share/toy/again.txt"] == b"odd"
    if shutil.which("dpkg-deb"):
        done = ["dpkg-deb", "-x", str(tmp_path / "a.deb"), str(tmp_path / "theirs")]
        subprocess.run(done, check=True)
        assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")


def test_links_of_an_honest_debian_package_are_left_out(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "./usr/a": b"a",
        "./usr/soft": special(tarfile.SYMTYPE, "a"),
        "./usr/out": special(tarfile.SYMTYPE, "/etc/passwd"),
        "./usr/hard": special(tarfile.LNKTYPE, "/etc/passwd"),
        "./usr/disk": special(tarfile.BLKTYPE),
        "./usr/pipe": special(tarfile.FIFOTYPE),
    }
    (tmp_path / "a.deb").write_bytes(deb_package(files))
    assert unpack_deb(tmp_path / "a.deb", tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["usr", "a"]


HOSTILE: dict[str, dict[str, Content]] = {
    "upwards": {"package/../../evil": b"x"},
    "upwards at once": {"../evil": b"x"},
    "absolute": {"/tmp-evil/evil": b"x"},
    "backslash": {"package\\..\\evil": b"x"},
    "no name": {".": b"x"},
    "soft link": {"package/evil": special(tarfile.SYMTYPE, "/etc/passwd")},
    "hard link": {"package/a": b"a", "package/evil": special(tarfile.LNKTYPE, "package/a")},
    "device": {"package/evil": special(tarfile.CHRTYPE)},
    "pipe": {"package/evil": special(tarfile.FIFOTYPE)},
    "through a link": {
        "package/d": special(tarfile.SYMTYPE, "/tmp-evil"),
        "package/d/evil": b"x",
    },
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_npm_packages_are_refused(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(npm_package(HOSTILE[what]))
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="refused"):
        unpack_npm(tmp_path / "a.tgz", tmp_path / "in" / "deep")
    assert not [path for path in tmp_path.rglob("*evil*")] and not Path("/tmp-evil").exists()


@pytest.mark.parametrize("what", [name for name in HOSTILE if "link" not in name])
def test_hostile_debian_packages_write_nothing_outside(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(deb_package(HOSTILE[what]))
    with pytest.raises(UserError, match="refused"):
        unpack_deb(tmp_path / "a.deb", tmp_path / "in" / "deep")
    assert not [path for path in tmp_path.rglob("*evil*")] and not Path("/tmp-evil").exists()


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for text in (b"one", b"two"):
            member = tarfile.TarInfo("package/a")
            member.size = 3
            archive.addfile(member, io.BytesIO(text))
    (tmp_path / "a.tgz").write_bytes(out.getvalue())
    with pytest.raises(UserError, match="twice"):
        unpack_npm(tmp_path / "a.tgz", tmp_path / "in")


def test_bombs_are_refused_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tarfile.TarInfo("package/huge")
    huge.size = unpack.UNPACKED_BYTES + 1  # promised only: the header decides
    header = huge.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
    (tmp_path / "huge.tgz").write_bytes(gzip.compress(header))
    with pytest.raises(UserError, match="more than 1024 MB"):
        unpack_npm(tmp_path / "huge.tgz", tmp_path / "in")
    monkeypatch.setattr(unpack, "MEMBERS", 50)
    many: dict[str, Content] = {f"package/{number}": b"" for number in range(51)}
    (tmp_path / "many.tgz").write_bytes(npm_package(many))
    with pytest.raises(UserError, match="50 files"):
        unpack_npm(tmp_path / "many.tgz", tmp_path / "many", ["none"])
    monkeypatch.setattr(unpack, "UNPACKED_BYTES", 2500)
    again: dict[str, Content] = {"./a": bytes(1000)}
    again |= {f"./{number}": special(tarfile.LNKTYPE, "./a") for number in range(3)}
    (tmp_path / "again.deb").write_bytes(deb_package(again))
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack_deb(tmp_path / "again.deb", tmp_path / "again")


def test_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(npm_package({"package/a": b"a"}))
    with pytest.raises(UserError, match=r"does not hold \*\.png"):
        unpack_npm(tmp_path / "a.tgz", tmp_path / "in", ["*.png"])


def test_what_is_no_debian_package_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.deb"
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="not a Debian package"):
        unpack_deb(file, tmp_path / "in")
    file.write_bytes(b"!<arch>\n")
    with pytest.raises(UserError, match=r"no data\.tar"):
        unpack_deb(file, tmp_path / "in")
    file.write_bytes(deb_package({"./a": b"a"}, ".lzma"))
    with pytest.raises(UserError, match=r"data\.tar\.lzma, which Chiasm does not read"):
        unpack_deb(file, tmp_path / "in")


@given(st.data())
def test_damage_is_a_sentence(data: st.DataObject) -> None:
    """A package that is cut or changed anywhere: unpacked, or one sentence; never another error."""
    import tempfile

    files: dict[str, Content] = {f"package/{n}": bytes([n]) * 700 for n in range(5)}
    make = data.draw(st.sampled_from([(npm_package, unpack_npm), (deb_package, unpack_deb)]))
    whole = bytearray(make[0](files))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(whole)
        try:
            make[1](Path(folder) / "a", Path(folder) / "in")
        except UserError as error:
            assert "\n" not in str(error)
