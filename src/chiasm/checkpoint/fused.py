"""Other people's folders of whole vision LLMs, in and out: Mllama, LLaVA, and Meta's own names.

    config.json  + model.safetensors   Mllama ─┬─► Opened[CrossedConfig] ──► Crossed
    params.json  + tensors of any kind  Meta ──┘
    config.json  + model.safetensors   LLaVA ────► Opened[PrefixConfig] ───► Prefix

Nothing is read before it is asked for, in either direction: what is opened can be written in another
layout tensor by tensor. (Mllama's three tile tables are read, to see which kind they are.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.base.files import atomic_directory, write_atomic
from chiasm.checkpoint.card import NAME as CARD
from chiasm.checkpoint.card import described, write_card
from chiasm.checkpoint.families import llava, meta, mllama
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.folder import PARAMS, Opened, is_metas, open_meta, place, write_folder
from chiasm.checkpoint.names import Packed
from chiasm.checkpoint.shards import write_shards
from chiasm.checkpoint.weights import (
    CheckpointError,
    Provenance,
    load_strict,
    read_json,
    read_tensors,
    spec_of,
)
from chiasm.models import (
    Crossed,
    CrossedConfig,
    Decoder,
    DecoderConfig,
    Prefix,
    PrefixConfig,
    compose,
)

Layout: TypeAlias = Literal["transformers", "meta"]
Fused: TypeAlias = Crossed | Prefix
FusedConfig: TypeAlias = CrossedConfig | PrefixConfig


def is_fused(path: Path | str) -> bool:
    """Whether a folder holds a vision LLM of others: Mllama's, LLaVA's, or Meta's with eyes."""
    path = Path(path)
    if is_metas(path):
        params = read_json(path / PARAMS)
        return "vision_chunk_size" in params or "vision_num_cross_attention_layers" in params
    config = path / "config.json"
    return config.is_file() and read_json(config).get("model_type") in ("mllama", "llava")


def open_fused(path: Path | str) -> Opened[Any]:
    """Open a MllamaForConditionalGeneration or LlavaForConditionalGeneration folder, or one of Meta's.

    The settings are a CrossedConfig, a PrefixConfig or, for a language model of Meta's, a DecoderConfig.
    Meta's tensors must lie in safetensors files; `folder.open_meta` takes those of other files.

    Raises CheckpointError for what is damaged, unknown or cannot be computed.
    """
    path = Path(path)
    if is_metas(path):
        return open_meta(read_json(path / PARAMS), read_tensors(path), path)
    source = str(path / "config.json")
    values = read_json(path / "config.json")
    if Record(values, source).allow("model_type", "mllama", "llava") == "llava":
        tensors, settings = read_tensors(path), llava.read_config(values, source)
        return place(settings, tensors, llava.table(settings, tensors), path, described(path))
    return _open_mllama(values, source, path)


def _open_mllama(values: Mapping[str, Any], source: str, path: Path) -> Opened[CrossedConfig]:
    config, tensors = mllama.read_config(values, source), read_tensors(path)
    opened = place(config, tensors, mllama.table(config, tensors), path, described(path))
    tables = [f"encoder.{name}.weight" for name in mllama.TABLES]
    if all(name in opened.tensors for name in tables) and mllama.are_grids(config, opened.tensors):
        eyes = config.encoder.model_copy(update={"tables": "grid"})
        config = config.model_copy(update={"encoder": eyes})
        opened = place(config, tensors, mllama.table(config, tensors), path, described(path))
    return opened


def load_fused(path: Path | str, dtype: torch.dtype = torch.float32) -> tuple[Fused, Provenance]:
    """Load a vision LLM, its weights as `dtype`; see `open_fused` for what can be read.

    Strict both ways: a missing, unknown or mis-shaped tensor is a CheckpointError that names it.
    """
    opened = open_fused(path)
    config = opened.config
    if isinstance(config, DecoderConfig):
        raise CheckpointError(f"{path} is a language model without eyes.")
    with torch.device("meta"):
        model = compose(config)
    load_strict(model, opened.tensors, opened.provenance.tensors, dtype)
    return model, opened.provenance


def save_fused(
    model: Fused | Decoder | Opened[Any],
    path: Path | str,
    layout: Layout = "transformers",
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a vision LLM as a folder of transformers' or Meta's layout, at once or not at all.

    model   a built model, or an opened one, whose tensors are then read one at a time
    layout  "transformers": a MllamaForConditionalGeneration or LlavaForConditionalGeneration with the
            hub's names; "meta": params.json and Meta's names, in safetensors files
    files   companions by name; the special tokens' numbers for config.json are taken from a
            generation_config.json among them

    A model that the layout cannot hold is a UserError.
    """
    tensors = model.tensors if isinstance(model, Opened) else model.state_dict()
    files, path = files or {}, Path(path)
    if layout == "meta":
        params, packed = packed_for_meta(model.config, tensors)
        _write_meta(path, params, packed, files, replace)
        return
    ids = json.loads(files.get("generation_config.json", b"{}"))
    config, packed = packed_for_transformers(model.config, tensors, ids)
    write_folder(path, config, packed, files, replace)


def packed_for_transformers(
    config: DecoderConfig | FusedConfig, tensors: Mapping[str, Tensor], ids: Mapping[str, Any]
) -> tuple[dict[str, Any], Packed]:
    """Return config.json and the tensors under the hub's names; nothing is read.

    ids  the special tokens' numbers by transformers' names (`bos_token_id`, …)
    """
    if isinstance(config, DecoderConfig):
        raise UserError("A language model without eyes is written as a LlamaForCausalLM folder.")
    dtype = spec_of(tensors, "decoder.embed.weight").dtype
    if isinstance(config, CrossedConfig):
        return mllama.write_config(config, dtype, ids), mllama.table(config).pack(tensors)
    return llava.write_config(config, dtype, ids), llava.table(config).pack(tensors)


def packed_for_meta(
    config: DecoderConfig | FusedConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], Packed]:
    """Return params.json and the tensors under Meta's names; nothing is read."""
    if isinstance(config, PrefixConfig):
        raise UserError(
            "Meta's layout holds language models and cross-attention models, not this one."
        )
    return meta.write_params(config), meta.table(config).pack(tensors)


def _write_meta(
    path: Path,
    params: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    replace: bool,
) -> None:
    card = write_card(path.name, "Written by Chiasm, in Meta's layout.", {}).encode()
    with atomic_directory(path, replace) as folder:
        for name, data in ({CARD: card} | dict(files)).items():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")
            write_atomic(folder / name, data)
        write_atomic(folder / PARAMS, json.dumps(params, indent=2) + "\n")
        write_shards(folder, tensors)
