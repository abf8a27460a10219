"""Shards: transformers' layout, the same bytes every time, one tensor in memory at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.checkpoint.toys import LLAMA, decoder, equal
from torch import Tensor
from transformers import LlamaForCausalLM

from chiasm.checkpoint.folder import load_decoder, save_decoder
from chiasm.checkpoint.names import Placed
from chiasm.checkpoint.shards import write_shards, write_tensors
from chiasm.checkpoint.weights import LazyTensors, Spec, read_tensors, spec_of

INDEX = "model.safetensors.index.json"


def tensors() -> dict[str, Tensor]:
    big = {f"layer.{i}.weight": torch.randn(16, 8) for i in range(12)}
    odd = {"half": torch.randn(3).half(), "bytes": torch.arange(5, dtype=torch.uint8)}
    more = {
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
        "turned": torch.randn(4, 6).t(),
    }
    return {**big, **odd, **more}


def test_one_shard_is_one_file_that_the_format_s_own_library_reads(tmp_path: Path) -> None:
    own = tensors()
    assert write_shards(tmp_path, own) == ["model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert equal(load_file(tmp_path / "model.safetensors"), own)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_shards_and_index_hold_every_tensor_once(tmp_path: Path) -> None:
    own = tensors()
    files = write_shards(tmp_path, own, shard_bytes=2048, metadata={"format": "pt", "by": "hand"})
    assert files == [f"model-{i:05}-of-00004.safetensors" for i in range(1, 5)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, INDEX])
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in own.values())
    held = {file: load_file(tmp_path / file) for file in files}
    assert {n: f for f, found in held.items() for n in found} == index["weight_map"]
    assert max(sum(t.nbytes for t in found.values()) for found in held.values()) <= 2048
    assert equal({n: t for found in held.values() for n, t in found.items()}, own)
    assert equal(dict(read_tensors(tmp_path)), own)
    assert index["weight_map"]["layer.2.weight"] <= index["weight_map"]["layer.10.weight"]


def test_a_tensor_larger_than_a_shard_has_a_file_of_its_own(tmp_path: Path) -> None:
    own = {"a": torch.zeros(2), "b": torch.zeros(100), "c": torch.zeros(2)}
    assert len(write_shards(tmp_path, own, shard_bytes=64)) == 3
    assert equal(dict(read_tensors(tmp_path)), own)


@pytest.mark.parametrize("shard_bytes", [1 << 20, 2048])
def test_equal_tensors_give_equal_bytes_in_any_order(shard_bytes: int, tmp_path: Path) -> None:
    own = tensors()
    for place, order in (("one", list(own)), ("two", list(reversed(own)))):
        (tmp_path / place).mkdir()
        write_shards(tmp_path / place, {name: own[name] for name in order}, shard_bytes)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    # Load, save: the very same files again.
    (tmp_path / "three").mkdir()
    write_shards(tmp_path / "three", read_tensors(tmp_path / "one"), shard_bytes)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "three" / path.name).read_bytes()


def test_transformers_reads_our_shards(tmp_path: Path) -> None:
    model = decoder(tied=False)
    save_decoder(model, tmp_path / "whole")
    stored = read_tensors(tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    assert len(write_shards(tmp_path / "cut", stored, shard_bytes=20_000)) > 2
    (tmp_path / "cut" / "config.json").write_bytes(
        (tmp_path / "whole" / "config.json").read_bytes()
    )
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "cut").state_dict()
    assert equal({name: theirs[name] for name in stored}, dict(stored))
    assert equal(load_decoder(tmp_path / "cut")[0].state_dict(), model.state_dict())
    assert LLAMA["hidden_size"] == model.config.width  # the toy is the one that transformers knows


class Made(LazyTensors):
    """Tensors that are made when asked for; counts how many live."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, 0

    def __getitem__(self, name: str) -> Tensor:
        self.asked += 1
        return torch.full((64, 64), float(name))

    def spec(self, name: str) -> Spec:
        return Spec(torch.float32, (64, 64))

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self.count))

    def __len__(self) -> int:
        return self.count


def test_each_tensor_is_asked_for_once(tmp_path: Path) -> None:
    made = Made(10)
    write_tensors(tmp_path / "x.safetensors", Placed(made, {f"t{i}": str(i) for i in range(10)}))
    assert made.asked == 10
    assert load_file(tmp_path / "x.safetensors")["t7"].unique().tolist() == [7.0]


def test_specs_are_known_without_reading(tmp_path: Path) -> None:
    own = tensors()
    write_shards(tmp_path, own, shard_bytes=2048)
    stored = read_tensors(tmp_path)
    turned = Placed(stored, {name: name for name in own}, lambda _, t: t.half().reshape(-1))
    for name, tensor in own.items():
        assert spec_of(stored, name) == spec_of(own, name)
        assert turned.spec(name) == Spec(torch.float16, (tensor.numel(),))


@pytest.mark.parametrize(
    ("name", "value"), [("__metadata__", torch.zeros(1)), ("c", torch.zeros(1, dtype=torch.cfloat))]
)
def test_what_the_format_cannot_hold_is_a_fault_of_the_caller(
    name: str, value: Tensor, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cannot be in a safetensors file"):
        write_shards(tmp_path, {name: value})


MEASURE = """
import resource, sys
from pathlib import Path
import torch
from chiasm.checkpoint.shards import write_shards
from chiasm.checkpoint.weights import LazyTensors, Spec

class Large(LazyTensors):
    def __getitem__(self, name): return torch.full((5, 1 << 20), float(name))
    def spec(self, name): return Spec(torch.float32, (5, 1 << 20))
    def __iter__(self): return map(str, range(20))
    def __len__(self): return 20

(torch.ones(1 << 20) + 1).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_shards(Path(sys.argv[1]), Large(), shard_bytes=150_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_writing_holds_one_tensor(tmp_path: Path) -> None:
    """420 MB of 21 MB tensors: measured 21 to 24 MB above the start."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 64 << 10
    assert sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) > 400_000_000
