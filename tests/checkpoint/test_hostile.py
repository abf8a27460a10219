"""Every format against every fault: one typed error that names file and tensor, nothing executed.

Single formats have their own cases: test_weights (safetensors, index), test_gguf, test_pth,
test_tiktoken, test_onnx. Here the same faults go through all of them, up to the loaded model.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoint.test_vocabulary import metadata, smollm
from tests.checkpoint.toys import decoder
from torch import Tensor

from chiasm.checkpoint.folder import Opened, load_decoder, save_decoder
from chiasm.checkpoint.gguf import read_gguf
from chiasm.checkpoint.gguf_write import save_gguf, write_gguf
from chiasm.checkpoint.pth import read_consolidated, read_pth
from chiasm.checkpoint.shards import write_shards
from chiasm.checkpoint.vocabulary import tokenizer_files, tokenizer_metadata
from chiasm.checkpoint.weights import (
    CheckpointError,
    Provenance,
    load_strict,
    read_json,
    read_tensors,
)
from chiasm.models import Decoder

Tensors = dict[str, Tensor]
VICTIM = "blk.1.ffn_up.weight"
THEIRS = {
    "safetensors": "model.layers.1.mlp.up_proj.weight",
    "shards": "model.layers.1.mlp.up_proj.weight",
    "gguf": VICTIM,
    "pth": "blocks.1.mlp.up.weight",
    "pth shards": "blocks.1.mlp.up.weight",
}


def stored(kind: str, folder: Path) -> Tensors:
    """The tensors of a toy as a file of this kind has them."""
    if kind.startswith("pth"):
        return dict(decoder().state_dict())
    if kind == "gguf":
        model = decoder()
        save_gguf(
            Opened(model.config, model.state_dict(), Provenance("")), folder / "x.gguf", "F32"
        )
        return {name: t.clone() for name, t in read_gguf(folder / "x.gguf").items()}
    save_decoder(decoder(), folder / "x")
    return {name: t.clone() for name, t in read_tensors(folder / "x").items()}


def put(kind: str, folder: Path, tensors: Tensors) -> Callable[[], Any]:
    """Write tensors as this kind, and return what loads a model from them."""
    home = folder / "model"
    home.mkdir()
    if kind == "gguf":
        given = read_gguf(folder / "x.gguf")
        write_gguf(home / "a.gguf", given.metadata, tensors, dict.fromkeys(tensors, "F32"))
        return lambda: load_decoder(home / "a.gguf")
    if kind == "pth":
        torch.save(tensors, home / "consolidated.00.pth")
        return lambda: load_plain(home)
    if kind == "pth shards":
        for i in range(2):
            halves = {n: t.chunk(2)[i].clone() if t.ndim > 1 else t for n, t in tensors.items()}
            torch.save(halves, home / f"consolidated.{i:02}.pth")
        return lambda: load_plain(home)
    write_shards(home, tensors, 1 << 30 if kind == "safetensors" else 8192)
    (home / "config.json").write_bytes((folder / "x" / "config.json").read_bytes())
    return lambda: load_decoder(home)


def load_plain(home: Path) -> Decoder:
    def dim_of(name: str) -> int | None:
        return None if "norm" in name else 0

    model = decoder()
    load_strict(model, read_consolidated(home, dim_of))
    return model


FAULTS: dict[str, Callable[[Tensors, str], object]] = {
    "missing": lambda t, name: t.pop(name),
    "extra": lambda t, name: t.update({f"{name}.more": torch.zeros(2)}),
    "turned": lambda t, name: t.update({name: t[name].t().contiguous()}),
    "a row more": lambda t, name: t.update({name: torch.cat((t[name], t[name][:2]))}),
    "flat": lambda t, name: t.update({name: t[name].reshape(-1)}),
    "of another layer": lambda t, name: t.update({name.replace(".1.", ".7."): t.pop(name)}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", THEIRS)
def test_a_tensor_that_does_not_fit_is_named(kind: str, fault: str, tmp_path: Path) -> None:
    tensors = stored(kind, tmp_path)
    FAULTS[fault](tensors, THEIRS[kind])
    load = put(kind, tmp_path, tensors)
    with pytest.raises(CheckpointError) as caught:
        load()
    told = str(caught.value)
    assert any(part in told for part in ("blocks.1.mlp.up", THEIRS[kind], "layers.7", "blk.7")), (
        told
    )


@pytest.mark.parametrize("kind", THEIRS)
def test_the_same_file_without_a_fault_loads(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path, stored(kind, tmp_path))()


@pytest.mark.parametrize("cut", [1, 100, 0.5, 0.99])
@pytest.mark.parametrize("kind", THEIRS)
def test_a_file_that_is_cut_is_named(kind: str, cut: float, tmp_path: Path) -> None:
    load = put(kind, tmp_path, stored(kind, tmp_path))
    for file in sorted((tmp_path / "model").iterdir()):
        if file.suffix == ".json":
            continue
        data = file.read_bytes()
        file.write_bytes(data[:-cut] if isinstance(cut, int) else data[: int(len(data) * cut)])
        with pytest.raises(CheckpointError, match=file.name):
            load()
        file.write_bytes(data)
    load()


@pytest.mark.parametrize("kind", ["safetensors", "shards", "pth", "pth shards"])
def test_a_file_of_another_kind_under_the_name_is_refused(kind: str, tmp_path: Path) -> None:
    load = put(kind, tmp_path, stored(kind, tmp_path))
    poison = b"\x80\x02cos\nmkdir\nX" + struct.pack("<I", len(str(tmp_path)) + 4)
    poison += f"{tmp_path}/ran".encode() + b"\x85R."
    for data in (poison, b"GGUF" + bytes(60), b"", b"{}", bytes(4096), b"PK\5\6" + bytes(18)):
        for file in (tmp_path / "model").iterdir():
            if file.suffix != ".json":
                file.write_bytes(data)
        with pytest.raises(CheckpointError):
            load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("target", ["a folder", "a pipe", "nothing", "itself"])
def test_what_is_no_file_is_told_and_waits_for_nobody(target: str, tmp_path: Path) -> None:
    import os

    place = tmp_path / "consolidated.00.pth"
    if target == "a folder":
        place.mkdir()
    elif target == "a pipe":
        os.mkfifo(place)
    elif target == "nothing":
        place.symlink_to(tmp_path / "gone")
    else:
        place.symlink_to(place)
    with pytest.raises(CheckpointError):
        read_pth(place)


# ---- random damage -----------------------------------------------------------------------------


def hit(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) or 1)
    how = draw.randrange(4)
    if how == 0:
        data[at : at + 1] = draw.randbytes(1)
    elif how == 1:
        data[at : at + draw.randint(1, 30)] = b""
    elif how == 2:
        data[at:at] = draw.choice(
            (b"9" * 30, b'"', b"[" * 5, b"\\u0000", b"-1", b"../", b"null", b"\xff")
        )
    else:
        del data[at:]


def test_five_hundred_damaged_indexes(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "two.safetensors")
    whole = {"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    source, index = json.dumps(whole).encode(), tmp_path / "model.safetensors.index.json"
    draw, refused = random.Random(19), 0
    for _ in range(500):
        data = bytearray(source)
        for _ in range(draw.randint(1, 3)):
            hit(draw, data)
        index.write_bytes(data)
        try:
            assert set(read_tensors(tmp_path)) == {"a", "b"}
        except CheckpointError:
            refused += 1
    assert refused > 300, refused


def test_three_hundred_damaged_settings(tmp_path: Path) -> None:
    save_decoder(decoder(), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    source, draw, refused = config.read_bytes(), random.Random(23), 0
    for _ in range(300):
        data = bytearray(source)
        for _ in range(draw.randint(1, 3)):
            hit(draw, data)
        config.write_bytes(data)
        try:
            load_decoder(tmp_path / "model")
        except CheckpointError:
            refused += 1
    assert refused > 200, refused


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**64 - 1, 0.0, -1.5, float("nan"), float("inf")),
    *("", "x", "\0", "a b", "a:b $A", "é" * 100, "x" * 5000, "\ufffd", "<|im_end|>"),
    *([], [""], ["a", "a"], ["a b"], [1], [True], [None], [[]], ["x"] * 50, list(range(50))),
)  # fmt: skip


def test_a_thousand_odd_tokenizers_in_gguf_metadata() -> None:
    source, draw, refused = metadata(smollm()), random.Random(29), 0
    for turn in range(1000):
        record = dict(source)
        if turn % 2:
            record |= {"tokenizer.ggml.pre": "llama-bpe"}
        for _ in range(draw.randint(1, 2)):
            key = draw.choice(sorted(record))
            value = record[key]
            if isinstance(value, list) and value and draw.random() < 0.6:
                value = list(value)
                value[draw.randrange(len(value))] = draw.choice(ODD)
                record[key] = value
            else:
                record[key] = draw.choice(ODD)
        try:
            files = tokenizer_files(record, "toy")
            tokenizer_metadata(files, 400, "toy")
        except CheckpointError:
            refused += 1
    assert refused > 400, refused


def test_two_hundred_damaged_tokenizer_files(tmp_path: Path) -> None:
    files = tokenizer_files(metadata(smollm()), "toy")
    draw, refused = random.Random(31), 0
    for turn in range(200):
        name = ("tokenizer.json", "tokenizer_config.json")[turn % 2]
        data = bytearray(files[name])
        for _ in range(draw.randint(1, 3)):
            hit(draw, data)
        try:
            tokenizer_metadata({**files, name: bytes(data)}, 400, "toy")
        except CheckpointError:
            refused += 1
    assert refused > 120, refused


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K"])
def test_two_hundred_and_fifty_damaged_gguf_models(kind: str, tmp_path: Path) -> None:
    """Up to the loaded model: settings, names, shapes and packed blocks."""
    model = decoder(width=256, heads=4, head_width=64, hidden=256, depth=1)
    save_gguf(
        Opened(model.config, model.state_dict(), Provenance("")), tmp_path / "a.gguf", kind,
        tokenizer_files(metadata(smollm()), "toy") if model.config.vocab > 300 else None,
    )  # fmt: skip
    source, draw, refused = (tmp_path / "a.gguf").read_bytes(), random.Random(37), 0
    head = min(place.offset for place in read_gguf(tmp_path / "a.gguf").stored.values())
    path = tmp_path / "mutant.gguf"
    for _ in range(250):
        data = bytearray(source)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(head if draw.random() < 0.8 else len(data))
            data[at : at + draw.randint(1, 8)] = draw.randbytes(draw.choice((1, 2, 4, 8)))
        path.write_bytes(data)
        try:
            load_decoder(path)
        except CheckpointError:
            refused += 1
    assert refused > 150, refused


def test_a_json_of_a_million_brackets_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a":' + "[" * 1_000_000)
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
