"""Safetensors: lazily read, confined to their folder, written whole, loaded strictly both ways."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from tests.checkpoint.toys import equal
from torch import nn

from chiasm.checkpoint.shards import write_tensors
from chiasm.checkpoint.weights import (
    CheckpointError,
    load_strict,
    read_json,
    read_tensors,
    tensors_sha256,
)

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.arange(4, dtype=torch.bfloat16),
    "c": torch.tensor(7, dtype=torch.int64),
}


def sharded(folder: Path, index: Any = None) -> Path:
    """A folder of two shards with an index, or with another index."""
    save_file({"a": TENSORS["a"]}, folder / "one.safetensors")
    save_file({"b": TENSORS["b"], "c": TENSORS["c"]}, folder / "two.safetensors")
    places = {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    index = {"weight_map": places} if index is None else index
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


# ---- reading -----------------------------------------------------------------------------------


def test_a_file_a_folder_and_shards_read_alike(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "shards").mkdir()
    save_file(TENSORS, tmp_path / "whole" / "model.safetensors")
    file = read_tensors(tmp_path / "whole" / "model.safetensors")
    whole = read_tensors(tmp_path / "whole")
    shards = read_tensors(sharded(tmp_path / "shards"))
    for found in (file, whole, shards):
        assert equal(dict(found), TENSORS)
        assert len(found) == 3 and "a" in found and "z" not in found
    assert whole.origin("b") == "model.safetensors:b"
    assert shards.origin("b") == "two.safetensors:b"


@pytest.mark.parametrize(
    "name",
    [
        "../out.safetensors",
        "sub/in.safetensors",
        "/etc/passwd.safetensors",
        "..\\out.safetensors",
        "https://example.org/x.safetensors",
        "one.bin",
        "",
        7,
        None,
    ],
)
def test_a_shard_outside_the_folder_is_refused(name: Any, tmp_path: Path) -> None:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    save_file({"a": TENSORS["a"]}, tmp_path / "out.safetensors")
    save_file({"a": TENSORS["a"]}, tmp_path / "model" / "sub" / "in.safetensors")
    sharded(tmp_path / "model", {"weight_map": {"a": name}})
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "model")


@pytest.mark.parametrize("single", [True, False])
def test_a_link_out_of_the_folder_is_refused(single: bool, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(TENSORS, tmp_path / "out.safetensors")
    name = "model.safetensors" if single else "linked.safetensors"
    os.symlink(tmp_path / "out.safetensors", folder / name)
    if not single:
        sharded(folder, {"weight_map": dict.fromkeys(TENSORS, name)})
    with pytest.raises(CheckpointError, match="link out of its folder"):
        read_tensors(folder)


def test_the_hubs_own_cache_may_link_into_its_blobs(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "c0ffee", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file(TENSORS, blobs / "abc")
    os.symlink("../../blobs/abc", snapshot / "model.safetensors")
    assert equal(dict(read_tensors(snapshot)), TENSORS)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}', "stands twice"),
        ('{"weight_map": NaN}', "NaN"),
        ('{"weight_map": ' + "9" * 5000 + "}", "not valid JSON"),
        ({}, "weight_map"),
        ({"weight_map": {}}, "weight_map"),
        ({"weight_map": {str(i): "one.safetensors" for i in range(200_001)}}, "weight_map"),
        ({"weight_map": {"a": "gone.safetensors"}}, "no file"),
        ({"weight_map": {"a": "one.safetensors", "z": "one.safetensors"}}, 'not hold tensor "z"'),
        ({"weight_map": {"b": "two.safetensors"}}, 'unlisted tensor "c"'),
    ],
)
def test_an_index_that_lies_is_told(index: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_tensors(sharded(tmp_path, index))


def test_a_folder_with_two_truths_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        read_tensors(tmp_path)
    save_file(TENSORS, sharded(tmp_path) / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds both"):
        read_tensors(tmp_path)
    with pytest.raises(CheckpointError, match="no file"):
        read_tensors(tmp_path / "gone.safetensors")


def header(text: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


F32 = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
BAD_FILES = {
    "empty": b"",
    "header 0": header(b""),
    "header 1": header(b"{"),
    "header 2^63": header(b"{}", length=1 << 63),
    "header over 100 MB": header(b"{}", length=100_000_001),
    "no JSON": header(b"not json"),
    "unknown dtype": header(F32.replace("F32", "F99").encode() + b"}", bytes(8)),
    "shape lies": header(F32.replace("[2]", "[3]").encode() + b"}", bytes(8)),
    "shape overflows": header(
        F32.replace("[2]", "[4611686018427387905,4]").encode() + b"}", bytes(8)
    ),
    "cut": header(F32.encode() + b"}", bytes(7)),
    "longer than it says": header(F32.encode() + b"}", bytes(9)),
    "overlap": header(
        F32.encode() + b',"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', bytes(12)
    ),
    "hole": header(
        F32.encode() + b',"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}', bytes(20)
    ),
    "not text": header(b"\xff\xfe\xfd\xfc"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_damaged_file_is_one_kind_of_error(case: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD_FILES[case])
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        dict(read_tensors(path))


def test_three_thousand_mutants_load_or_are_refused(tmp_path: Path) -> None:
    source = save(TENSORS)
    head = len(source) - sum(tensor.nbytes for tensor in TENSORS.values())
    draw = random.Random(11)
    refused = 0
    path = tmp_path / "mutant.safetensors"
    for _ in range(3000):
        data = bytearray(source)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(head)
            data[at : at + draw.randint(1, 3)] = draw.randbytes(draw.randint(0, 3))
        path.write_bytes(data)
        try:
            found = read_tensors(path)
            for name in found:
                found[name]
        except CheckpointError:
            refused += 1
    assert refused > 2000


@pytest.mark.parametrize("name", ["x.pt", "x.bin", "x.pth", "x.npy", "x.pkl"])
def test_formats_that_can_run_code_are_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match="convert it to safetensors"):
        read_tensors(tmp_path / name)


def test_a_large_json_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "big.json", "wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(CheckpointError, match="larger than"):
        read_json(tmp_path / "big.json")


# ---- writing -----------------------------------------------------------------------------------


def test_what_is_written_comes_back_from_any_layout_in_memory(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    tensors = {
        "plain": base.clone(),
        "transposed": base.t(),
        "slice": base[2:4],
        "row": base[5],
        "tied": base,
        "tied again": base,
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"made": "by hand"})
    assert equal(load_file(tmp_path / "x.safetensors"), tensors)
    assert equal(dict(read_tensors(tmp_path / "x.safetensors")), tensors)


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    value = torch.arange(4.0)
    first = tensors_sha256({"a": value, "b": torch.tensor(1)})
    assert first == tensors_sha256({"b": torch.tensor(1), "a": value.clone()})
    others = [
        {"a": value, "c": torch.tensor(1)},
        {"a": value.reshape(2, 2), "b": torch.tensor(1)},
        {"a": value.view(torch.int32), "b": torch.tensor(1)},
        {"a": value + 1e-6, "b": torch.tensor(1)},
    ]
    assert len({first, *map(tensors_sha256, others)}) == 5


# ---- loading -----------------------------------------------------------------------------------


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight.requires_grad_(False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def toy_tensors() -> dict[str, torch.Tensor]:
    return {
        "first.weight": torch.randn(2, 3),
        "first.bias": torch.randn(2),
        "second.weight": torch.randn(2, 2),
        "count": torch.tensor(5),
    }


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_loading_fills_all_and_keeps_what_learns(device: str) -> None:
    with torch.device(device):
        module = Toy()
    weight, tensors = module.first.weight, toy_tensors()
    load_strict(module, tensors)
    assert equal(module.state_dict(), tensors)
    assert module.first.weight.requires_grad and not module.second.weight.requires_grad
    if device == "cpu":
        assert module.first.weight is weight  # an optimizer may hold it already
    tensors["first.weight"].zero_()
    assert module.first.weight.abs().sum() > 0  # a copy, not the caller's memory


def test_the_type_is_the_modules_own_or_the_one_asked_for() -> None:
    tensors = toy_tensors()
    with torch.device("meta"):
        own, asked = Toy(), Toy()
    load_strict(own, {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()})
    load_strict(asked, tensors, dtype=torch.bfloat16)
    assert own.first.weight.dtype is torch.float32
    assert asked.first.weight.dtype is torch.bfloat16
    assert asked.count.dtype is torch.int64


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_loaded() -> None:
    module, tensors = Toy(), toy_tensors()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tensors["first.wieght"] = tensors.pop("first.weight")
    tensors["second.weight"] = torch.zeros(2, 3)
    with pytest.raises(CheckpointError) as caught:
        load_strict(module, tensors, {"second.weight": "f.safetensors:proj"})
    told = str(caught.value)
    assert '"first.weight" is missing' in told
    assert '"first.wieght" has no place' in told and 'Did you mean "first.weight"?' in told
    assert '"f.safetensors:proj" has shape [2, 3], the model [2, 2]' in told
    assert equal(module.state_dict(), before)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn, torch.complex64])
def test_numbers_of_another_kind_are_refused(dtype: torch.dtype) -> None:
    tensors = toy_tensors()
    tensors["first.weight"] = torch.zeros(2, 3).to(dtype)
    with pytest.raises(CheckpointError, match=r"first\.weight.*stored as"):
        load_strict(Toy(), tensors)


def tied() -> nn.Module:
    module = nn.Module()
    module.one, module.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    module.two.weight = module.one.weight
    return module


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("names", [("one",), ("two",), ("one", "two")])
def test_tied_parameters_need_one_name_and_stay_tied(device: str, names: tuple[str, ...]) -> None:
    value = torch.randn(3, 3)
    with torch.device(device):
        module = tied()
    load_strict(module, {f"{name}.weight": value for name in names})
    assert module.one.weight is module.two.weight
    assert torch.equal(module.two.weight, value)


def test_tied_parameters_that_differ_in_the_file_are_refused() -> None:
    with pytest.raises(CheckpointError, match="differ in the file"):
        load_strict(tied(), {"one.weight": torch.zeros(3, 3), "two.weight": torch.ones(3, 3)})
