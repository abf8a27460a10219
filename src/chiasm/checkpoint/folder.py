"""Model folders: a language model or eyes in transformers' layout, in and out; Meta's layout, in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.base.files import atomic_directory, write_atomic
from chiasm.checkpoint.card import NAME as CARD
from chiasm.checkpoint.card import described, write_card
from chiasm.checkpoint.families import clip, llama, meta
from chiasm.checkpoint.gguf import Gguf, read_gguf
from chiasm.checkpoint.names import NameTable, Placed
from chiasm.checkpoint.shards import write_shards
from chiasm.checkpoint.weights import (
    CheckpointError,
    Provenance,
    StoredTensors,
    load_strict,
    read_json,
    read_tensors,
)
from chiasm.models.decoder import Decoder, DecoderConfig
from chiasm.models.vit import ViT, ViTConfig

C = TypeVar("C", bound=Settings)

PARAMS = "params.json"
"""Meta's settings."""
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "generation_config.json",
)
"""Files that stand beside the weights in a model folder."""
COMPANION_BYTES = 64 << 20
"""A companion larger than this is refused; the largest tokenizers have some 30 MB."""


@dataclass(frozen=True)
class Opened(Generic[C]):
    """A model or a part on disk: settings and names are checked, values not yet read."""

    config: C
    tensors: Mapping[str, Tensor]
    """Under our names, as stored."""
    provenance: Provenance


def open_decoder(path: Path | str) -> Opened[DecoderConfig]:
    """Open a LlamaForCausalLM folder, one in Meta's layout, or a GGUF file of architecture "llama"."""
    path = Path(path)
    if path.suffix == ".gguf":
        return place_gguf(read_gguf(path))
    if is_metas(path):
        opened = open_meta(read_json(path / PARAMS), read_tensors(path), path)
        if not isinstance(opened.config, DecoderConfig):
            raise CheckpointError(f"{path} is a vision LLM, not a language model alone.")
        return opened
    config = llama.read_config(read_json(path / "config.json"), str(path / "config.json"))
    return place(config, read_tensors(path), llama.table(config.tied), path, described(path))


def is_metas(path: Path) -> bool:
    """Whether a folder is in Meta's layout: it has a params.json and no config.json."""
    return (path / PARAMS).exists() and not (path / "config.json").exists()


def open_meta(
    params: Mapping[str, Any],
    tensors: StoredTensors,
    path: Path,
) -> Opened[Any]:
    """Open what Meta publishes: params.json and tensors under its names, whatever files hold them.

    Cut tensors (consolidated.0N.pth) must have been put together along `families.meta.merge_dim`.
    The settings are a DecoderConfig or, for Llama 3.2 Vision, a CrossedConfig.
    """
    shapes = {name: tensors.spec(name).shape for name in tensors}
    config = meta.read_params(params, shapes, str(path / PARAMS))
    return place(config, tensors, meta.table(config), path, described(path))


def place_gguf(stored: Gguf) -> Opened[DecoderConfig]:
    """Read settings and names of an open GGUF file of architecture "llama"."""
    shapes = {name: place.shape for name, place in stored.stored.items()}
    config = llama.read_gguf_config(stored.metadata, shapes, str(stored.path))
    table = llama.gguf_table(config.tied)
    return place(config, stored, table, stored.path, stored.path.name)


def open_vit(path: Path | str) -> Opened[ViTConfig]:
    """Open the vision tower of a CLIPModel or CLIPVisionModel (...WithProjection) folder."""
    path = Path(path)
    config = clip.read_config(read_json(path / "config.json"), str(path / "config.json"))
    tensors = read_tensors(path)
    return place(config, tensors, clip.table(clip.prefix_of(tensors)), path, described(path))


def place(
    config: C, stored: StoredTensors | Gguf, table: NameTable, path: Path, source: str
) -> Opened[C]:
    """Give a file's tensors the names of our table; second copies must be equal to the first."""
    found = table.match(stored, str(path))
    tensors: Mapping[str, Tensor] = Placed(stored, found.places, table.unpack)
    for twin, place in found.twins.items():
        if place in found.places:
            if not torch.equal(stored[twin], table.repeat(twin, tensors)):
                raise CheckpointError(
                    f'{path}: "{twin}" differs from "{found.places[place]}", though config.json '
                    'ties them; set "tie_word_embeddings" to false if they are meant to differ.'
                )
        elif table.theirs(place) not in table.changes:
            found.places[place] = twin  # the only copy there is
    origins = {place: stored.origin(name) for place, name in found.places.items()}
    left_out = {stored.origin(name): why for name, why in found.left_out.items()}
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
    """
    files = files or {}
    ids = json.loads(files.get("generation_config.json", b"{}"))
    config = llama.write_config(model.config, _dtype(model), ids)
    names = llama.table(model.config.tied)
    write_folder(path, config, names.pack(model.state_dict()), files, replace)


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
    tensors = dict(clip.table().pack(model.state_dict()))
    if projection is not None:
        tensors["visual_projection.weight"] = projection
    config = clip.write_config(
        model.config, _dtype(model), None if projection is None else len(projection)
    )
    write_folder(path, config, tensors, files or {}, replace)


def _dtype(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def write_folder(
    path: Path | str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    replace: bool = False,
) -> None:
    """Write config.json, weights (in shards when large), a card and companions, or nothing."""
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
    """Write config.json, weights (in shards when large) and companions into a new, private folder."""
    for name, data in files.items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        write_atomic(folder / name, data)
    write_atomic(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    write_shards(folder, tensors)


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
