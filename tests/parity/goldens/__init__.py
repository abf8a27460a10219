"""Golden files: what the reference implementations answered, kept as small tensors.

    make_*.py ── reference packages ──► NAME.safetensors + NAME.json ──► golden("NAME") ──► a parity test

`golden(name)` needs torch and safetensors only. README.md tells which packages answered, how to ask
them again, and how far they are from each other; manifest.json holds the hash of every file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).resolve().parent
MANIFEST = HERE / "manifest.json"


@dataclass(frozen=True)
class Golden:
    """One set of answers: tensors named `case/what` or `weights/NAME`, and a record that explains them."""

    name: str
    record: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one case (or of "weights"), without the prefix; KeyError when there is none."""
        start = f"{prefix}/"
        found = {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}
        if not found:
            raise KeyError(f"golden {self.name} has no part {prefix!r}; it has {self.parts}")
        return found

    @property
    def parts(self) -> list[str]:
        """Names of all cases, sorted; "weights" is one of them where weights are stored."""
        return sorted({name.partition("/")[0] for name in self.tensors})

    @property
    def weights(self) -> dict[str, Tensor]:
        """Float32 weights under the names of the reference."""
        return self.part("weights")


def golden(name: str) -> Golden:
    """Read one golden; every packed tensor comes back as the float32 values that the reference saw."""
    record = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    tensors = load_file(HERE / f"{name}.safetensors")
    for key in list(tensors):
        tensors[key] = unpack(tensors[key], packing(key, record["packed"]), tensors)
    return Golden(name, record, tensors)


def names() -> list[str]:
    """Names of all stored goldens, as the manifest lists them."""
    listed = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return sorted(name.removesuffix(".json") for name in listed if name.endswith(".json"))


def packing(key: str, packed: dict[str, str]) -> str:
    """How a tensor is packed: `packed` maps patterns to ways, the longest wins; "" = as it is."""
    fitting = [pattern for pattern in packed if fnmatch(key, pattern)]
    return packed[max(fitting, key=len)] if fitting else ""


def unpack(stored: Tensor, way: str, tensors: dict[str, Tensor]) -> Tensor:
    """Undo one of the three lossless packings that keep the files small.

    - "bf16": weights whose values fit bfloat16 exactly;
    - "64ths": pixels that are whole multiples of 1/64, as int8;
    - "levels": pixels [..., 3, H, W] as bytes, each an index into `levels` [3, 256] of its channel.
    """
    match way:
        case "":
            return stored
        case "bf16":
            return stored.float()
        case "64ths":
            return stored.float() / 64
        case "levels":
            table, index = tensors["levels"], stored.long()
            channels = [table[c][index[..., c, :, :]] for c in range(3)]
            return torch.stack(channels, dim=-3)
    raise ValueError(f"unknown packing {way!r}")
