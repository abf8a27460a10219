"""Torch's own files (.pth), as Meta publishes Llama: read without unpickling, in whole or in shards.

consolidated.00.pth ─ child process: pth_index.py ─▶ places ─ checked again ─▶ PthFile (mapped)
consolidated.0N.pth ─ the same ────────────────────▶ PthFile ─┬─▶ MergedShards
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiasm.base.worker import Worker, WorkerLate, WorkerStopped
from chiasm.checkpoint import pth_index
from chiasm.checkpoint.families.meta import merge_dim
from chiasm.checkpoint.folder import PARAMS, Opened, open_meta
from chiasm.checkpoint.weights import (
    DTYPES,
    CheckpointError,
    Spec,
    StoredTensors,
    confined,
    read_json,
)

_MEMORY = 512 << 20
_SECONDS = 60.0
_ANSWER_BYTES = 256 << 20


class PthFile(StoredTensors):
    """Tensors of one torch file; what comes out is mapped to it: copy before you keep or change it."""

    def __init__(self, path: Path, lines: Mapping[str, Sequence[Any]], size: int) -> None:
        self.path = path
        self._lines = lines
        # Private: who writes to a tensor writes to a copy of its page, not to the file.
        self._bytes = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)

    def __getitem__(self, name: str) -> Tensor:
        _, kind, shape, stride, offset, start, count = self._lines[name]
        dtype = DTYPES[kind]
        raw = self._bytes[start : start + count * dtype.itemsize]
        if start % dtype.itemsize:  # torch aligns them; other writers need not
            raw = raw.clone()
        flat = raw.view(dtype)
        return flat.as_strided(shape, stride, flat.storage_offset() + offset)

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        _, kind, shape, *_ = self._lines[name]
        return Spec(DTYPES[kind], tuple(shape))

    def origin(self, name: str) -> str:
        """Return "file:name" of a tensor, for messages and records."""
        return f"{self.path.name}:{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def read_pth(path: Path | str) -> PthFile:
    """Open a state dict that torch 1.6 or later saved; nothing in it is run.

    The index is read in a child process that can neither write, nor open files, nor take much
    memory; values are read when asked for. Anything else than plain tensors is a CheckpointError.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    worker = Worker(pth_index.__name__, _MEMORY)
    try:
        reply, body = worker.ask({"path": str(path)}, b"", _SECONDS, _ANSWER_BYTES)
    except WorkerLate:
        raise _unsound(path, "reading its index takes longer than a minute") from None
    except WorkerStopped:
        raise _unsound(path, "its index stopped the process that read it") from None
    finally:
        worker.close()
    if "reason" in reply:
        raise _unsound(path, str(reply["reason"]))
    size = path.stat().st_size
    try:
        lines = {line[0]: pth_index.checked(line, size) for line in json.loads(bytes(body))}
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise _unsound(path, str(error)) from None
    return PthFile(path, lines, size)


def _unsound(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read as a torch file of weights: {why}.")


class MergedShards(StoredTensors):
    """The shards of a model that was cut for several devices, put together tensor by tensor."""

    def __init__(
        self, path: Path, shards: Sequence[StoredTensors], dim_of: Callable[[str], int | None]
    ) -> None:
        """dim_of: name -> the dimension that was cut, or None for a tensor that every shard repeats.

        Raises CheckpointError unless all shards hold the same names and shapes that fit together.
        """
        self.path, self._shards, self._dim_of = path, list(shards), dim_of
        for shard in self._shards[1:]:
            if odd := set(shard) ^ set(self._shards[0]):
                raise CheckpointError(
                    f'{shard.path} and {self._shards[0].path} do not both hold "{min(odd)}".'
                )
        self._specs = {name: self._merged(name) for name in self._shards[0]}

    def _merged(self, name: str) -> Spec:
        specs = [shard.spec(name) for shard in self._shards]
        first, dim = specs[0], self._dim_of(name)
        cut = dim is not None and -len(first.shape) <= dim < len(first.shape)
        sizes = [list(spec.shape) for spec in specs]
        whole = list(first.shape)
        if cut and dim is not None:
            whole[dim] = sum(size[dim] for size in sizes if len(size) == len(whole))
            for size in sizes:
                if len(size) == len(whole):
                    size[dim] = 0
        if (dim is not None and not cut) or any(
            (spec.dtype, size) != (first.dtype, sizes[0])
            for spec, size in zip(specs, sizes, strict=True)
        ):
            shapes = ", ".join(str(list(spec.shape)) for spec in specs)
            raise CheckpointError(
                f'the shards of {self.path} hold "{name}" as {shapes}, which do not fit together.'
            )
        return Spec(first.dtype, tuple(whole))

    def __getitem__(self, name: str) -> Tensor:
        dim = self._dim_of(name)
        if dim is not None:
            return torch.cat([shard[name] for shard in self._shards], dim)
        first = self._shards[0][name]
        for shard in self._shards[1:]:
            if not torch.equal(shard[name], first):
                raise CheckpointError(
                    f'"{name}" must be the same in all shards, but {shard.path} differs; '
                    "download the files again."
                )
        return first

    def spec(self, name: str) -> Spec:
        """Return type and shape of the whole tensor without reading its values."""
        return self._specs[name]

    def origin(self, name: str) -> str:
        """Return "first file (and others):name" of a tensor, for messages and records."""
        return f"{self._shards[0].path.name} to {self._shards[-1].path.name}:{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def read_consolidated(
    folder: Path | str, dim_of: Callable[[str], int | None]
) -> PthFile | MergedShards:
    """Open the consolidated.NN.pth files of a folder of Meta's, merged by `dim_of` when several.

    Numbers must run from 00 without a gap. Raises CheckpointError.
    """
    folder = Path(folder)
    found = sorted(path.name for path in folder.glob("consolidated.*.pth"))
    if found != [f"consolidated.{i:02}.pth" for i in range(len(found))] or not found:
        there = ", ".join(found) or "none"
        raise CheckpointError(
            f"{folder} needs consolidated.00.pth and the numbers after it without a gap; "
            f"there is {there}."
        )
    shards = [read_pth(confined(folder, name)) for name in found]
    return shards[0] if len(shards) == 1 else MergedShards(folder, shards, dim_of)


def open_published(folder: Path | str) -> Opened[Any]:
    """Open a model as Meta publishes it: params.json and consolidated.NN.pth; see `open_meta`.

    Nothing of it is kept in memory: `save_decoder`, `save_fused` and `write_shards` then take it tensor
    by tensor.
    """
    folder = Path(folder)
    return open_meta(read_json(folder / PARAMS), read_consolidated(folder, merge_dim), folder)
