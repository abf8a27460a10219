"""checkpoint: what stays. Weights on disk, in and out; nothing here trains or speaks.

    package ─ pip ─┐  builtin       names × families/                  Decoder
    hub ───────────┼─ convert ─►  one table per family,  ◄── folder ─►  ViT
    GGUF, ONNX ────┘               read both ways                      Crossed, Prefix ◄─ composed
                                         │
    safetensors ◄────── weights ─────────┘        card ── where a folder came from
    runs/…/checkpoints ◄── state: a run's whole state, whole or not there

May enter: file formats, name tables, foreign settings. Must stay outside: training, text, pictures.
What holds everywhere here: no format that can run code; no number of a file is believed before it
is checked; a missing, unknown or mis-shaped tensor is an error that names file and tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.checkpoint.builtin import pull, pull_wheel
    from chiasm.checkpoint.composed import Loaded, load_model, save_model
    from chiasm.checkpoint.folder import (
        load_decoder,
        load_vit,
        read_companions,
        save_decoder,
        save_vit,
    )
    from chiasm.checkpoint.fused import load_fused, open_fused, save_fused
    from chiasm.checkpoint.gguf import read_gguf
    from chiasm.checkpoint.shards import write_shards, write_tensors
    from chiasm.checkpoint.weights import (
        CheckpointError,
        Provenance,
        load_strict,
        read_tensors,
    )

_HOMES = {
    # models by folder or name
    **dict.fromkeys(("pull", "pull_wheel"), "builtin"),
    **dict.fromkeys(("Loaded", "load_model", "save_model"), "composed"),
    **dict.fromkeys(
        ("load_decoder", "load_vit", "read_companions", "save_decoder", "save_vit"), "folder"
    ),
    **dict.fromkeys(("load_fused", "open_fused", "save_fused"), "fused"),
    # tensors by file
    "read_gguf": "gguf",
    **dict.fromkeys(("write_shards", "write_tensors"), "shards"),
    **dict.fromkeys(("CheckpointError", "Provenance", "load_strict", "read_tensors"), "weights"),
}

__all__ = [
    "CheckpointError",
    "Loaded",
    "Provenance",
    "load_decoder",
    "load_fused",
    "load_model",
    "load_strict",
    "load_vit",
    "open_fused",
    "pull",
    "pull_wheel",
    "read_companions",
    "read_gguf",
    "read_tensors",
    "save_decoder",
    "save_fused",
    "save_model",
    "save_vit",
    "write_shards",
    "write_tensors",
]

__getattr__ = lazily(__name__, _HOMES)
