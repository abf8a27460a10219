"""Tar shards: read as Python's tarfile reads them, and every odd archive has its outcome."""

import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.pairing.layouts import add, png, records, tar

from chiasm.base.errors import UserError
from chiasm.data.pairing import pairs
from chiasm.data.pairing.tar import BLOCK, read_archive
from chiasm.data.pairs import PairSource
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture, Video

Write = Callable[[tarfile.TarFile], object]


def archive(path: Path, write: Write, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as opened:
        write(opened)
    return path


def told(source: PairSource) -> list[str]:
    """The caption of each record, or the reason why there is none."""
    found = []
    for index in range(len(source)):
        try:
            found.append(source[index].caption)
        except (BadSample, MediaError) as error:
            found.append(f"({error.reason})")
    return found


def opened(path: Path, write: Write) -> PairSource:
    return pairs(str(archive(path / "a.tar", write)))


def pair(archive: tarfile.TarFile, key: str, caption: str | None = None) -> None:
    add(archive, f"{key}.png", png(len(key)))
    add(archive, f"{key}.txt", (caption or key).encode())


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "elsewhere"
    return member


# ---- headers, against an independent reader ------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_say_what_tarfile_reads(form: int, tmp_path: Path) -> None:
    """Long and foreign names, every size around a block, folders, links, devices, pipes."""
    chance = random.Random(f"0/tar/{form}")
    sizes = [0, 1, 511, 512, 513, 1023, 1024, *(chance.randrange(5000) for _ in range(60))]

    def write(archive: tarfile.TarFile) -> None:
        for number, size in enumerate(sizes):
            deep = "/".join("d" * chance.randrange(1, 40) for _ in range(number % 6))
            name = f"{deep}/{number}.bin" if deep else f"{number}.bin"
            if form != tarfile.USTAR_FORMAT and number % 5 == 0:
                name = f"{'länge 🦊 ' * chance.randrange(1, 40)}{number}.bin"
            add(archive, name, chance.randbytes(size))
        for number, kind in enumerate((b"1", b"2", b"3", b"4", b"5", b"6")):
            archive.addfile(special(f"special{number}", kind))
        if form == tarfile.GNU_FORMAT:
            linked = special("link", tarfile.SYMTYPE)
            linked.linkname = "far/" * 60
            archive.addfile(linked)

    path = archive(tmp_path / "a.tar", write, form)
    data = path.read_bytes()
    found = read_archive(path)
    assert not found.fault and found.closed
    with tarfile.open(path) as other:
        expected = other.getmembers()
        assert [m.name.rstrip("/") for m in found.members] == [m.name for m in expected]
        for ours, theirs in zip(found.members, expected, strict=True):
            assert (ours.kind == "file") == theirs.isreg()
            if theirs.isreg():
                assert (ours.at, ours.size) == (theirs.offset_data, theirs.size)
                reader = other.extractfile(theirs)
                assert reader is not None and data[ours.at :][: ours.size] == reader.read()


def test_sizes_in_base_256_and_pax_sizes_are_read(tmp_path: Path) -> None:
    """A size of twelve digits or more, in a sparse file of the system, so that nothing is written."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        member = tarfile.TarInfo("big.bin")
        member.size = 9 << 30
        header = member.tobuf(form)
        path = tmp_path / f"{form}.tar"
        with open(path, "wb") as file:
            file.write(header)
            file.truncate(len(header) + member.size + 2 * BLOCK)
        found = read_archive(path)
        assert not found.fault
        assert [(m.name, m.size, m.at) for m in found.members] == [
            ("big.bin", 9 << 30, len(header))
        ]


def test_gnu_and_pax_sparse_members_are_found_and_refused(tmp_path: Path) -> None:
    """Their stored bytes are not the file's: what follows them must still be found."""
    old = bytearray(special("a.png", b"S").tobuf(tarfile.GNU_FORMAT))
    old[124:136] = b"%011o\0" % 100
    old[482] = 1  # one more block of the map follows the header
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    pax = tarfile.TarInfo("GNUSparseFile.0/b.png")
    pax.size = 40
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "b.png"}
    rest = io.BytesIO()
    with tarfile.open(fileobj=rest, mode="w") as opened:
        add(opened, "a.txt", b"a")
        add(opened, "b.txt", b"b")
        pair(opened, "c")
    data = bytes(old) + bytes(BLOCK) + b"x" * BLOCK + pax.tobuf(tarfile.PAX_FORMAT) + b"y" * BLOCK
    (tmp_path / "a.tar").write_bytes(data + rest.getvalue())
    assert told(pairs(str(tmp_path / "a.tar"))) == ["(bad_member)", "(bad_member)", "c"]


# ---- records -------------------------------------------------------------------------------------


def test_members_of_one_name_are_a_record_with_its_notes(tmp_path: Path) -> None:
    fields = {"key": "7", "caption": "ein Boot", "license": "CC0-1.0", "width": 99, "list": [1]}

    def write(archive: tarfile.TarFile) -> None:
        add(archive, "./sub/7.JPG", b"\xff\xd8 jpeg")
        add(archive, "./sub/7.json", json.dumps(fields).encode())
        add(archive, "./sub/7.cls", b"3")
        pair(archive, "8", "acht\r\n")
        add(archive, "9.mp4", b"mp4")
        add(archive, "9.txt", b"neun")
        add(archive, "9.json", b'{"caption": "nine", "text": "neun", "status": "success"}')

    source = opened(tmp_path, write)
    first, second, third = (source[n] for n in range(3))
    assert (first.key, first.caption, first.licence) == ("a/sub/7", "ein Boot", "CC0-1.0")
    assert first.shown == Picture(data=b"\xff\xd8 jpeg", path="7.JPG")
    assert first.notes == {"key": "7", "width": "99"}
    assert (second.key, second.caption) == ("a/8", "acht")
    assert third.shown == Video(Picture(data=b"mp4", path="9.mp4"))
    assert third.caption == "neun" and third.notes == {"caption": "nine", "status": "success"}


@pytest.mark.parametrize(
    "write, expected",
    [
        (lambda a: [pair(a, "a"), add(a, "b.txt", b"b")], ["a", "(no_picture)"]),
        (lambda a: [add(a, "a.png", png(1)), pair(a, "b")], ["(no_text)", "b"]),
        (lambda a: [add(a, "a.png", png(1)), add(a, "a.txt", b" \n")], ["(no_text)"]),
        (lambda a: [add(a, "a.png", b""), add(a, "a.txt", b"a")], ["(empty)"]),
        (lambda a: [add(a, "a.png", png(1)), add(a, "a.txt", b"\xff")], ["(bad_text)"]),
        (lambda a: [add(a, "a.png", png(1)), add(a, "a.json", b"{")], ["(bad_json)"]),
        (lambda a: [add(a, "a.png", png(1)), add(a, "a.json", b"[1]")], ["(bad_row)"]),
        (
            lambda a: [add(a, "a.png", b"x"), add(a, "a.json", b'{"text": "a", "text": "b"}')],
            ["(bad_json)"],
        ),
        (
            lambda a: [add(a, "a.png", b"x"), add(a, "a.json", b'{"text": "\\ud800"}')],
            ["(bad_text)"],
        ),
        (
            lambda a: [add(a, "1.png", b"x"), add(a, "1.json", b'{"text": "b", "key": "2"}')],
            ["(wrong_key)"],
        ),
        (lambda a: [pair(a, "a"), add(a, "a.jpg", b"x")], ["(several_pictures)"]),
        (lambda a: [pair(a, "a"), pair(a, "b"), pair(a, "a", "2")], ["a", "b", "(duplicate_key)"]),
        # Of two pictures and two texts of one name nobody can say which belong together.
        (
            lambda a: [add(a, n, b"x") for n in ("a.png", "a.png", "a.txt", "a.txt")],
            ["(no_text)", "(duplicate_key)", "(duplicate_key)"],
        ),
        # Members that stand apart are put together: nothing is ambiguous.
        (
            lambda a: [add(a, n, n.encode()) for n in ("a.png", "b.png", "a.txt", "b.txt")],
            ["a.txt", "b.txt"],
        ),
        (lambda a: [pair(a, "../a"), pair(a, "b")], ["(outside)", "b"]),
        (lambda a: [pair(a, "/etc/a"), pair(a, "c/../../b")], ["(outside)", "(outside)"]),
        (lambda a: [a.addfile(special("a.png", b"2")), add(a, "a.txt", b"a")], ["(bad_member)"]),
        (lambda a: [a.addfile(special("a.png", b"3")), add(a, "a.txt", b"a")], ["(bad_member)"]),
        (lambda a: [add(a, "a.png", b"x"), a.addfile(special("a.txt", b"1"))], ["(bad_member)"]),
        (lambda a: [a.addfile(special("a.png", b"6")), add(a, "a.txt", b"a")], ["(bad_member)"]),
        (lambda a: [a.addfile(special("d", b"5")), pair(a, "d/a"), pair(a, ".b")], ["d/a"]),
        (lambda a: [add(a, "README", b"x"), pair(a, "a")], ["(no_picture)", "a"]),
    ],
)  # fmt: skip
def test_every_odd_record_has_its_reason(write: Write, expected: list[str], tmp_path: Path) -> None:
    assert told(opened(tmp_path, write)) == expected


def test_names_that_are_no_utf8_are_spelled(tmp_path: Path) -> None:
    def write(archive: tarfile.TarFile) -> None:
        archive.errors = "surrogateescape"
        pair(archive, "b\udcffd", "bad")

    source = pairs(str(archive(tmp_path / "a.tar", write, tarfile.USTAR_FORMAT)))
    assert source[0].key == "a/b\\xffd" and source[0].key.encode()


# ---- damage --------------------------------------------------------------------------------------


def test_cut_at_200_places_the_whole_records_stay_and_the_rest_is_one(tmp_path: Path) -> None:
    held = records(20)
    path = tar(tmp_path, held)
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    chance = random.Random("0/cuts")
    ends = [data.index(caption.encode()) + BLOCK for caption, _ in held]
    for at in {*(chance.randrange(1, end) for _ in range(160)), *ends, *(e + BLOCK for e in ends)}:
        path.write_bytes(data[:at])
        found = told(pairs(str(path)))
        # A record is known to be whole when the header of the next one has been read.
        whole = sum(at >= stop + BLOCK for stop in ends)
        if at > ends[-1]:  # the mark of the end, or the first block of it, is there
            assert found == [caption for caption, _ in held]
            continue
        assert found == [caption for caption, _ in held[:whole]] + ["(shard_truncated)"], at


def test_padding_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    """As `cat a.tar b.tar` leaves it; tarfile reads on with ignore_zeros alone."""
    first = archive(tmp_path / "x", lambda a: [pair(a, "a"), pair(a, "b")]).read_bytes()
    second = archive(tmp_path / "y", lambda a: [pair(a, "c")]).read_bytes()
    path = tmp_path / "a.tar"
    path.write_bytes(first + bytes(3 << 20) + second)
    assert told(pairs(str(path))) == ["a", "b", "c"]
    with tarfile.open(path, ignore_zeros=True) as other:
        names = [f"{key}.{ending}" for key in "abc" for ending in ("png", "txt")]
        assert other.getnames() == names
    path.write_bytes(path.read_bytes() + second[: 3 * BLOCK])  # a third one, cut off
    assert told(pairs(str(path))) == ["a", "b", "c", "(shard_truncated)"]


@pytest.mark.parametrize("form", ["chiasm", "wids", "img2dataset"])
def test_an_index_says_how_many_are_missing(form: str, tmp_path: Path) -> None:
    path = tar(tmp_path, records(6))
    index = {
        "chiasm": ("_index.json", {"shards": [{"file": n, "rows": 6} for n in ("00000.tar", "1.tar")]}),
        "wids": (
            "index.json",
            {"shardlist": [{"url": f"https://a/{n}", "nsamples": 6} for n in ("00000.tar", "1.tar")]},
        ),
        "img2dataset": ("00000_stats.json", {"count": 9, "successes": 6}),
    }  # fmt: skip
    name, content = index[form]
    (tmp_path / name).write_text(json.dumps(content))
    lost = ["(shard_truncated)"] * (form != "img2dataset")
    captions = [caption for caption, _ in records(6)]
    assert told(pairs(str(tmp_path))) == captions + lost  # 1.tar is not there
    path.write_bytes(path.read_bytes()[: 10 * BLOCK])
    source = pairs(str(tmp_path))
    counts = "2 records before it are whole, the index says that there are 6"
    with pytest.raises(BadSample, match=rf"00000\.tar: it ends .*; {counts}"):
        source[2]
    tar(tmp_path, records(4))  # sound, and short
    source = pairs(str(tmp_path))
    with pytest.raises(BadSample, match=r"records are missing; 4 .* there are 6"):
        source[4]
    (tmp_path / name).write_text("{")
    with pytest.raises(UserError, match="is damaged: remove it, or fetch it again"):
        pairs(str(tmp_path))


def test_garbage_empty_and_compressed_archives(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    (tmp_path / "b.tar").write_bytes(random.Random(0).randbytes(3000))
    tar(tmp_path / "x", records(2)).rename(tmp_path / "c.tar")
    found = told(pairs(str(tmp_path)))
    assert found == ["(shard_truncated)"] * 2 + [caption for caption, _ in records(2)]
    (tmp_path / "d.tar").write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(UserError, match=r"d\.tar is compressed.*unpack it with gunzip"):
        pairs(str(tmp_path))


def test_hostile_headers_end_the_archive_at_once(tmp_path: Path) -> None:
    """Names of a gigabyte, sizes beyond the file, pax records that lie about their length."""
    huge = bytearray(tarfile.TarInfo("././@LongLink").tobuf(tarfile.GNU_FORMAT))
    huge[156:157], huge[124:136] = b"L", b"\x80" + (1 << 80).to_bytes(11, "big")
    headers = [huge]
    for body in (b"99999999 path=x\n", b"0 path=x\n", b"-5 a=b\n", b"11 path=x", b"9 size=x\n"):
        pax = bytearray(tarfile.TarInfo("pax").tobuf(tarfile.USTAR_FORMAT))
        pax[156:157], pax[124:136] = b"x", b"%011o\0" % len(body)
        headers.append(pax + body.ljust(BLOCK, b"\0") + tarfile.TarInfo("n").tobuf())
    for header in headers:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header[:BLOCK])
        (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(2 * BLOCK))
        assert told(pairs(str(tmp_path / "a.tar"))) == ["(shard_truncated)"]


def test_a_shard_that_shrinks_after_it_was_opened_is_told(tmp_path: Path) -> None:
    path = tar(tmp_path, records(3))
    source = pairs(str(path))
    path.write_bytes(path.read_bytes()[:BLOCK])
    assert told(source) == ["(damaged_file)"] * 3
    path.unlink()
    assert told(source) == ["(unreadable)"] * 3
