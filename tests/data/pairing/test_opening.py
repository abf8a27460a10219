"""Every layout is recognised, and gives the same records byte for byte; what is none is told."""

import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
from tests.data.pairing.layouts import LAYOUTS, columns, jsonl, pictures, png, records, tar

from chiasm.base.errors import UserError
from chiasm.data.pairing import pairs
from chiasm.data.rows import BadSample
from chiasm.inputs.message import Picture

ODD = [
    # right to left, both ways, and marks that change the way of what follows
    *("שלום עולם", "مرحبا بالعالم", "abc \u202etxt.exe\u202c def", "\u2066i\u2069", "a\u200fb\u200ec"),
    # joined, unjoined, of no width
    *("👩\u200d👩\u200d👧\u200d👦", "नि\u200dक्षा", "می\u200cخواهم", "zero\u200bwidth", "\u2060joiner"),
    "\u200b",
    # beyond sixteen bits, flags, skin, keycaps, variation
    *("𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "🇩🇪🇫🇷🏴\U000e0067\U000e0062\U000e007f", "👍🏽", "1️⃣#️⃣", "☺︎ ☺️", "\U0010ffff", "𠜎𠜱"),
    # piled and decomposed: neither is normalised
    *("Z̸̢̛͓a̶l̵g̷o̴", "e\u0301 é", "ﬁ ſ K Å", "\u1112\u1161\u11ab 한"),
    # controls
    *("bell\x07 esc\x1b[31mred\x1b[0m", "a\x00b", "\x7f c1\x9b", "\x01\x02\x03x", "tab\tin", "vt\x0bff\x0c"),
    *("fs\x1c", "\ue000"),
    # everything that anybody calls the end of a line
    *("a\nb", "a\r\nb", "a\rb", "a\x85b", "a\u2028b\u2029c", "x\n\n\ny"),
    # white space at the ends
    *(" leading", "trailing ", "\u00a0nbsp\u00a0", "\u3000全角\u3000", "\ttab"),
    # quotes, commas, escapes of every format here
    *('say "hi"', '"', '""', '"a","b"', "it''s", "a,b;c\td", "back\\slash \\n \\u0041", "{}"),
    *("[1]", "null", "NaN"),
    *("&amp; &lt;b&gt; &#65;", "</p><img src=x alt=y>", "<!-- no -->", "]]>", "'; DROP TABLE x", "$(x) `x`"),
    # what stands in for something else, and is only itself
    *("<image>", "<|endoftext|>", "../../x", "C:\\con", "https://example.org/a.png", "\ufffd \ufffe", "=1+1"),
    "a\ufeffb",
    "w" * 100_000,
]  # fmt: skip
"""Captions that programs have stumbled over; written by ourselves."""


def whole(kind: str, root: Path, captions: list[str]) -> list[tuple[str, bytes]]:
    source = pairs(str(LAYOUTS[kind](root, [(c, png(n)) for n, c in enumerate(captions)])))
    read = [source[n] for n in range(len(source))]
    return [(pair.caption, pair.shown.read()) for pair in read if isinstance(pair.shown, Picture)]


def test_there_are_sixty_odd_captions_and_they_are_odd() -> None:
    assert len(set(ODD)) == len(ODD) >= 60
    kinds = {unicodedata.category(letter) for caption in ODD for letter in caption}
    assert {"Cc", "Cf", "Mn", "So", "Zl", "Zp", "Zs", "Cn", "Co", "Lo"} <= kinds


@pytest.mark.parametrize("kind", LAYOUTS)
def test_odd_captions_survive_every_layout(kind: str, tmp_path: Path) -> None:
    captions = ODD
    if (
        kind == "tsv"
    ):  # its writer quotes what spans lines; readers of .tsv take a line for a record
        captions = [c for c in ODD if not {"\n", "\r"} & set(c)]
    found = whole(kind, tmp_path / "all", captions)
    assert [caption for caption, _ in found] == captions
    assert [data for _, data in found] == [png(n) for n in range(len(captions))]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_source_is_a_sequence_with_keys_of_its_own(kind: str, tmp_path: Path) -> None:
    held = records(9)
    source = pairs(str(LAYOUTS[kind](tmp_path / kind, held)))
    assert len(source) == len(held) and source.name
    keys = [source[n].key for n in range(len(source))]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("made/" if kind == "shards" else source.name + "/") for key in keys)
    # Backwards and again: the same record every time.
    assert [source[n].key for n in reversed(range(len(source)))] == keys[::-1]
    assert [source[n].caption for n in range(len(source))] == [caption for caption, _ in held]
    for outside in (-1, len(source)):
        with pytest.raises(IndexError):
            source[outside]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_source_and_its_refusals_go_to_other_processes(kind: str, tmp_path: Path) -> None:
    source = pairs(str(LAYOUTS[kind](tmp_path / kind, [("", b""), *records(5)])))
    there = ForkingPickler.loads(ForkingPickler.dumps(source))
    assert there[5] == source[5] and there.name == source.name
    errors = []
    for each in (source, there):
        with pytest.raises(BadSample) as caught:
            each[0]
        errors.append(caught.value)
    errors.append(ForkingPickler.loads(ForkingPickler.dumps(errors[0])))
    assert {(str(error), error.reason) for error in errors} == {(str(errors[0]), "no_text")}


def test_a_folder_of_datasets_and_shards_keep_their_own_names(tmp_path: Path) -> None:
    pair = pairs(str(LAYOUTS["shards"](tmp_path / "a", records(4))))[3]
    assert (pair.key, pair.source, pair.licence) == ("made/3", "made", "CC0-1.0")


def test_patterns_and_braces_name_several_files(tmp_path: Path) -> None:
    for number in range(12):
        tar(tmp_path / "x", records(2)).rename(tmp_path / f"{number:03}.tar")
    for pattern, count in (("*.tar", 24), ("{000..011}.tar", 24), ("{003..004}.tar", 4)):
        source = pairs(str(tmp_path / pattern))
        assert len(source) == count and source.name == tmp_path.name
    assert pairs(str(tmp_path / "{003..004}.tar"))[2].key == f"{tmp_path.name}/004/00000"
    assert len(pairs(str(tmp_path / "00*.tar"))) == 20


def test_a_hub_folder_has_one_split_or_says_which(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        pq.write_table(columns(records(3)), tmp_path / f"data/{split}-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"holds the splits test, train: name one, as .*test-\*"):
        pairs(str(tmp_path))
    assert len(pairs(str(tmp_path / "data" / "train-*.parquet"))) == 3
    (tmp_path / "data" / "test-00000-of-00001.parquet").unlink()
    assert len(pairs(str(tmp_path))) == 3


def nothing(root: Path) -> str:
    (root / "empty").mkdir()
    return str(root / "empty")


def only_pictures(root: Path) -> str:
    return str(pictures(root / "p", records(3)))


def two_lists(root: Path) -> str:
    jsonl(root, records(1)).with_name("other.csv").write_text("image,caption\n")
    return str(root)


def written(name: str, text: bytes) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        (root / name).write_bytes(text)
        return str(root / name)

    return make


@pytest.mark.parametrize(
    "make, told",
    [
        (nothing, "is not recognised; expected is a folder of pictures"),
        (only_pictures, "holds 3 pictures or videos but no words about them: put the caption"),
        (two_lists, "holds several lists .list.jsonl, other.csv.: name the one"),
        (lambda root: str(root / "none"), "does not exist; expected is"),
        (lambda root: str(root / "no\0ne"), "does not exist; expected is"),
        (lambda root: str(root / "*.tar"), r"No .tar files, or no .parquet files, match"),
        (written("a.docx", b"x"), "is not recognised; expected is"),
        (written("a.jsonl", b"\n\n"), "holds no record"),
        (written("a.tar.gz", b"\x1f\x8b"), "compressed archive"),
        (written("a.tar", b"\x1f\x8b" + bytes(600)), "is compressed.*gunzip"),
        (written("a.csv", b"url,caption\nhttps://a/b.png,x\n"), "address only .column url., and Chiasm"),
        (written("a.csv", b"a,b\n1,2\n"), "must have a column of pictures .image, file_name"),
        (written("a.csv", b""), "its columns are none"),
        (written("a.csv", b"image,caption,image\n"), "names a column twice"),
        (written("a.csv", "image,caption\na,b\n".encode("utf-16")), "is UTF-16: save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_told_in_one_sentence(
    make: Callable[[Path], str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        pairs(make(tmp_path))
    assert "\n" not in str(caught.value).strip()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c\.parquet is not a file"):
        pairs(str(tmp_path))
    os.mkfifo(tmp_path / "a.tar")
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(UserError, match=r"index\.json is damaged"):
        pairs(str(tmp_path))
    (tmp_path / "index.json").unlink()
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(UserError, match="is not a file"):
        pairs(str(tmp_path / "b.jsonl"))
    (tmp_path / "b.jsonl").unlink()
    source = pairs(str(tmp_path))
    with pytest.raises(UserError, match="it is not there"):
        source[0]


def test_a_tar_of_ten_thousand_members_opens_within_a_second(tmp_path: Path) -> None:
    path = tar(tmp_path, [(f"c {n}", b"x" * 700) for n in range(5000)])
    before = time.process_time()
    source = pairs(str(path))
    assert len(source) == 5000 and time.process_time() - before < 1.0


def test_reading_one_record_does_not_hold_its_file(tmp_path: Path) -> None:
    """40 MB of pictures in each layout; the process may grow by less than half of that."""
    big = [(f"c {n}", bytes([n]) * 1_000_000) for n in range(40)]
    paths = [LAYOUTS[kind](tmp_path / kind, big) for kind in ("tar", "arrow", "parquet")]
    script = (
        "import resource, sys\n"
        "from chiasm.data.pairing import pairs\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "source = pairs(sys.argv[1]); source_of = len(source)\n"
        "import pyarrow.parquet\n"
        "before = peak()\n"
        "assert source[30].shown.data == bytes([30]) * 1_000_000\n"
        "print(source_of, (peak() - before) // 1024)\n"
    )
    for path in paths:
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        count, grown = map(int, done.stdout.split())
        assert count == 40 and grown < 20, f"{path}: {grown} MB"
