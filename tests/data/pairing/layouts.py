"""The same records in every layout that is read: by other people's writers where there are some.

records (caption, picture) ──► folder, csv, tsv, jsonl, tar, parquet, shards, arrow, pages
"""

from __future__ import annotations

import csv
import html
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from chiasm.data.pairs import captioned
from chiasm.data.shards import Row, write_index, write_shard
from chiasm.inputs.message import Picture

Records = Sequence[tuple[str, bytes]]


@cache
def png(shade: int) -> bytes:
    """A small picture, another one for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade % 256, shade // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def records(count: int) -> list[tuple[str, bytes]]:
    return [(f"Bild {n}: ein Fuchs 🦊, rot", png(n)) for n in range(count)]


def numbered(number: int) -> str:
    return f"{number:05}.png"


def pictures(root: Path, held: Records) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number, (_, data) in enumerate(held):
        (root / numbered(number)).write_bytes(data)
    return root


def folder(root: Path, held: Records) -> Path:
    pictures(root, held)
    for number, (caption, _) in enumerate(held):
        (root / f"{number:05}.txt").write_bytes(caption.encode())
    return root


def table(root: Path, held: Records, name: str, dialect: str) -> Path:
    with open(pictures(root, held) / name, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, dialect)
        rows.writerow(("image", "caption"))
        rows.writerows((numbered(n), caption) for n, (caption, _) in enumerate(held))
    return root / name


def jsonl(root: Path, held: Records) -> Path:
    rows = (
        {"image": numbered(number), "caption": caption, "n": number}
        for number, (caption, _) in enumerate(held)
    )
    path = pictures(root, held) / "list.jsonl"
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def tar(root: Path, held: Records, form: int = tarfile.PAX_FORMAT) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "00000.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for number, (caption, data) in enumerate(held):
            add(archive, f"{number:05}.png", data)
            add(archive, f"{number:05}.txt", caption.encode())
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def columns(held: Records) -> pa.Table:
    shown = [{"bytes": data, "path": numbered(n)} for n, (_, data) in enumerate(held)]
    return pa.table({"image": shown, "caption": [caption for caption, _ in held]})


def parquet(root: Path, held: Records) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "table.parquet"
    pq.write_table(columns(held), path, row_group_size=4, write_page_checksum=True)
    return path


def shards(root: Path, held: Records) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    rows = [
        Row(
            captioned(Picture(data=data, path=numbered(n)), caption, f"made/{n}"), "made", "CC0-1.0"
        )
        for n, (caption, data) in enumerate(held)
    ]
    half = len(rows) // 2
    written = [
        write_shard(root / f"0000{n}.parquet", part, {})
        for n, part in enumerate((rows[:half], rows[half:]))
    ]
    write_index(root, written, {})
    return root


def arrow(root: Path, held: Records, batch: int = 4) -> Path:
    """As `Dataset.save_to_disk` of datasets 5.2 writes it."""
    root.mkdir(parents=True, exist_ok=True)
    whole = columns(held)
    with pa.ipc.new_stream(root / "data-00000-of-00001.arrow", whole.schema) as stream:
        stream.write_table(whole, max_chunksize=batch)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    info = {"citation": "", "features": {}, "homepage": "", "license": ""}
    (root / "state.json").write_text(json.dumps(state, indent=2))
    (root / "dataset_info.json").write_text(json.dumps(info, indent=2))
    return root


def pages(root: Path, held: Records) -> Path:
    figures = "\n".join(
        f'<p>vor <img src="{numbered(n)}" alt="{html.escape(caption)}"> nach'
        for n, (caption, _) in enumerate(held)
    )
    page = f"<!doctype html><meta charset=utf-8><title>T</title><body>\n{figures}\n"
    (pictures(root, held) / "page.html").write_bytes(page.encode())
    return root


LAYOUTS: dict[str, Callable[[Path, Records], Path]] = {
    "folder": folder,
    "csv": lambda root, held: table(root, held, "list.csv", "excel"),
    "tsv": lambda root, held: table(root, held, "list.tsv", "excel-tab"),
    "jsonl": jsonl,
    "tar": tar,
    "parquet": parquet,
    "shards": shards,
    "arrow": arrow,
    "pages": pages,
}
