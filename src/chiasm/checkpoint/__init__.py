"""checkpoint: what stays. Weights on disk, in and out; nothing here trains or speaks.

    package ─ pip ─┐  builtin       names × families/                  Decoder
    hub ───────────┼─ convert ─►  one table per family,  ◄── folder ─►  ViT
    GGUF, ONNX ────┤               read both ways        ◄── towers ─►  DualEncoder, Classifier
    pth ───────────┘                     │               ◄── fused ──►  Crossed, Prefix ◄─ composed
    safetensors ◄── weights, shards ─────┤        card ── where a folder came from
    GGUF ◄───────── gguf_write ──────────┘        bpe ◄── vocabulary (GGUF), tiktoken (Meta)
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
    from chiasm.checkpoint.gguf_write import save_gguf, write_gguf
    from chiasm.checkpoint.pth import MergedShards, open_published, read_consolidated, read_pth
    from chiasm.checkpoint.shards import write_shards, write_tensors
    from chiasm.checkpoint.towers import (
        load_classifier,
        load_dual,
        load_image_tower,
        save_classifier,
        save_dual,
        save_image_tower,
    )
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
    **dict.fromkeys(
        (
            *("load_classifier", "load_dual", "load_image_tower"),
            *("save_classifier", "save_dual", "save_image_tower"),
        ),
        "towers",
    ),
    # tensors by file
    "read_gguf": "gguf",
    **dict.fromkeys(("save_gguf", "write_gguf"), "gguf_write"),
    **dict.fromkeys(("MergedShards", "open_published", "read_consolidated", "read_pth"), "pth"),
    **dict.fromkeys(("write_shards", "write_tensors"), "shards"),
    **dict.fromkeys(("CheckpointError", "Provenance", "load_strict", "read_tensors"), "weights"),
}

__all__ = [
    "CheckpointError",
    "Loaded",
    "MergedShards",
    "Provenance",
    "load_classifier",
    "load_decoder",
    "load_dual",
    "load_fused",
    "load_image_tower",
    "load_model",
    "load_strict",
    "load_vit",
    "open_fused",
    "open_published",
    "pull",
    "pull_wheel",
    "read_companions",
    "read_consolidated",
    "read_gguf",
    "read_pth",
    "read_tensors",
    "save_classifier",
    "save_decoder",
    "save_dual",
    "save_fused",
    "save_gguf",
    "save_image_tower",
    "save_model",
    "save_vit",
    "write_gguf",
    "write_shards",
    "write_tensors",
]

__getattr__ = lazily(__name__, _HOMES)
