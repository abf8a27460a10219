"""Peer bug 3: code that runs when weights are read (pickle, and what hides it).

vllm and sglang CVE-2026-3059/3060/3989, sglang#30165 (a deny-list that was passed by), lmdeploy#4804;
composer refused pickles only in #3937; torch 2.13's `dcp.load` still runs what `.metadata` says.
Our way: no reader of such formats exists in the source, so no file of any name can run anything.
"""

from __future__ import annotations

import ast
import io
import os
import pickle
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from chiasm.base.config import Settings, from_yaml
from chiasm.base.errors import UserError
from chiasm.checkpoint.folder import load_decoder, load_vit
from chiasm.checkpoint.gguf import read_gguf
from chiasm.checkpoint.onnx import read_onnx
from chiasm.checkpoint.weights import read_tensors

SOURCE = Path(__file__).resolve().parents[2] / "src"
RUNS_CODE = {
    *("pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "eval", "exec", "__import__"),
    *("torch.load", "torch.jit.load", "torch.distributed.checkpoint", "dcp.load", "torch.hub"),
    *("numpy.load", "np.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("torch.save", "torch.package", "runpy", "importlib.util.spec_from_file_location"),
}


def mentioned(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file uses or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)


def dangers(source: str) -> set[str]:
    found = set()
    for name in mentioned(ast.parse(source)):
        found |= {bad for bad in RUNS_CODE if name == bad or name.startswith(f"{bad}.")}
    return found


def test_the_source_has_no_reader_that_can_run_code() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 20
    assert {str(file): bad for file in files if (bad := dangers(file.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import torch; torch.load('x', weights_only=True)",
        "from torch import load",
        "import torch.distributed.checkpoint as dcp",
        "import yaml; yaml.load('x', yaml.Loader)",
        "eval('1')",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert dangers(line)


class Gadget:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.sentinel),)


def payloads(sentinel: Path) -> dict[str, bytes]:
    gadget = Gadget(sentinel)
    torch_zip, array, wrapped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model.norm.weight": gadget}, torch_zip)
    np.save(array, np.array([gadget], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(wrapped, "w") as opened:
        opened.writestr("archive/data.pkl", pickle.dumps(gadget))
    return {
        "protocol 0": pickle.dumps(gadget, 0),
        "protocol 5": pickle.dumps(gadget, 5),
        "state dict": pickle.dumps({"model.norm.weight": gadget}),
        "torch": torch_zip.getvalue(),
        "torch, old": pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(gadget),
        "zip": wrapped.getvalue(),
        "npy": array.getvalue(),
    }


NAMES = (
    *("model.safetensors", "pytorch_model.bin", "model.pt", "model.pth", "training_args.bin"),
    *("rng_state.pth", ".metadata", "model.npy", "model.gguf", "model.onnx", "config.json"),
)


@pytest.mark.parametrize(
    "kind", ["protocol 0", "protocol 5", "state dict", "torch", "torch, old", "zip", "npy"]
)
def test_a_poisoned_file_of_any_name_runs_nothing(kind: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    data = payloads(sentinel)[kind]
    folder = tmp_path / "model"
    folder.mkdir()
    for name in NAMES:
        file = folder / name
        file.write_bytes(data)
        began = time.monotonic()
        for read in (read_tensors, read_gguf, read_onnx):
            with pytest.raises(UserError):
                read(file)
        for load in (load_decoder, load_vit, read_tensors):
            with pytest.raises(UserError):
                load(folder)
        assert time.monotonic() - began < 1
        if name not in ("config.json", "model.safetensors"):
            file.unlink()
    assert not sentinel.exists()


def test_the_poison_is_real(tmp_path: Path) -> None:
    pickle.loads(payloads(tmp_path / "ran")["protocol 5"])
    assert (tmp_path / "ran").exists()


class Plain(Settings):
    """One setting."""

    a: int = 0
    """A number."""


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{}']",
        "a: !!python/object/new:os.mkdir ['{}']",
        "a: !!python/name:os.mkdir ''",
    ],
)
def test_settings_run_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text.format(tmp_path / "ran"))
    with pytest.raises(UserError):
        from_yaml(Plain, tmp_path / "s.yaml")
    assert not (tmp_path / "ran").exists()
