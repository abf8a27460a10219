"""Keeping and checking golden files: `Book(check=False)` writes them, `Book(check=True)` compares.

    tensors + record ──► pack ──► NAME.safetensors + NAME.json + a line in manifest.json
                              └─► --check: equal to what is stored? bit for bit, or how far off

Floats may differ by TOLERANCE of the tensor's largest value on another processor, whose matrix
products add in another order; whole numbers, names, shapes and records must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from tests.parity.goldens import HERE, MANIFEST, packing
from torch import Tensor

TOLERANCE = 1e-5


class Book:
    """Where a make script puts its answers; knows whether it writes or checks."""

    def __init__(self, maker: str, packages: tuple[str, ...], check: bool) -> None:
        self.maker, self.check = maker, check
        self.versions = {name: version(name) for name in ("torch", "numpy", *packages)}
        self.wrong: list[str] = []

    def put(
        self,
        name: str,
        tensors: dict[str, Tensor],
        record: dict[str, Any],
        packed: dict[str, str] | None = None,
    ) -> None:
        """Write one golden, or compare it with the stored one and print the verdict."""
        packed = packed or {}
        held = {key: pack(value, packing(key, packed)) for key, value in sorted(tensors.items())}
        held = {key: value.contiguous().clone() for key, value in held.items()}
        told = {"made_by": self.maker, "versions": self.versions, **record}
        told["packed"] = dict(sorted(packed.items()))
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        blob = save(held)
        if self.check:
            self.compare(name, held, blob, json.loads(text))
            return
        (HERE / f"{name}.safetensors").write_bytes(blob)
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")
        note(HERE / f"{name}.safetensors", HERE / f"{name}.json")
        print(f"{name}: {len(held)} tensors, {len(blob) / 1e3:.0f} kB")

    def compare(
        self, name: str, held: dict[str, Tensor], blob: bytes, told: dict[str, Any]
    ) -> None:
        """Say whether the stored golden holds the same bytes, else how far its values are."""
        stored_blob = (HERE / f"{name}.safetensors").read_bytes()
        stored_told = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        faults = [f"record: {key}" for key in differing(told, stored_told)]
        stored, worst = load(stored_blob), 0.0
        if held.keys() != stored.keys():
            faults.append(f"names: {sorted(held.keys() ^ stored.keys())}")
        for key in sorted(held.keys() & stored.keys()):
            far = distance(held[key], stored[key])
            worst = max(worst, far)
            if far > TOLERANCE:
                faults.append(f"{key}: differs by {far:.1e} of its largest value")
        same = "the same bytes" if blob == stored_blob else f"within {worst:.1e}"
        print(f"{name}: {'; '.join(faults) if faults else same}")
        self.wrong += [f"{name}: {fault}" for fault in faults]


def pack(value: Tensor, way: str) -> Tensor:
    """Store floats in fewer bytes without loss; ValueError where a value would change."""
    match way:
        case "":
            return value
        case "bf16":
            small = value.to(torch.bfloat16)
            back = small.float()
        case "64ths":
            small = (value * 64).round().to(torch.int8)
            back = small.float() / 64
        case "levels":
            return value  # already bytes: the maker holds the table and proves that it is exact
        case _:
            raise ValueError(f"unknown packing {way!r}")
    if not torch.equal(back, value):
        raise ValueError(f"packing as {way} would change values")
    return small


def distance(left: Tensor, right: Tensor) -> float:
    """Largest difference over largest value; infinite where kinds differ or whole numbers do."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return float("inf")
    if torch.equal(left, right):
        return 0.0
    if not left.is_floating_point():
        return float("inf")
    a, b = left.double(), right.double()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def differing(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Keys under which two records differ; floats (measured distances) and versions may."""
    keys = sorted((left.keys() | right.keys()) - {"versions", "measured"})
    return [key for key in keys if left.get(key) != right.get(key)]


def note(*paths: Path) -> None:
    """Keep size and sha256 of the files in the manifest."""
    listed = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {}
    for path in paths:
        data = path.read_bytes()
        listed[path.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    MANIFEST.write_text(json.dumps(dict(sorted(listed.items())), indent=1) + "\n", encoding="utf-8")


def main(maker: str, packages: tuple[str, ...], make: Callable[[Book], None]) -> None:
    """Run one make script: write its goldens, or with --check compare them and end with 1 on a fault."""
    parser = argparse.ArgumentParser(description=f"Make (or --check) the goldens of {maker}.")
    parser.add_argument("--check", action="store_true", help="compare with the stored files")
    book = Book(maker, packages, parser.parse_args().check)
    torch.set_num_threads(1)  # one order of additions
    print(f"{maker} with {book.versions}, Python {platform.python_version()}")
    with torch.inference_mode():
        make(book)
    if book.wrong:
        raise SystemExit("\n".join(book.wrong))
