"""From what a package or the hub carries to a folder in transformers' layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiasm.checkpoint.families import clip, llama
from chiasm.checkpoint.folder import open_decoder, place_gguf, read_companions
from chiasm.checkpoint.gguf import read_gguf
from chiasm.checkpoint.onnx import dequantised, read_onnx
from chiasm.checkpoint.towers import open_image_tower
from chiasm.checkpoint.vocabulary import tokenizer_files
from chiasm.checkpoint.weights import CheckpointError, read_json
from chiasm.models.vit import ViTConfig

PROJECTION = "visual_projection.weight"


@dataclass(frozen=True)
class Content:
    """What a converted folder will hold."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    """By transformers' names."""
    storage: str
    """How the numbers are kept, in words."""
    files: Mapping[str, bytes] = field(default_factory=dict)


def compact(tensor: Tensor, quantised: bool) -> Tensor:
    """Return float32 values as kept: fp16 when that is exact or they were integers, else fp32.

    fp16 moves a dequantised value by at most 1/2048 of itself, far below the step of the integers
    it came from; what was never quantised stays exact.
    """
    half = tensor.half()
    return half if quantised or torch.equal(half.float(), tensor) else tensor


KEPT = "quantised matrices as fp16, all other tensors exactly (fp16 where that is exact, else fp32)"


def smollm2_from_gguf(payload: Path) -> Content:
    """Read a Llama-family GGUF file with its tokenizer."""
    stored = read_gguf(payload)
    opened = place_gguf(stored)
    names = llama.table(opened.config.tied).rename(opened.tensors)
    origin = llama.gguf_table(opened.config.tied)
    tensors = {}
    for ours, theirs in names.items():
        kind = stored.stored[str(origin.theirs(ours))].kind
        tensors[theirs] = compact(opened.tensors[ours], quantised=kind.block > 1)
    files = tokenizer_files(stored.metadata, payload.name)
    ids = json.loads(files["generation_config.json"])
    config = llama.write_config(opened.config, torch.float16, ids)
    return Content(config, tensors, KEPT, files)


def clip_from_onnx(payload: Path, config: ViTConfig) -> Content:
    """Read CLIP's int8 vision tower and projection; the file states no sizes, so they are given."""
    weights = dequantised(read_onnx(payload), PROJECTION)
    clip.table(clip.IMAGE).match(weights, payload.name)
    exact = {name for name, value in weights.items() if value.ndim == 1 or "embedding" in name}
    tensors = {
        name: compact(torch.from_numpy(value.copy()), quantised=name not in exact)
        for name, value in weights.items()
    }
    if PROJECTION not in tensors:
        raise CheckpointError(f"{payload.name} holds no projection.")
    record = clip.write_config(config, torch.float16, len(tensors[PROJECTION]))
    files = {"preprocessor_config.json": clip_preprocessor(config.image_size)}
    return Content(record, tensors, KEPT, files)


def decoder_from_hub(folder: Path) -> Content:
    """Take over a LlamaForCausalLM folder as it came from the hub, tensor for tensor."""
    opened = open_decoder(folder)
    tensors = llama.table(opened.config.tied).pack(opened.tensors)
    files = read_companions(folder)
    if "chat_template.jinja" not in files and "tokenizer_config.json" in files:
        template = read_json(folder / "tokenizer_config.json").get("chat_template")
        if isinstance(template, str):  # transformers 4 kept it there
            files["chat_template.jinja"] = template.encode()
    ids = read_json(folder / "generation_config.json") if "generation_config.json" in files else {}
    config = llama.write_config(opened.config, _main_type(tensors), ids)
    return Content(config, tensors, "as on the hub", files)


def vit_from_hub(folder: Path) -> Content:
    """Take the tower that looks out of a CLIP folder as it came from the hub."""
    opened = open_image_tower(folder)
    tensors = clip.table(clip.IMAGE).pack(opened.tensors)
    # The other companions belong to the text tower.
    recipe = read_companions(folder).get("preprocessor_config.json")
    size = opened.config.encoder.image_size
    files = {"preprocessor_config.json": recipe or clip_preprocessor(size)}
    config = clip.write_image(opened.config, _main_type(tensors))
    return Content(config, tensors, "as on the hub", files)


def _main_type(tensors: Mapping[str, Tensor]) -> torch.dtype:
    largest = max(tensors.values(), key=lambda tensor: tensor.numel())
    return largest.dtype


def clip_preprocessor(size: int) -> bytes:
    """Return the preprocessor_config.json of OpenAI's CLIP (Radford et al. 2021)."""
    record = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    return (json.dumps(record, indent=2) + "\n").encode()
