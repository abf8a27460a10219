"""GGUF: right values from sound files, one kind of error and little time for all others."""

from __future__ import annotations

import random
import re
import struct
import time
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tests.checkpoint.toys import (
    decoder,
    gguf_entry,
    gguf_head,
    gguf_place,
    gguf_string,
    write_gguf,
)

from chiasm.checkpoint.gguf import STRINGS, read_gguf
from chiasm.checkpoint.weights import CheckpointError


def written(folder: Path, data: bytes) -> Path:
    path = folder / "toy.gguf"
    path.write_bytes(data)
    return path


def refused(folder: Path, data: bytes, words: str) -> None:
    path = written(folder, data)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_gguf(path)
    assert str(path) in str(caught.value)


def test_tensors_and_metadata_are_those_of_the_gguf_package(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "a.gguf", decoder(width=64, head_width=16), "Q8_0", general__name="toy ✓"
    )
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    assert set(ours) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours[tensor.name].numpy(), expected)
    for key, entry in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert ours.metadata[key] == entry.contents(), key
    assert ours.metadata["general.name"] == "toy ✓"
    assert ours.origin("output_norm.weight") == "a.gguf:output_norm.weight (F32)"


def test_what_comes_out_can_be_written_to(tmp_path: Path) -> None:
    stored = read_gguf(write_gguf(tmp_path / "a.gguf", decoder()))
    once = stored["output_norm.weight"]
    once += 1
    assert torch.equal(stored["output_norm.weight"] + 1, once)


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    model = decoder()
    with torch.no_grad():
        model.norm.weight[3] = float("nan")
    stored = read_gguf(write_gguf(tmp_path / "a.gguf", model))
    with pytest.raises(CheckpointError, match=r"output_norm\.weight.*not numbers"):
        stored["output_norm.weight"]


ALIGNED = struct.pack("<I", 32)
DIRECTED = {
    "empty": (b"", "empty"),
    "not gguf": (b"PK\x03\x04" + bytes(40), "does not begin with GGUF"),
    "version 1": (gguf_head(version=1), "version is 1"),
    "big-endian": (gguf_head(version=3 << 24), "version"),
    "cut in the head": (gguf_head()[:12], "ends in the middle"),
    "2^62 entries": (gguf_head(entries=1 << 62), "claims"),
    "2^62 tensors": (gguf_head(tensors=1 << 62), "claims"),
    "string of 2^63": (gguf_head(entries=1) + struct.pack("<Q", 1 << 63), "over the limit"),
    "string to the end": (gguf_head(entries=1) + struct.pack("<Q", 60000), "ends in the middle"),
    "text that is none": (gguf_head(entries=1) + gguf_entry(b"\xff\xfe", 4, ALIGNED), "utf-8"),
    "unknown type": (gguf_head(entries=1) + gguf_entry(b"k", 13, ALIGNED), "unknown type 13"),
    "bool of 7": (gguf_head(entries=1) + gguf_entry(b"k", 7, b"\x07"), "truth value"),
    "array in array": (
        gguf_head(entries=1) + gguf_entry(b"k", 9, struct.pack("<IQ", 9, 1 << 40)),
        "array of type 9",
    ),
    "array of 2^60 numbers": (
        gguf_head(entries=1) + gguf_entry(b"k", 9, struct.pack("<IQ", 12, 1 << 60)),
        "ends in the middle",
    ),
    "array of many strings": (
        gguf_head(entries=1) + gguf_entry(b"k", 9, struct.pack("<IQ", 8, STRINGS + 1)),
        "strings",
    ),
    "a key twice": (gguf_head(entries=2) + gguf_entry(b"k", 4, ALIGNED) * 2, "twice"),
    "a tensor twice": (gguf_head(tensors=2) + gguf_place(b"t", [8]) * 2 + bytes(96), "twice"),
    "2^32-1 dimensions": (
        gguf_head(tensors=1) + gguf_string(b"t") + struct.pack("<I", (1 << 32) - 1),
        "dimensions",
    ),
    "no dimension": (gguf_head(tensors=1) + gguf_place(b"t", []), "0 dimensions"),
    "a size of 0": (gguf_head(tensors=1) + gguf_place(b"t", [0]) + bytes(64), "cannot be stored"),
    "product 2^64": (
        gguf_head(tensors=1) + gguf_place(b"t", [1 << 32, 1 << 32]) + bytes(64),
        "does not lie within",
    ),
    "beyond the end": (
        gguf_head(tensors=1) + gguf_place(b"t", [8], offset=1 << 40) + bytes(64),
        "does not lie within",
    ),
    "crooked offset": (
        gguf_head(tensors=1) + gguf_place(b"t", [2], offset=4) + bytes(96),
        "does not lie within",
    ),
    "overlap": (
        gguf_head(tensors=2)
        + gguf_place(b"t", [16])
        + gguf_place(b"u", [16], offset=32)
        + bytes(256),
        "overlap",
    ),
    "unknown quant": (gguf_head(tensors=1) + gguf_place(b"t", [256], 19) + bytes(999), "type 19"),
    "not whole blocks": (gguf_head(tensors=1) + gguf_place(b"t", [33], 2) + bytes(99), "Q4_0"),
    **{
        f"alignment {value}": (
            gguf_head(entries=1) + gguf_entry(b"general.alignment", 4, struct.pack("<I", value)),
            "alignment",
        )
        for value in (0, 1, 3, 48, 1 << 30)
    },
    "alignment as text": (
        gguf_head(entries=1) + gguf_entry(b"general.alignment", 8, gguf_string(b"32")),
        "alignment",
    ),
}


@pytest.mark.parametrize("case", DIRECTED)
def test_a_lie_in_the_header_is_told(case: str, tmp_path: Path) -> None:
    data, words = DIRECTED[case]
    refused(tmp_path, data, words)


def test_many_short_strings_cost_little(tmp_path: Path) -> None:
    count = STRINGS // 16  # counting memory is slow, so a sixteenth of what is allowed
    data = gguf_entry(b"k", 9, struct.pack("<IQ", 8, count) + bytes(8 * count))
    path = written(tmp_path, gguf_head(entries=1) + data)
    tracemalloc.start()
    stored = read_gguf(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(stored.metadata["k"]) == count
    assert peak < (256 << 20) / 16


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "no.gguf"))):
        read_gguf(tmp_path / "no.gguf")


def test_damage_gives_one_kind_of_error_and_costs_no_time(tmp_path: Path) -> None:
    """2,000 files: bytes flipped, numbers made huge, pieces cut out, in the header and behind it."""
    source = write_gguf(
        tmp_path / "a.gguf", decoder(), tokenizer__ggml__tokens=["a", "b", "cc"]
    ).read_bytes()
    head = len(source) - sum(t.bytes for t in read_gguf(tmp_path / "a.gguf").stored.values())
    draw = random.Random(7)
    outcomes = {"loads": 0, "refused": 0}
    slowest = 0.0
    for _ in range(2000):
        data = bytearray(source)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(min(head, len(data)) or 1)
            if (how := draw.randrange(4)) == 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            elif how == 1:
                huge = draw.choice((0, 1, 1 << 31, 1 << 32, 1 << 62, (1 << 64) - 1))
                data[at : at + 8] = struct.pack("<Q", huge)
            elif how == 2:
                del data[at : at + draw.randint(1, 40)]
            else:
                data = data[: draw.randrange(len(data) + 1)]
        path = written(tmp_path, bytes(data))
        began = time.monotonic()
        try:
            stored = read_gguf(path)
            for name in stored:
                stored[name]
            outcomes["loads"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
        slowest = max(slowest, time.monotonic() - began)
    assert outcomes["refused"] > 1000, outcomes
    assert slowest < 2, slowest
