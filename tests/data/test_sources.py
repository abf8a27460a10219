"""Sources: every record is what its file says, and what cannot be a record says where and why."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from chiasm.base.errors import UserError
from chiasm.data.rows import from_fields
from chiasm.data.sources import BadSample, easy_vqa, folder
from chiasm.evaluation.task import question_of, text_of, truth_of
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture, Record, Video


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content: object) -> Path:
    """A file with JSON, text or bytes, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return path


def said(record: Record) -> list[tuple[str, str]]:
    return [(text_of(question_of(sample)[-1]), truth_of(sample)) for sample in record]


def pictures(record: Record) -> list[list[Picture]]:
    return [
        [p for m in sample.messages for p in m.parts if isinstance(p, Picture)] for sample in record
    ]


# ---- easy-vqa ----------------------------------------------------------------------------------


def unpacked(root: Path, rows: list[object], images: int) -> Path:
    data = root / "easy_vqa" / "data" / "train"
    write(data / "questions.json", rows)
    for number in range(images):
        write(data / "images" / f"{number}.png", png(number))
    return root


def test_easy_vqa_has_one_record_per_picture_with_all_its_questions(tmp_path: Path) -> None:
    rows = [["what shape?", "circle", 1], ["is it red?", "no", 0], ["is it blue?", "yes", 1]]
    source = easy_vqa(unpacked(tmp_path, rows, 2), "train")
    assert source.name == "easy-vqa/train"
    assert [said(record) for record in source] == [
        [("what shape?", "circle"), ("is it blue?", "yes")],
        [("is it red?", "no")],
    ]
    assert [sample.key for sample in source[0]] == ["easy-vqa/train/1/0", "easy-vqa/train/1/1"]
    assert source[0][0].messages[0].parts[0].read() == png(1)
    assert [sample.messages[0].role for sample in source[0]] == ["user", "user"]


def test_easy_vqa_shares_one_picture_object_so_that_its_key_is_computed_once(
    tmp_path: Path,
) -> None:
    record = easy_vqa(unpacked(tmp_path, [["a?", "b", 0], ["c?", "d", 0]], 1), "train")[0]
    (first,), (second,) = pictures(record)
    assert first is second


@pytest.mark.parametrize("row", [["q", "a"], ["q", "a", "0"], "q", {"q": 1}, ["q", None, 0]])
def test_easy_vqa_names_the_damaged_row(tmp_path: Path, row: object) -> None:
    root = unpacked(tmp_path, [["q", "a", 0], row], 1)
    with pytest.raises(UserError, match=r"questions\.json, row 1: must be"):
        easy_vqa(root, "train")


def test_easy_vqa_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"questions\.json does not exist\. Run `chiasm pull`"):
        easy_vqa(tmp_path, "train")
    unpacked(tmp_path, [["q", "a", 0], ["q", "a", 7]], 1)
    with pytest.raises(UserError, match=r"has no 7\.png \(1 of 2 pictures are missing\)"):
        easy_vqa(tmp_path, "train")
    write(tmp_path / "easy_vqa" / "data" / "train" / "questions.json", "[1, 2")
    with pytest.raises(UserError, match="not valid JSON"):
        easy_vqa(tmp_path, "train")


# ---- a folder with a list ----------------------------------------------------------------------


def test_a_list_keeps_its_order_and_neighbours_about_one_picture_share_a_record(
    tmp_path: Path,
) -> None:
    rows = [("a.png", "1?"), ("a.png", "2?"), ("sub/b.png", "3?"), ("a.png", "4?")]
    lines = [json.dumps({"image": i, "question": q, "answer": q[0]}) for i, q in rows]
    path = write(tmp_path / "train.jsonl", "\n".join([*lines, "", ""]))
    for source in (folder(path), folder(tmp_path)):
        assert [said(record) for record in source] == [
            [("1?", "1"), ("2?", "2")],
            [("3?", "3")],
            [("4?", "4")],
        ]
        assert pictures(source[1]) == [[Picture(path=str(tmp_path / "sub" / "b.png"))]]
        assert [sample.key for sample in source[2]] == ["train/4"]


def test_a_list_of_messages_puts_pictures_where_their_parts_stand(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "text", "text": "and"},
                {"type": "image"},
                {"type": "text", "text": "alike? Ж 🦊"},
            ],
        },
        {"role": "assistant", "content": "no"},
    ]
    write(tmp_path / "x.jsonl", json.dumps({"messages": messages, "images": ["1.png", "2.png"]}))
    sample = folder(tmp_path)[0][0]
    names = [
        p.path.rsplit("/")[-1] if isinstance(p, Picture) else p.text
        for p in sample.messages[1].parts
    ]
    assert names == ["1.png", "and", "2.png", "alike? Ж 🦊"]
    assert [message.role for message in sample.messages] == ["system", "user", "assistant"]


def test_videos_stand_where_their_parts_stand(tmp_path: Path) -> None:
    """A video is one file, or a list of its frames; lines about the same ones share a record."""
    content = [
        {"type": "video"},
        {"type": "image"},
        {"type": "video"},
        {"type": "text", "text": "?"},
    ]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "no"}]
    row = {"messages": messages, "images": ["1.png"], "videos": ["a.gif", ["b0.png", "b1.png"]]}
    write(tmp_path / "x.jsonl", "\n".join([json.dumps(row)] * 2))
    (record,) = folder(tmp_path)
    assert len(record) == 2
    a, one, b, _ = record[0].messages[0].parts
    file = {
        name: Picture(path=str(tmp_path / name)) for name in ("1.png", "a.gif", "b0.png", "b1.png")
    }
    assert (a, one) == (Video(file["a.gif"]), file["1.png"])
    assert b == Video((file["b0.png"], file["b1.png"]))


@pytest.mark.parametrize(
    ("part", "videos", "reason", "says"),
    [
        ({"type": "video"}, [], "video_count", '1 parts of type "video", but the row has 0 videos'),
        ({"type": "text", "text": "?"}, ["a.gif"], "video_count", "0 parts"),
        ({"type": "video"}, "a.gif", "bad_row", '"videos" must be a list'),
        ({"type": "video"}, [[]], "bad_video", "list of its frames"),
        ({"type": "video"}, [3], "bad_image", "path of a file"),
        ({"type": "video", "video": "a.gif"}, ["a.gif"], "bad_messages", "alone; videos holds"),
    ],
)
def test_a_row_of_videos_that_cannot_be_used_says_why(
    tmp_path: Path, part: dict, videos: object, reason: str, says: str
) -> None:
    messages = [{"role": "user", "content": [part]}, {"role": "assistant", "content": "no"}]
    with pytest.raises(BadSample, match=says) as caught:
        from_fields({"messages": messages, "videos": videos}, tmp_path, "k", "x.jsonl, line 1")
    assert caught.value.reason == reason


def test_text_only_samples_share_no_record(tmp_path: Path) -> None:
    said_twice = {
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    }
    write(tmp_path / "x.jsonl", "\n".join([json.dumps(said_twice)] * 2))
    assert [len(record) for record in folder(tmp_path)] == [1, 1]


IMAGE = {"type": "image"}
ASKED = {"role": "user", "content": [IMAGE, {"type": "text", "text": "?"}]}
REPLY = {"role": "assistant", "content": "!"}


@pytest.mark.parametrize(
    "row, reason, told",
    [
        ({"messages": [ASKED, REPLY], "images": []}, "picture_count", "1 parts .* 0 images"),
        (
            {"messages": [ASKED, REPLY], "images": ["a", "b"]},
            "picture_count",
            "1 parts .* 2 images",
        ),
        ({"messages": [REPLY], "images": ["a"]}, "picture_count", "0 parts .* 1 images"),
        ({"messages": [ASKED, REPLY]}, "picture_count", "1 parts .* 0 images"),
        ({"messages": [{"role": "usr", "content": "?"}], "images": []}, "bad_messages", '"user"'),
        ({"messages": [], "images": []}, "bad_messages", "no messages"),
        ({"messages": "hello", "images": []}, "bad_messages", "messages"),
        ({"messages": [{"role": "user"}], "images": []}, "bad_messages", "content"),
        ({"messages": [ASKED, REPLY], "images": "a.png"}, "bad_row", "list"),
        ({"messages": [ASKED, REPLY], "images": [3]}, "bad_image", "neither bytes nor"),
        ({"image": "a", "question": "?"}, "bad_row", "exactly the fields"),
        ({"image": "a", "question": 1, "answer": "b"}, "bad_row", '"question" must be a string'),
        ({"image": "a", "question": "", "answer": "b", "answr": "c"}, "bad_row", "answr"),
        ({"image": "http://x.org/a.png", "question": "", "answer": "b"}, "bad_image", "save it"),
        ({"image": None, "question": "", "answer": "b"}, "bad_image", "neither bytes nor"),
        ({"image": "a", "question": "\ud83e", "answer": "b"}, "bad_text", "UTF-8"),
        ([1], "bad_row", "JSON object"),
        (
            {
                "messages": [{"role": "user", "content": [{**IMAGE, "image": "b.png"}]}],
                "images": ["a"],
            },
            "bad_messages",
            "alone",
        ),
    ],
)
def test_a_damaged_line_is_named_when_the_list_is_opened(
    tmp_path: Path, row: object, reason: str, told: str
) -> None:
    good = json.dumps({"image": "a.png", "question": "?", "answer": "!"})
    write(tmp_path / "x.jsonl", f"{good}\n{json.dumps(row)}\n{good}")
    with pytest.raises(BadSample, match=rf"x\.jsonl, line 2: .*{told}") as caught:
        folder(tmp_path)
    assert caught.value.reason == reason


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", '{"image": "a.png", "question": "?", "answer": "!"}\n{"image"')
    with pytest.raises(UserError, match=r"x\.jsonl, line 2: not valid JSON"):
        folder(tmp_path)
    write(tmp_path / "x.jsonl", "[" * 100_000)
    with pytest.raises(UserError, match=r"x\.jsonl, line 1: not valid JSON"):
        folder(tmp_path)
    write(tmp_path / "x.jsonl", b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"x\.jsonl: the text is not valid UTF-8"):
        folder(tmp_path)


# ---- a folder with text beside its pictures ----------------------------------------------------


def test_text_beside_a_picture_belongs_to_it(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "sub/c.webp", ".hidden/d.png"):
        write(tmp_path / name, png(1))
    write(tmp_path / "a.txt", " A fox.\n")
    write(
        tmp_path / "b.json",
        [{"question": "q1", "answer": "a1"}, {"question": "q2", "answer": "a2"}],
    )
    write(tmp_path / "sub" / "c.json", {"messages": [ASKED, REPLY]})
    write(tmp_path / "notes.txt", "not about a picture")
    source = folder(tmp_path)
    assert [said(record) for record in source] == [
        [("Describe this picture.", "A fox.")],
        [("q1", "a1"), ("q2", "a2")],
        [("?", "!")],
    ]
    shown = [[Path(p.path).name for p in own] for record in source for own in pictures(record)]
    assert shown == [["a.png"], ["b.JPG"], ["b.JPG"], ["c.webp"]]
    assert [sample.key for record in source for sample in record] == ["a", "b/0", "b/1", "sub/c/0"]


def test_a_picture_without_text_is_a_bad_sample_and_not_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / name, png(1))
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "b.txt", "  ")
    source = folder(tmp_path)
    assert len(source) == 3
    assert said(source[0]) == [("Describe this picture.", "one")]
    for number in (1, 2):
        with pytest.raises(BadSample, match="has no text") as caught:
            source[number]
        assert caught.value.reason == "no_text"


def test_a_folder_of_nothing_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no sample: pictures with"):
        folder(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        folder(tmp_path / "nowhere")


def test_two_lists_are_not_mixed_silently(tmp_path: Path) -> None:
    for name in ("test.jsonl", "train.jsonl"):
        write(tmp_path / name, json.dumps({"image": "a", "question": "?", "answer": "!"}))
    with pytest.raises(UserError, match=r"\(test\.jsonl, train\.jsonl\): name the one"):
        folder(tmp_path)


# ---- all of them -------------------------------------------------------------------------------


def test_pictures_are_read_when_asked_for(tmp_path: Path) -> None:
    """Opening and indexing touch no picture: a lost file shows when it is read, by its name."""
    write(tmp_path / "x.jsonl", json.dumps({"image": "lost.png", "question": "?", "answer": "!"}))
    [[picture]] = pictures(folder(tmp_path)[0])
    with pytest.raises(MediaError, match=r"lost\.png does not exist"):
        picture.read()
    write(tmp_path / "lost.png", png(9))
    assert picture.read() == png(9)


def test_sources_do_not_import_torch() -> None:
    """Looking at data should not take the seconds that torch takes to load."""
    script = "import sys, chiasm.data.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
