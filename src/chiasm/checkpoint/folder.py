"""Model folders in transformers' layout: a language model or eyes, in and out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from chiasm.base.config import as_record, from_record
from chiasm.base.errors import UserError
from chiasm.base.files import atomic_directory, write_atomic
from chiasm.checkpoint.card import NAME as CARD
from chiasm.checkpoint.card import described, write_card
from chiasm.checkpoint.families import clip, llama
from chiasm.checkpoint.gguf import Gguf, read_gguf
from chiasm.checkpoint.names import NameTable, Placed
from chiasm.checkpoint.weights import (
    CheckpointError,
    Provenance,
    TensorFiles,
    load_strict,
    read_json,
    read_tensors,
    write_tensors,
)
from chiasm.models.changes import Changes, change, changes_of
from chiasm.models.decoder import Decoder, DecoderConfig
from chiasm.models.vit import ViT, ViTConfig

C = TypeVar("C", DecoderConfig, ViTConfig)

COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "generation_config.json",
)
"""Files that stand beside the weights in a model folder."""
QUANTISED, OURS = "quantization_config", "chiasm"
"""Where config.json says that weights are integers, and by whose quant_method."""
COMPANION_BYTES = 64 << 20
"""A companion larger than this is refused; the largest tokenizers have some 30 MB."""


@dataclass(frozen=True)
class Opened(Generic[C]):
    """A language model or eyes on disk: settings and names are checked, values not yet read."""

    config: C
    tensors: Mapping[str, Tensor]
    """Under our names, as stored."""
    provenance: Provenance
    changes: Changes = field(default_factory=Changes)
    """Which linear layers are integers."""


def open_decoder(path: Path | str) -> Opened[DecoderConfig]:
    """Open a LlamaForCausalLM folder, ours with integers too, or a GGUF file of architecture "llama"."""
    path = Path(path)
    if path.suffix == ".gguf":
        return place_gguf(read_gguf(path))
    record, source = read_json(path / "config.json"), str(path / "config.json")
    changes = Changes()
    if _is_ours(record.get(QUANTISED)):
        changes = _read_changes(record.pop(QUANTISED), source)
    config = llama.read_config(record, source)
    table = llama.table(config.tied)
    table = table.with_integers() if changes.quantised else table
    opened = _opened(config, read_tensors(path), table, path, described(path))
    return dataclasses.replace(opened, changes=changes)


def _is_ours(record: Any) -> bool:
    """Whether a quantization_config is one that `save_decoder` writes; others are not ours to read."""
    return isinstance(record, Mapping) and record.get("quant_method") == OURS


def _read_changes(record: Mapping[str, Any], source: str) -> Changes:
    rest = {key: value for key, value in record.items() if key != "quant_method"}
    changes = from_record(Changes, rest, f"{source}, {QUANTISED}")
    if changes.lora:
        raise CheckpointError(f"{source}: a language model's folder holds no adapters.")
    return changes


def place_gguf(stored: Gguf) -> Opened[DecoderConfig]:
    """Read settings and names of an open GGUF file of architecture "llama"."""
    shapes = {name: place.shape for name, place in stored.stored.items()}
    config = llama.read_gguf_config(stored.metadata, shapes, str(stored.path))
    table = llama.gguf_table(config.tied)
    return _opened(config, stored, table, stored.path, stored.path.name)


def open_vit(path: Path | str) -> Opened[ViTConfig]:
    """Open the vision tower of a CLIPModel or CLIPVisionModel (...WithProjection) folder."""
    path = Path(path)
    config = clip.read_config(read_json(path / "config.json"), str(path / "config.json"))
    tensors = read_tensors(path)
    return _opened(config, tensors, clip.table(clip.prefix_of(tensors)), path, described(path))


def _opened(
    config: C, stored: TensorFiles | Gguf, table: NameTable, path: Path, source: str
) -> Opened[C]:
    found = table.match(stored, str(path))
    for twin, place in found.twins.items():
        if place not in found.places:
            found.places[place] = twin  # the only copy there is
        elif not torch.equal(stored[twin], stored[found.places[place]]):
            raise CheckpointError(
                f'{path}: "{twin}" differs from "{found.places[place]}", though config.json ties '
                'them; set "tie_word_embeddings" to false if they are meant to differ.'
            )
    origins = {place: stored.origin(name) for place, name in found.places.items()}
    left_out = {stored.origin(name): why for name, why in found.left_out.items()}
    tensors: Mapping[str, Tensor] = Placed(stored, found.places)
    if isinstance(stored, Gguf) and isinstance(config, DecoderConfig):
        decoder = config
        tensors = Placed(
            stored, found.places, lambda name, value: llama.from_gguf(decoder, name, value)
        )
    return Opened(config, tensors, Provenance(source, origins, left_out))


def load_decoder(
    path: Path | str, dtype: torch.dtype = torch.float32
) -> tuple[Decoder, Provenance]:
    """Load a language model, its weights as `dtype`; see `open_decoder` for what can be read.

    Strict both ways: a missing, unknown or mis-shaped tensor is a CheckpointError that names it.
    """
    opened = open_decoder(path)
    with torch.device("meta"):
        model = Decoder(opened.config)
        change(model, opened.changes)
    load_strict(model, opened.tensors, opened.provenance.tensors, dtype)
    return model, opened.provenance


def load_vit(path: Path | str, dtype: torch.dtype = torch.float32) -> tuple[ViT, Provenance]:
    """Load eyes, their weights as `dtype`; see `open_vit` for what can be read. Strict as above."""
    opened = open_vit(path)
    with torch.device("meta"):
        model = ViT(opened.config)
    load_strict(model, opened.tensors, opened.provenance.tensors, dtype)
    return model, opened.provenance


def save_decoder(
    model: Decoder,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a LlamaForCausalLM folder, tensor for tensor, at once or not at all.

    files  companions such as tokenizer.json; the special tokens' numbers for config.json are taken
           from a generation_config.json among them

    Layers of integers are recorded as "quantization_config", with scales and zeros beside them; such a
    folder is for Chiasm alone. Raises UserError for a model with adapters.
    """
    files = files or {}
    ids = json.loads(files.get("generation_config.json", b"{}"))
    config = llama.write_config(model.config, _dtype(model), ids)
    names = llama.table(model.config.tied)
    changes = changes_of(model)
    if changes.lora:
        raise UserError(
            "A language model's folder holds no adapters: merge them before it is saved."
        )
    if changes.quantised:
        config = {**config, QUANTISED: {"quant_method": OURS, **as_record(changes)}}
        names = names.with_integers()
    write_folder(path, config, _renamed(model, names), files, replace)


def save_vit(
    model: ViT,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    projection: Tensor | None = None,
    replace: bool = False,
) -> None:
    """Write a CLIPVisionModel folder, tensor for tensor, at once or not at all.

    projection  [P, width] into CLIP's shared space; makes it a CLIPVisionModelWithProjection folder
    """
    tensors = _renamed(model, clip.table())
    if projection is not None:
        tensors["visual_projection.weight"] = projection
    config = clip.write_config(
        model.config, _dtype(model), None if projection is None else len(projection)
    )
    write_folder(path, config, tensors, files or {}, replace)


def _renamed(model: nn.Module, table: NameTable) -> dict[str, Tensor]:
    own = model.state_dict()
    return {theirs: own[ours] for ours, theirs in table.rename(own).items()}


def _dtype(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def write_folder(
    path: Path | str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    replace: bool = False,
) -> None:
    """Write config.json, model.safetensors, a card and companions, at once or not at all."""
    path = Path(path)
    card = write_card(path.name, "Written by Chiasm.", {}).encode()
    with atomic_directory(path, replace) as folder:
        fill_folder(folder, config, tensors, {CARD: card} | dict(files))


def fill_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes],
) -> None:
    """Write config.json, model.safetensors and companions into a folder that nobody reads yet."""
    for name, data in files.items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        write_atomic(folder / name, data)
    write_atomic(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    write_tensors(folder / "model.safetensors", tensors)


def read_companions(folder: Path | str) -> dict[str, bytes]:
    """Return the files that stand beside the weights of a folder, by name."""
    found = {}
    for name in COMPANIONS:
        file = Path(folder, name)
        if file.is_file():
            if file.stat().st_size > COMPANION_BYTES:
                raise CheckpointError(f"{file} is larger than {COMPANION_BYTES >> 20} MB; refused.")
            found[name] = file.read_bytes()
    return found
