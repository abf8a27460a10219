"""Folders of pictures with words beside them."""

import errno
import json
import os
from pathlib import Path

import pytest
from tests.data.pairing.layouts import png
from tests.data.pairing.test_webdataset import told

from chiasm.data.pairing import pairs
from chiasm.data.pairing.beside import folder
from chiasm.inputs.message import Picture, Video


def put(root: Path, **files: object) -> Path:
    """Files by name, "__" for a slash and the last "_" for the dot."""
    for name, content in files.items():
        path = root / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(content)
    return root


def test_words_stand_in_txt_caption_or_json_and_folders_count(tmp_path: Path) -> None:
    root = put(
        tmp_path / "holidays",
        beach__3_jpg=png(3), beach__3_txt="der Strand\n", beach__3_json={"license": "CC0-1.0", "width": 9},
        b_webp=png(2), b_caption="b \r\n", c_mp4=b"mp4", c_json={"text": "c"}, c2_PNG=png(4),
        c2_txt="zwei\n\n",
        **{".hidden__x_png": png(1), ".hidden__x_txt": "no"}, notes_txt="about nothing",
    )  # fmt: skip
    source = pairs(str(root))
    found = [source[n] for n in range(len(source))]
    assert [pair.key for pair in found] == [
        f"holidays/{n}" for n in ("b.webp", "beach/3.jpg", "c.mp4", "c2.PNG")
    ]
    assert [pair.caption for pair in found] == ["b ", "der Strand", "c", "zwei\n"]
    assert found[1].licence == "CC0-1.0" and found[1].notes == {"width": "9"}
    assert found[1].shown == Picture(path=str(root / "beach/3.jpg"))
    assert found[2].shown == Video(Picture(path=str(root / "c.mp4")))


def test_every_picture_is_a_record_or_says_why_not(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        a_png=png(1), a_txt="a", b_png=png(1), b_txt="", c_png=png(1), d_png=png(1), d_txt=b"\xff",
        e_png=png(1), e_json="{", f_png=png(1), f_json={"question": "?", "answer": "!"}, g_png=png(1),
        g_json={"caption": "h", "key": "h"}, h_png=png(1), h_json={"text": "h", "file_name": "x/h.png"},
        i_png=png(1), i_json=[1],
    )  # fmt: skip
    (root / "j.png").write_bytes(png(1))
    os.mkfifo(root / "j.txt")
    (root / "k.png").write_bytes(png(1))
    (root / "k.txt").symlink_to(tmp_path.parent / "secret.txt")
    (tmp_path.parent / "secret.txt").write_text("secret")
    (root / "l").symlink_to(tmp_path.parent)
    (root / "m.txt").mkdir()
    (root / "m.png").write_bytes(png(1))
    assert told(pairs(str(root))) == [
        "a", "(no_text)", "(no_text)", "(bad_text)", "(bad_json)", "(no_text)", "(wrong_key)", "h",
        "(bad_row)", "(not_a_file)", "(outside)", "(linked_folder)", "(no_text)",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_read_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, a_png=png(1), a_txt="a", locked__b_png=png(1))
    scan = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert told(folder(tmp_path)) == ["a", "(unreadable)"]


def test_names_that_are_no_utf8_are_spelled(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/b\xffd"
    for ending, data in ((b".png", png(1)), (b".txt", b"bad")):
        with open(name + ending, "wb") as file:
            file.write(data)
    pair = pairs(str(tmp_path))[0]
    assert pair.key.endswith("/b\\xffd.png") and pair.key.encode()
    assert pair.shown.read() == png(1)
