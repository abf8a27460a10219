"""A toy of Llama 3.2 Vision's shape on disk, in transformers' layout and in Meta's .pth files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from tests.parity.goldens import golden

from chiasm.checkpoint.fused import save_fused
from chiasm.inputs.tiles import TileTransform
from chiasm.models import Crossed, CrossedConfig, ProjectorConfig
from chiasm.models.tiled import TiledViTConfig
from chiasm.testing import open_gates, toy_decoder_config


def llama_vision(shop: Path, path: Path) -> Path:
    """Write a Mllama folder whose words are those of the workshop's language model."""
    eyes = TiledViTConfig(
        image_size=12, patch=4, width=12, depth=4, gated=1, heads=3, hidden=18, tiles=4
    )
    words = toy_decoder_config(width=24, context=700, tied=False)
    reading = ProjectorConfig(taps=("final", "block.1", "block.2"), norm=False)
    config = CrossedConfig(decoder=words, encoder=eyes, projector=reading, crosses=2)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = open_gates(Crossed(config))
    TileTransform(size=12).save(path.parent)
    names = ("tokenizer.json", "chat_template.jinja")
    files = {name: (shop / "decoder" / name).read_bytes() for name in names}
    prepared = path.parent / "preprocessor_config.json"
    files[prepared.name] = prepared.read_bytes()
    prepared.unlink()
    save_fused(model, path, files=files)
    return path


def published(path: Path) -> Path:
    """Write a golden's weights as Meta publishes them: params.json and two consolidated .pth files."""
    held = golden("meta_vision_small")
    path.mkdir()
    tower = held.record["tower"]
    ours = {"heads": tower["heads"], "layers": tower["taps"]}
    (path / "params.json").write_text(json.dumps({**held.record["params"], "chiasm": ours}))
    dims = held.record["shard_dims"]
    for rank in range(2):
        part = {
            name: (value.chunk(2, dims[name])[rank] if name in dims else value).clone()
            for name, value in held.weights.items()
        }
        torch.save(
            {name: value.bfloat16() for name, value in part.items()},
            path / f"consolidated.{rank:02}.pth",
        )
    return path


def copy(source: Path, target: Path) -> Path:
    """Copy a folder."""
    shutil.copytree(source, target)
    return target
