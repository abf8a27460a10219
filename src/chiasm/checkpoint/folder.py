"""Model folders: a language model or eyes in transformers' layout, in and out; Meta's layout, in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from chiasm.base.config import Settings, as_record, from_record
from chiasm.base.errors import UserError
from chiasm.base.files import atomic_directory, write_atomic
from chiasm.checkpoint import gguf_rope
from chiasm.checkpoint.card import NAME as CARD
from chiasm.checkpoint.card import described, write_card
from chiasm.checkpoint.families import llama, meta
from chiasm.checkpoint.families.eyes import eyes_in, eyes_of
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
    spec_of,
)
from chiasm.models.changes import Changes, change, changes_of
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
QUANTISED, OURS = "quantization_config", "chiasm"
"""Where config.json says that weights are integers, and by whose quant_method."""
COMPANION_BYTES = 64 << 20
"""A companion larger than this is refused; the largest tokenizers have some 30 MB."""


@dataclass(frozen=True)
class Opened(Generic[C]):
    """A model or a part on disk: settings and names are checked, values not yet read."""

    config: C
    tensors: Mapping[str, Tensor]
    """Under our names, as stored."""
    provenance: Provenance
    changes: Changes = field(default_factory=Changes)
    """Which linear layers are integers."""


def open_decoder(path: Path | str) -> Opened[DecoderConfig]:
    """Open a LlamaForCausalLM folder (with our integers, too), one of Meta's, or a GGUF file of a Llama."""
    path = Path(path)
    if path.suffix == ".gguf":
        return place_gguf(read_gguf(path))
    if is_metas(path):
        opened = open_meta(read_json(path / PARAMS), read_tensors(path), path)
        if not isinstance(opened.config, DecoderConfig):
            raise CheckpointError(f"{path} is a vision LLM, not a language model alone.")
        return opened
    record, source = read_json(path / "config.json"), str(path / "config.json")
    changes = Changes()
    if _is_ours(record.get(QUANTISED)):
        changes = _read_changes(record.pop(QUANTISED), source)
    config = llama.read_config(record, source)
    table = llama.table(config.tied)
    table = table.with_integers() if changes.quantised else table
    opened = place(config, read_tensors(path), table, path, described(path))
    return dataclasses.replace(opened, changes=changes)


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
    if gguf_rope.NAME in stored:
        config = gguf_rope.scaled_as_stored(config, stored[gguf_rope.NAME], str(stored.path))
        table = dataclasses.replace(
            table, left_out={gguf_rope.NAME: "computed from the settings it agrees with"}
        )
    return place(config, stored, table, stored.path, stored.path.name)


def open_vit(path: Path | str) -> Opened[ViTConfig]:
    """Open eyes: those in a folder of CLIP, SigLIP or the plain ViT, alone or in a whole model.

    CLIPModel, CLIPVisionModel (...WithProjection), SiglipModel, SiglipVisionModel, ViTModel and
    ViTForImageClassification, as transformers 4 and 5 write them.
    """
    path = Path(path)
    values, source = read_json(path / "config.json"), str(path / "config.json")
    family = eyes_in(values, source)
    config, tensors = family.read_config(values, source), read_tensors(path)
    return place(config, tensors, family.table(names=tensors), path, described(path))


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
    model: Decoder | Opened[DecoderConfig],
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a LlamaForCausalLM folder, tensor for tensor, at once or not at all.

    model  a built one, or one on disk, whose tensors are then read one at a time
    files  companions such as tokenizer.json; the special tokens' numbers for config.json are taken
           from a generation_config.json among them

    Layers of integers are recorded as "quantization_config", with scales and zeros beside them; such a
    folder is for Chiasm alone. Raises UserError for a model with adapters.
    """
    files = files or {}
    ids = json.loads(files.get("generation_config.json", b"{}"))
    if isinstance(model, Opened):
        tensors, changes = model.tensors, model.changes
        dtype = spec_of(tensors, "embed.weight").dtype
    else:
        tensors, changes, dtype = model.state_dict(), changes_of(model), dtype_of(model)
    config = llama.write_config(model.config, dtype, ids)
    names = llama.table(model.config.tied)
    if changes.lora:
        raise UserError(
            "A language model's folder holds no adapters: merge them before it is saved."
        )
    if changes.quantised:
        config = {**config, QUANTISED: {"quant_method": OURS, **as_record(changes)}}
        names = names.with_integers()
    write_folder(path, config, names.pack(tensors), files, replace)


def save_vit(
    model: ViT,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write eyes as a folder, tensor for tensor, at once or not at all.

    A CLIPVisionModel, a SiglipVisionModel without head or a ViTModel without pooler, by their shape;
    a shape that none of them has is a UserError.
    """
    family = eyes_of(model.config)
    config = family.write_config(model.config, dtype_of(model))
    write_folder(path, config, family.table().pack(model.state_dict()), files or {}, replace)


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the type of a model's first parameter, which config.json states for all."""
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
