"""Parquet files and Arrow folders: columns of others, damaged groups, files that are missing."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.pairing.layouts import arrow, columns, png, records, shards
from tests.data.pairing.test_webdataset import told

from chiasm.base.errors import UserError
from chiasm.data.pairing import pairs
from chiasm.data.pairs import captioned
from chiasm.data.rows import BadSample
from chiasm.data.shards import Row, write_shard
from chiasm.inputs.message import Message, Picture, Sample, Text, Video


def table(path: Path, /, **held: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(held), path)
    return path


def test_pictures_as_structs_bytes_and_paths(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    structs = [{"bytes": png(1), "path": "1.png"}, {"bytes": None, "path": "p/2.png"}]
    held = {"image": [*structs, {"bytes": None, "path": None}, None], "text": ["a", "b", "c", "d"]}
    source = pairs(str(table(tmp_path / "s.parquet", **held, id=[1, 2, 3, 4], v=[[0.5]] * 4)))
    assert told(source) == ["a", "b", "(bad_image)", "(no_picture)"]
    assert source[0].shown == Picture(data=png(1), path="1.png") and source[0].notes == {"id": "1"}
    assert source[1].shown == Picture(path=str(tmp_path / "p/2.png"))
    for name, images in (("bytes", [png(1), b"x"]), ("path", ["p/a.png", "p/b.mp4"])):
        source = pairs(str(table(tmp_path / f"{name}.parquet", image=images, caption=["a", "b"])))
        assert told(source) == ["a", "b"]
    assert isinstance(source[1].shown, Video)
    assert told(pairs(str(table(tmp_path / "out.parquet", path=["../a.png"], text=["a"])))) == [
        "(outside)"
    ]


@pytest.mark.parametrize(
    "held, expected",
    [
        ({"url": ["https://a/b.png"], "caption": ["x"]}, "by their address only .column url., and"),
        ({"a": [1]}, "must have a column of pictures .*; its columns are a"),
        ({"image": [b"x"]}, "and one of captions"),
    ],
)
def test_other_columns_are_refused_when_the_file_is_opened(
    held: dict[str, object], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=expected):
        pairs(str(table(tmp_path / "a.parquet", **held)))


def test_only_rows_of_a_damaged_group_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    held = records(12)
    for crc in (True, False):
        pq.write_table(columns(held), path, row_group_size=4, write_page_checksum=crc)
        group = pq.read_metadata(path).row_group(1).column(0)
        data = bytearray(path.read_bytes())
        start = group.dictionary_page_offset or group.data_page_offset
        data[start : start + 12] = b"\xff" * 12  # the header of a page, which no checksum covers
        path.write_bytes(data)
        captions = [caption for caption, _ in held]
        assert told(pairs(str(path))) == captions[:4] + ["(damaged_file)"] * 4 + captions[8:]


def test_a_footer_cut_off_or_lying_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(columns(records(4)), path)
    whole = path.read_bytes()
    for data in (whole[:-9], whole[:100], b"", b"PAR1"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.parquet cannot be read as a Parquet file"):
            pairs(str(path))


def test_files_of_several_sets_are_not_mixed(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", image=[png(1)], text=["a"], author=["x"])
    table(tmp_path / "b.parquet", image=[png(1)], text=["a"], authos=["x"])
    with pytest.raises(UserError, match=r"b\.parquet has other columns .image, text, authos. than"):
        pairs(str(tmp_path))


def test_files_that_names_and_indexes_promise_are_missed(tmp_path: Path) -> None:
    for number in (0, 2):
        table(tmp_path / f"h/data/train-{number:05}-of-00003.parquet", image=[png(1)], text=["a"])
    source = pairs(str(tmp_path / "h"))
    assert told(source) == ["a", "a", "(shard_truncated)"]
    with pytest.raises(BadSample, match=r"train-00001-of-00003\.parquet: it is not there"):
        source[2]
    assert len(pairs(str(tmp_path / "h/data/train-00000-of-00003.parquet"))) == 1
    shards(tmp_path / "s", records(6))
    (tmp_path / "s/00000.parquet").unlink()
    source = pairs(str(tmp_path / "s"))
    assert len(source) == 4
    with pytest.raises(BadSample, match=r"00000\.parquet: it is not there; .* there are 3"):
        source[3]


def test_rows_of_our_shards_are_pairs_or_say_why_not(tmp_path: Path) -> None:
    picture, video = Picture(data=png(1), path="1.png"), Video(Picture(data=b"gif", path="a.gif"))
    asked = Message("user", (picture, Text("What colour?")))
    talk = Sample((asked, Message("assistant", (Text("red"),))), "talk")
    twice = Sample(
        (Message("user", (picture, picture)), Message("assistant", (Text("x"),))), "twice"
    )
    rows = [captioned(picture, "a fox", "k/1"), captioned(video, "it runs", "k/2"), talk, twice]
    facts = {"score": 0.5, "lang": "en"}
    write_shard(
        tmp_path / "a.parquet",
        [Row(sample, "made", "CC0-1.0", facts) for sample in rows],
        {"score": float, "lang": str},
    )
    source = pairs(str(tmp_path / "a.parquet"))
    assert told(source) == ["a fox", "it runs", "(not_a_caption)", "(not_a_caption)"]
    assert source[0].notes == {"score": "0.5", "lang": "en"} and source[0].key == "k/1"
    assert source[1].shown == video


def test_a_picture_that_is_not_that_of_its_checksum_is_refused(tmp_path: Path) -> None:
    """Whoever rewrites a shard makes new checksums of pages; the picture's own stays."""
    shards(tmp_path, records(6))
    path = tmp_path / "00000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1]["images"][0]["bytes"] = png(99)
    rows[2]["sha256"] = []
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    assert told(pairs(str(path))) == [
        "Bild 0: ein Fuchs 🦊, rot",
        "(wrong_checksum)",
        "(wrong_checksum)",
    ]


# ---- folders of save_to_disk ---------------------------------------------------------------------


def split(root: Path) -> Path:
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for name in ("train", "test"):
        arrow(root / name, records(3))
    return root


def test_splits_are_named_and_one_alone_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds the splits train, test: name one, as .*train"):
        pairs(str(split(tmp_path)))
    assert pairs(str(tmp_path / "test"))[2].key == "test/2"
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test"]}')
    assert len(pairs(str(tmp_path))) == 3


def test_a_stream_cut_between_two_batches_is_told(tmp_path: Path) -> None:
    """Arrow's own reader takes the end of a file for the end of the stream."""
    root = arrow(tmp_path, records(12))
    path = root / "data-00000-of-00001.arrow"
    data = path.read_bytes()
    with pa.ipc.open_stream(data[:-8]) as stream:
        assert stream.read_all().num_rows == 12
    path.write_bytes(data[:-8])
    captions = [caption for caption, _ in records(12)]
    assert told(pairs(str(root))) == [*captions, "(shard_truncated)"]
    path.write_bytes(data + b"more")
    assert told(pairs(str(root))) == [*captions, "(shard_truncated)"]
    path.write_bytes(data[: len(data) // 2])
    found = told(pairs(str(root)))
    assert found == [*captions[: len(found) - 1], "(shard_truncated)"] and len(found) in (5, 9)
    path.unlink()
    assert told(pairs(str(root))) == ["(shard_truncated)"]


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("state.json", {"_data_files": []}, "names no data files beside it"),
        ("state.json", {"_data_files": [{"filename": "../x.arrow"}]}, "names no data files beside"),
        ("state.json", {"_data_files": [3]}, "names no data files beside it"),
        ("state.json", [], "must hold a JSON object"),
        ("dataset_info.json", None, "does not exist"),
        ("state.json", "{", "not valid JSON"),
    ],
)
def test_a_folder_that_is_incomplete_is_told(
    name: str, content: object, told: str, tmp_path: Path
) -> None:
    arrow(tmp_path, records(1))
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    if content is None:
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=told):
        pairs(str(tmp_path))


def test_old_lists_of_chosen_rows_are_refused(tmp_path: Path) -> None:
    arrow(tmp_path, records(1))
    state = json.loads((tmp_path / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="saved with a list of chosen rows"):
        pairs(str(tmp_path))
