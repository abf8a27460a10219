"""Writing safetensors files, alone or in shards: tensor by tensor, the same bytes every time."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiasm.base.files import write_atomic, write_errors, write_file
from chiasm.checkpoint.weights import DTYPES, Spec, spec_of

SHARD_BYTES = 5_000_000_000
"""Largest shard when nothing is said; transformers' own choice was 5 GB, too."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_NUMBER = re.compile(r"(\d+)")


def write_shards(
    folder: Path | str,
    tensors: Mapping[str, Tensor],
    shard_bytes: int = SHARD_BYTES,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Write model.safetensors, or shards with their index, and return the files' names.

    tensors      may be lazy: one is read at a time, and let go before the next
    shard_bytes  most bytes of tensors in a file; a larger tensor has a file of its own

    The layout is transformers'. Bytes depend on names and values alone, not on the mapping's order.
    Not durable by itself: use it inside `atomic_directory`. Errors: UserError when the disk is full.
    """
    folder = Path(folder)
    specs = _specs(tensors)
    groups = _groups(specs, shard_bytes)
    count = len(groups)
    names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    if count == 1:
        names = ["model.safetensors"]
    with write_errors(folder, inside=folder):
        for file, group in zip(names, groups, strict=True):
            write_file(folder / file, _parts(tensors, {n: specs[n] for n in group}, metadata))
        if count > 1:
            places = {n: file for file, group in zip(names, groups, strict=True) for n in group}
            index = {
                "metadata": {"total_size": sum(map(length_of, specs.values()))},
                "weight_map": dict(sorted(places.items())),
            }
            text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
            write_file(folder / "model.safetensors.index.json", [text.encode()])
    return names


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one safetensors file, tensor by tensor, at once or not at all.

    Every name comes back: tensors that share memory (tied weights) are written one by one.
    """
    write_atomic(Path(path), _parts(tensors, _specs(tensors), metadata))


def _specs(tensors: Mapping[str, Tensor]) -> dict[str, Spec]:
    specs = {name: spec_of(tensors, name) for name in tensors}
    for name, spec in specs.items():
        if spec.dtype not in DTYPE_NAMES or name == "__metadata__":
            raise ValueError(f"tensor {name!r} ({spec.dtype}) cannot be in a safetensors file")
    return specs


def length_of(spec: Spec) -> int:
    """Return the bytes of a tensor's values."""
    return math.prod(spec.shape) * spec.dtype.itemsize


def _groups(specs: Mapping[str, Spec], limit: int) -> list[list[str]]:
    """Cut the names, a model's layers in their order, into shards."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name in sorted(specs, key=_by_number):
        length = length_of(specs[name])
        if groups[-1] and filled + length > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += length
    return groups


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBER.split(name)]


def _parts(
    tensors: Mapping[str, Tensor],
    specs: Mapping[str, Spec],
    metadata: Mapping[str, str] | None,
) -> Iterator[bytes | memoryview]:
    order = in_file_order(specs)
    yield header(specs, order, {"format": "pt"} if metadata is None else metadata)
    for name in order:
        yield memory_of(name, tensors[name], specs[name])


def in_file_order(specs: Mapping[str, Spec]) -> list[str]:
    """Return the names as they stand in a file: wide formats first, so that each starts aligned."""
    return sorted(specs, key=lambda name: (-specs[name].dtype.itemsize, name))


def header(specs: Mapping[str, Spec], order: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    """Return the start of a safetensors file: its own length, then each tensor's name and place."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    place = 0
    for name in order:
        end = place + length_of(specs[name])
        entries[name] = {
            "dtype": DTYPE_NAMES[specs[name].dtype],
            "shape": specs[name].shape,
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def memory_of(name: str, tensor: Tensor, spec: Spec) -> memoryview:
    """Return the bytes of a tensor, copied only when it is elsewhere or not contiguous."""
    if (tensor.dtype, tuple(tensor.shape)) != (spec.dtype, spec.shape):
        raise ValueError(f"tensor {name!r} is not what was announced: {tensor.shape}, not {spec}")
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")
