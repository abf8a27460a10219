"""CSV, TSV and JSON lines: a broken line costs itself, and memory is that of a line."""

import csv
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.pairing.layouts import png
from tests.data.pairing.test_webdataset import told

from chiasm.data.pairing import fields as names
from chiasm.data.pairing import pairs
from chiasm.data.pairing.lists import fields
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError


def listed(root: Path, name: str, data: str | bytes) -> list[str]:
    (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return told(pairs(str(root / name)))


# ---- CSV and TSV ---------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.text('",\n\r a', max_size=8)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_fields_are_those_of_pythons_csv(values: list[str]) -> None:
    for comma in ",\t":
        written = io.StringIO()
        csv.writer(written, delimiter=comma).writerow(values)
        line = written.getvalue()
        assert fields(line, comma) == next(csv.reader([line], delimiter=comma, strict=True))
        assert fields(line, comma) == values


def test_records_of_many_lines_are_put_together(tmp_path: Path) -> None:
    chance = random.Random("0/csv")
    captions = [
        "".join(chance.choices('ab",\n\r', k=chance.randrange(1, 30))) + "." for _ in range(400)
    ]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        rows = ((f"{n}.png", caption) for n, caption in enumerate(captions))
        csv.writer(file).writerows([("file_name", "text"), *rows])
    source = pairs(str(tmp_path / "a.csv"))
    assert [source[n].caption for n in range(len(source))] == captions


def test_a_quote_that_nobody_closes_costs_its_line(tmp_path: Path) -> None:
    rows = ['a.png,"a cat', 'b.png,"a dog"', "c.png,a cow", 'd.png,"a "fat" pig"', 'e.png,5" pipe']
    rows += ["f.png", "g.png,x,y", "", "h.png,z"]
    found = listed(tmp_path, "a.csv", "image,caption\r\n" + "\r\n".join(rows))
    assert found == [
        "(bad_row)",
        "a dog",
        "a cow",
        "(bad_row)",
        '5" pipe',
        "(bad_row)",
        "(bad_row)",
        "z",
    ]
    with pytest.raises(BadSample, match=r"a\.csv, line 2: the line has a quote that is not closed"):
        pairs(str(tmp_path / "a.csv"))[0]
    source = pairs(str(tmp_path / "a.csv"))
    assert source[7].key == "a/10"  # the line in the file


def test_quotes_without_end_do_not_take_quadratic_time(tmp_path: Path) -> None:
    rows = "".join(f'{n}.png,"caption {n}\n' for n in range(20_000))
    found = listed(tmp_path, "a.csv", "image,caption\n" + rows)
    assert set(found) <= {"(bad_row)"} and len(found) == 20_000


def test_a_tsv_with_and_without_quotes(tmp_path: Path) -> None:
    rows = ['a.png\tHe said "hi"', 'b.png\t"quoted ""twice"""', 'c.png\t"open', 'd.png\t"a" b']
    found = listed(tmp_path, "a.tsv", "image\tcaption\n" + "\n".join(rows))
    assert found == ['He said "hi"', 'quoted "twice"', '"open', '"a" b']


def test_columns_by_any_of_their_names_and_the_others_as_notes(tmp_path: Path) -> None:
    data = "author,filepath,caption,text,license\nme,a.mp4,c,t,CC-BY-4.0\n,,c,t,\nme,https://x/a.png,c,,\n"
    assert listed(tmp_path, "a.csv", b"\xef\xbb\xbf" + data.encode()) == [
        "c",
        "(no_picture)",
        "(bad_image)",
    ]
    pair = pairs(str(tmp_path / "a.csv"))[0]
    assert pair.licence == "CC-BY-4.0" and pair.notes == {"author": "me", "text": "t"}
    assert pair.shown.path == str(tmp_path / "a.mp4") and type(pair.shown).__name__ == "Video"


# ---- JSON lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, expected",
    [
        ('{"image": "a.png", "caption": "x"}', "x"),
        ('{"image": "a.png", "caption": ["x", "y"]}', "x"),
        ('{"image": "a.png", "caption": "x", "n": NaN, "big": 12345678901234567890}', "x"),
        ('{"image": "a.png", "caption": "x\\u0000y"}', "x\0y"),
        ('{"image": "a.png", "caption": "x\0y"}', "(bad_json)"),
        ('{"image": "a.png", "caption": "x"', "(bad_json)"),
        ('{"image": "a.png", "caption": "x"} {}', "(bad_json)"),
        ('{"image": "a.png", "image": "b.png", "caption": "x"}', "(bad_json)"),
        ("[" * 100_000, "(bad_json)"),
        ('{"image": "a.png", "caption": "x", "n": ' + "9" * 5000 + "}", "(bad_json)"),
        ('["a.png", "x"]', "(bad_row)"),
        ('{"image": "a.png", "caption": 3}', "(bad_row)"),
        ('{"image": "a.png", "caption": ""}', "(no_text)"),
        ('{"image": "a.png", "caption": " \\u2003\\n"}', "(no_text)"),
        ('{"image": "a.png"}', "(no_text)"),
        ('{"caption": "x"}', "(no_picture)"),
        ('{"url": "https://example.org/a.png", "caption": "x"}', "(bad_image)"),
        ('{"image": 3, "caption": "x"}', "(bad_image)"),
        ('{"image": "../a.png", "caption": "x"}', "(outside)"),
        ('{"image": "/a.png", "caption": "x"}', "(outside)"),
        ('{"image": "a\\u0000.png", "caption": "x"}', "(missing)"),
        ('{"image": "\\ud800.png", "caption": "x"}', "(bad_text)"),
        ('{"image": "a.png", "caption": "\\ud83e"}', "(bad_text)"),
        ('{"image": "a.png", "caption": "x", "note": "\\ud83e"}', "(bad_text)"),
        ('{"messages": [{"role": "user", "content": [{"type": "image"}]}], "images": []}', "(picture_count)"),
        ('{"messages": [{"role": "user", "content": "hi"}]}', "(not_a_caption)"),
        ('{"messages": 3, "images": 4}', "(bad_row)"),
        (b'{"image": "a.png", "caption": "\xff"}', "(bad_text)"),
        (b'\xef\xbb\xbf{"image": "a.png", "caption": "x"}', "(bad_json)"),
    ],
)  # fmt: skip
def test_a_line_is_a_record_or_says_why_and_the_others_stay(
    line: str | bytes, expected: str, tmp_path: Path
) -> None:
    good = b'{"image": "a.png", "caption": "good"}\n'
    text = line if isinstance(line, bytes) else line.encode()
    found = listed(tmp_path, "a.jsonl", b"\xef\xbb\xbf" + good + b"\n" + text + b"\n" + good)
    assert found == ["good", expected, "good"]


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    good = '{"image": "a.png", "caption": "good"}\n'
    for name, head in (("a.jsonl", ""), ("a.csv", "image,caption\n")):
        lines = (head, good if not head else "a.png,good\n")
        with open(tmp_path / name, "w") as file:
            file.write("".join(lines))
            for _ in range(100):
                file.write("x" * 1_000_000)
            file.write("\n" + lines[1])
        script = (
            "import resource, sys\n"
            "from chiasm.data.pairing import pairs\n"
            "from chiasm.data.rows import BadSample\n"
            "import chiasm.data.pairing.opening\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "source = pairs(sys.argv[1])\n"
            "assert len(source) == 3 and source[0].caption == source[2].caption == 'good'\n"
            "try: source[1]\n"
            "except BadSample as error: print(error.reason)\n"
            "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True)
        reason, grown = done.stdout.split()
        assert reason == "long_line" and int(grown) < 60, done.stderr


def test_a_list_that_changes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"image": "a.png", "caption": "good"}\n' * 3)
    source = pairs(str(path))
    path.write_text("")
    assert told(source) == ["(damaged_file)"] * 3


# ---- files that a list names ---------------------------------------------------------------------


def test_each_kind_of_file_has_its_outcome(tmp_path: Path) -> None:
    """Empty, missing, a folder, a pipe, links in and out of the folder: the file's or the path's fault."""
    import os

    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png(1))
    (root / "good.png").write_bytes(png(2))
    (root / "empty.png").write_bytes(b"")
    os.mkfifo(root / "pipe.png")
    (root / "in.png").symlink_to("good.png")
    (root / "out.png").symlink_to("../secret.png")
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "loop.png").symlink_to("loop.png")
    expected = {
        "good.png": "", "./folder/../good.png": "", "in.png": "", "empty.png": "empty",
        "none.png": "missing", "folder": "not_a_file", "pipe.png": "not_a_file",
        "out.png": "outside", "elsewhere/secret.png": "outside", "../secret.png": "outside",
        str(tmp_path / "secret.png"): "outside", "good.png/x": "missing", "loop.png": "unreadable",
        "n" * 300: "unreadable",
    }  # fmt: skip
    rows = [json.dumps({"image": name, "caption": "x"}) for name in expected]
    (root / "a.jsonl").write_text("\n".join(rows))
    source = pairs(str(root))
    found = {}
    for index, name in enumerate(expected):
        try:
            found[name] = "" if source[index].shown.read() else "?"
        except (BadSample, MediaError) as error:
            found[name] = error.reason
    assert found == expected


def test_a_gif_of_one_frame_is_a_picture_and_of_two_a_video(tmp_path: Path) -> None:
    from PIL import Image

    from chiasm.inputs.message import Picture

    shades = [Image.new("P", (5, 4), n) for n in (1, 2)]
    shades[0].putpalette(bytes(range(256)) * 3)
    for name, frames, more in (
        ("one", [], {}),
        ("two", shades[1:], {"loop": 0, "comment": b"c" * 600}),
    ):
        shades[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=frames, **more)
    kinds = {}
    for name in ("one", "two"):
        data = (tmp_path / f"{name}.gif").read_bytes()
        for cut in (0, 1, 7):  # damage is the decoder's to tell: it may be either, and never fails
            (tmp_path / "cut.gif").write_bytes(data[: len(data) - cut * len(data) // 8])
            shown = names.shown_file(Picture(path=str(tmp_path / "cut.gif")))
            if not cut:
                kinds[name] = type(shown).__name__
    assert kinds == {"one": "Picture", "two": "Video"}
    assert names.shown_file(Picture(path=str(tmp_path / "none.gif"))).path is not None
