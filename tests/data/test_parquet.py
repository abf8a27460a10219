"""Parquet: what is written comes back, others read it, damage is told and never guessed over."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from chiasm.base.errors import UserError
from chiasm.data.parquet import GROUP_ROWS, parquet, write_parquet
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Picture, Sample, Text, Video


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade % 256, shade // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def sample(number: int, pictures: int = 1) -> Sample:
    shown = tuple(Picture(data=png(number + i), path=f"{number}-{i}.png") for i in range(pictures))
    asked = Message("user", (*shown, Text(f"Frage {number}? 🦊")))
    return Sample((asked, Message("assistant", (Text(f"ответ {number}"),))))


def same(one: Sample, other: Sample) -> bool:
    return one.messages == other.messages


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    samples = [sample(n, pictures=n % 4) for n in range(2 * GROUP_ROWS + 5)]
    assert write_parquet(tmp_path / "a.parquet", samples) == len(samples)
    source = parquet(tmp_path / "a.parquet")
    assert len(source) == len(samples)
    # Backwards, so that no group is read in the order in which it was written.
    for number in reversed(range(len(samples))):
        (found,) = source[number]
        assert same(found, samples[number])
        assert found.key == f"a/{number}"
    assert [same(found, wanted) for (found,), wanted in zip(source, samples, strict=True)]


def test_videos_come_back_as_videos(tmp_path: Path) -> None:
    """In their places between pictures; those given as frames are refused, and nothing is written."""
    a, b = (Video(Picture(data=png(n), path=f"{n}.gif")) for n in (1, 2))
    picture, text = Picture(data=png(3), path="3.png"), Text("which?")
    asked = Message("user", (a, picture, b, text))
    said = Sample((asked, Message("assistant", (Text("a"),))))
    write_parquet(tmp_path / "a.parquet", [said, sample(1)])
    source = parquet(tmp_path / "a.parquet")
    assert same(source[0][0], said) and same(source[1][0], sample(1))
    frames = Video((picture, picture))
    with pytest.raises(UserError, match="list of frames cannot be written"):
        write_parquet(tmp_path / "b.parquet", [Sample((Message("user", (frames,)),))])
    assert not (tmp_path / "b.parquet").exists()


def test_a_picture_on_disk_is_written_with_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png(3))
    asked = Message("user", (Picture(path=str(tmp_path / "p.png")),))
    write_parquet(tmp_path / "a.parquet", [Sample((asked, Message("assistant", (Text("x"),))))])
    (tmp_path / "p.png").unlink()
    picture = parquet(tmp_path / "a.parquet")[0][0].messages[0].parts[0]
    assert picture.read() == png(3)
    assert picture.path == "p.png"


def test_others_read_it_as_it_is(tmp_path: Path) -> None:
    """The columns that docs/formats.md names, in plain Arrow types without extensions."""
    write_parquet(tmp_path / "a.parquet", [sample(1, pictures=2)])
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows == [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "text": None},
                        {"type": "image", "text": None},
                        {"type": "text", "text": "Frage 1? 🦊"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "ответ 1"}]},
            ],
            "images": [
                {"bytes": png(1), "path": "1-0.png"},
                {"bytes": png(2), "path": "1-1.png"},
            ],
            "videos": [],
        }
    ]


def test_row_groups_are_small_and_only_the_needed_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [sample(n) for n in range(3 * GROUP_ROWS)])
    assert pq.read_metadata(path).num_row_groups == 3
    source = parquet(path)
    reads = source.rows._table.cache_info
    for number in range(GROUP_ROWS, 2 * GROUP_ROWS):
        source[number]
    assert reads().misses == 1


def foreign(path: Path, messages: list[object], images: object, **more: object) -> Path:
    """Files as other programs write them: whatever Arrow infers."""
    columns = {"messages": messages, **more} | ({} if images is None else {"images": images})
    pq.write_table(pa.table(columns), path)
    return path


def test_files_of_others_are_read(tmp_path: Path) -> None:
    """Content as a string, fields of other parts left empty, pictures by path, further columns."""
    text = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    source = parquet(foreign(tmp_path / "t.parquet", [text], None, id=[7]))
    assert [part for m in source[0][0].messages for part in m.parts] == [Text("hi"), Text("ho")]
    parts = [
        {"type": "image", "text": "", "extra": None},
        {"type": "text", "text": "?", "extra": None},
    ]
    shown = [{"role": "user", "content": parts, "name": None}]
    images = [[{"bytes": None, "path": "p.png"}]]
    source = parquet(foreign(tmp_path / "i.parquet", [shown], images))
    assert source[0][0].messages[0].parts == (Picture(path=str(tmp_path / "p.png")), Text("?"))


ASKED = [{"role": "user", "content": [{"type": "image", "text": None}]}]


@pytest.mark.parametrize(
    "images, reason",
    [
        ([{"bytes": b"x", "path": None}] * 2, "picture_count"),
        ([], "picture_count"),
        (None, "picture_count"),
        ([{"bytes": None, "path": None}], "bad_image"),
        ([None], "bad_image"),
        ([{"bytes": None, "path": "https://example.org/a.png"}], "bad_image"),
    ],
)
def test_a_bad_row_is_itself_bad_and_no_other(tmp_path: Path, images: object, reason: str) -> None:
    good = [{"bytes": b"good", "path": None}]
    path = foreign(tmp_path / "a.parquet", [ASKED, ASKED, ASKED], [good, images, good])
    source = parquet(path)
    assert source[0][0].messages == source[2][0].messages
    with pytest.raises(BadSample, match=r"a\.parquet, row 1: ") as caught:
        source[1]
    assert caught.value.reason == reason


def test_rows_of_several_files_are_numbered_through_and_named_by_their_own_file(
    tmp_path: Path,
) -> None:
    for name, count in (("b", 3), ("a", 2)):
        write_parquet(tmp_path / f"{name}.parquet", [sample(n) for n in range(count)])
    empty = pq.read_table(tmp_path / "a.parquet").slice(0, 0)
    pq.write_table(empty, tmp_path / "aa.parquet")
    foreign(tmp_path / "c.parquet", [ASKED] * 4, [[{"bytes": b"x", "path": None}]] * 3 + [[]])
    for pattern in (tmp_path, str(tmp_path / "*.parquet")):
        source = parquet(pattern)
        assert len(source) == 2 + 0 + 3 + 4
        assert same(source[2][0], sample(0))
        with pytest.raises(BadSample, match=r"c\.parquet, row 3: "):
            source[8]
        for outside in (-1, 9):
            with pytest.raises(IndexError):
                source[outside]


def test_damaged_pages_are_found_by_their_checksum(tmp_path: Path) -> None:
    """One changed byte in the data: rows of that group are refused, those of others are intact."""
    path = tmp_path / "a.parquet"
    samples = [sample(n) for n in range(2 * GROUP_ROWS)]
    write_parquet(path, samples)
    column = pq.read_metadata(path).row_group(0).column(3)  # the bytes of the pictures
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    source = parquet(path)
    with pytest.raises(BadSample, match=r"a\.parquet, row 5: row group 0 is damaged") as caught:
        source[5]
    assert caught.value.reason == "damaged_file"
    assert same(source[GROUP_ROWS][0], samples[GROUP_ROWS])


def test_what_is_no_parquet_file_of_samples_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "a.parquet"
    write_parquet(whole, [sample(1)])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cut\.parquet cannot be read as a Parquet file"):
        parquet(cut)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no column `messages`; its columns are text"):
        parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="No Parquet file matches"):
        parquet(tmp_path / "none*.parquet")
    write_parquet(tmp_path / "empty.parquet", [])
    with pytest.raises(UserError, match="holds no row"):
        parquet(tmp_path / "empty.parquet")


def test_a_picture_that_cannot_be_read_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [sample(1)])
    lost = Sample((Message("user", (Picture(path=str(tmp_path / "lost.png")),)),))
    with pytest.raises(MediaError, match="does not exist"):
        write_parquet(path, [sample(2), lost])
    assert same(parquet(path)[0][0], sample(1))
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
