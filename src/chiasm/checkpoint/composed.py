"""Our own folders: a composed model, its parts carried inside or loaded from where they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiasm.base.config import as_record, from_record
from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.fetch import Say
from chiasm.base.files import atomic_directory
from chiasm.base.layers import is_adapter
from chiasm.base.log import say as say_aloud
from chiasm.checkpoint.builtin import PARTS, pull
from chiasm.checkpoint.card import NAME as CARD
from chiasm.checkpoint.card import described, write_card
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.folder import Opened, fill_folder
from chiasm.checkpoint.hub import is_hub_id, pull_hub
from chiasm.checkpoint.parts import Part, open_part
from chiasm.checkpoint.weights import (
    CheckpointError,
    Provenance,
    load_strict,
    read_json,
    read_tensors,
    tensors_sha256,
)
from chiasm.models import (
    Crossed,
    CrossedConfig,
    Prefix,
    PrefixConfig,
    compose,
)
from chiasm.models.changes import Changes, change, changes_of, merge_lora

FORMAT, PLAIN = 2, 1
"""Of config.json: of a model with changed layers, and of one without. A folder with a higher number was
written by a later Chiasm."""
_KINDS: dict[str, type[CrossedConfig] | type[PrefixConfig]] = {
    "chiasm_crossed": CrossedConfig,
    "chiasm_prefix": PrefixConfig,
}
_PARTS: tuple[Part, ...] = ("decoder", "encoder")


@dataclass(frozen=True)
class Loaded:
    """A composed model with what its folder says about it."""

    model: Crossed | Prefix
    config: dict[str, Any]
    """The whole config.json."""
    provenance: Provenance


def save_model(
    model: Crossed | Prefix,
    path: Path | str,
    *,
    config: Mapping[str, Any],
    files: Mapping[str, bytes],
    parts: Mapping[str, str],
    dtype: torch.dtype | None = None,
    replace: bool = False,
) -> None:
    """Write a composed model as a folder that appears at once or not at all.

    config  further entries of config.json, such as the recipe; the model's own settings are added
    files   companions by name: tokenizer.json, chat_template.jinja, README.md, ...
    parts   "decoder" or "encoder" -> the built-in name or folder to load it from again; its tensors
            are then not carried, but for its adapters. A part that no longer equals its source is a
            UserError.
    dtype   of the tensors carried inside; as they are when absent. Adapters stay as they are: further
            training takes them up again, and they are small

    Adapters and layers of integers are recorded in config.json as "changes", so that loading builds
    them again.
    """
    path = Path(path)
    references = {name: _reference(model, name, where) for name, where in parts.items()}
    changes = changes_of(model)
    learnt = {name for name, _ in model.named_parameters() if not is_adapter(name)}
    inside = {
        name: tensor.to(dtype) if dtype is not None and name in learnt else tensor
        for name, tensor in model.state_dict().items()
        if name.partition(".")[0] not in references or is_adapter(name)
    }
    record = {
        **config,
        "model_type": f"chiasm_{model.config.kind}",
        "architectures": [type(model).__name__],
        "format": FORMAT if changes != Changes() else PLAIN,
        "model": as_record(model.config),
        "parts": references,
        **({"changes": as_record(changes)} if changes != Changes() else {}),
    }
    with atomic_directory(path, replace) as folder:
        fill_folder(folder, record, inside, {CARD: _card(path.name, record)} | dict(files))


def _reference(model: nn.Module, name: str, where: str) -> dict[str, str]:
    """Say where a part comes from, after making sure that loading it again gives the same part."""
    part = _part_called(name)
    if part is None:
        raise ValueError(f"{name} is no part; parts are {list(_PARTS)}")
    source = where if where in PARTS or is_hub_id(where) else str(Path(where).resolve())
    opened = open_part(part_home(source), part)
    own = model.get_submodule(name).state_dict()
    own = {key: value for key, value in own.items() if not is_adapter(key)}
    same = own.keys() == opened.tensors.keys() and all(
        torch.equal(opened.tensors[key].to(value.dtype), value.cpu()) for key, value in own.items()
    )
    if not same:
        raise UserError(
            f"The {name} is not the one of {where} any more, so it cannot be saved as a reference: "
            "let it be carried inside."
        )
    return {"source": source, "sha256": tensors_sha256(opened.tensors)}


def _card(name: str, record: Mapping[str, Any]) -> bytes:
    parts = record["parts"] or {"(none)": {"source": "every tensor is inside"}}
    text = "A language model with eyes, composed by Chiasm. Parts that are not inside:\n\n"
    text += "".join(f"- {part}: {where['source']}\n" for part, where in parts.items())
    if record.get("changes", {}).get("lora"):
        text += (
            "\nIts adapters (LoRA) are inside. `chiasm.load` adds them to the matrices they belong to; "
            "with `merge=False` it keeps them apart, to train on.\n"
        )
    return write_card(name, text, {"model_type": record["model_type"]}).encode()


def load_model(
    path: Path | str,
    dtype: torch.dtype = torch.float32,
    *,
    parts: Mapping[str, str] | None = None,
    say: Say = say_aloud,
    merge: bool = True,
) -> Loaded:
    """Load a folder that `save_model` wrote, all its weights as `dtype`.

    parts  where to find referenced parts instead, when they have moved; their tensors must still
           have the recorded SHA-256
    merge  add adapters to the matrices they belong to, as one does to speak; False keeps them apart
           in fp32, as one does to train on

    Raises CheckpointError when anything is missing, damaged or not what it was.
    """
    path = Path(path)
    record = Record(read_json(path / "config.json"), str(path / "config.json"))
    config = _read_config(record)
    stored = read_tensors(path)
    tensors: dict[str, tuple[Mapping[str, Tensor], str]] = {name: (stored, name) for name in stored}
    found = Provenance(described(path), {name: stored.origin(name) for name in stored}, {})
    references = record.inner("parts") or Record({}, record.source)
    for name in references.values:
        opened = _referenced(name, references, config, (parts or {}).get(name), say)
        origins = opened.provenance
        for key in opened.tensors:
            if (full := f"{name}.{key}") in tensors:
                raise CheckpointError(f'{path} carries "{full}" and refers to it elsewhere, too.')
            tensors[full] = (opened.tensors, key)
            found.tensors[full] = f"{origins.source}, {origins.tensors[key]}"
        found.left_out.update(origins.left_out)
    with torch.device("meta"):
        model = compose(config)
        change(model, _read_changes(record))
    load_strict(model, _Joined(tensors), found.tensors, dtype)
    if merge:
        merge_lora(model, dtype)
    return Loaded(model, dict(record.values), found)


class _Joined(Mapping[str, Tensor]):
    """Tensors of several sources under one list of names."""

    def __init__(self, places: Mapping[str, tuple[Mapping[str, Tensor], str]]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Tensor:
        source, key = self._places[name]
        return source[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read_config(record: Record) -> CrossedConfig | PrefixConfig:
    kind = record.values.get("model_type")
    if kind not in _KINDS:
        raise CheckpointError(
            f"{record.source} is of model_type {kind!r}, which Chiasm did not write."
        )
    if record.whole("format") > FORMAT:
        raise CheckpointError(f"{record.source} was written by a later Chiasm; upgrade this one.")
    settings = record.inner("model")
    if settings is None:
        raise CheckpointError(f'{record.source} has no "model".')
    return from_record(_KINDS[kind], settings.values, settings.source)


def _read_changes(record: Record) -> Changes:
    changes = record.inner("changes")
    if changes is None:
        return Changes()
    return from_record(Changes, changes.values, changes.source)


def _referenced(
    name: str,
    references: Record,
    config: CrossedConfig | PrefixConfig,
    instead: str | None,
    say: Say,
) -> Opened[Any]:
    """Open a part that the folder refers to, and make sure that it is the one that was meant."""
    reference, part = references.inner(name), _part_called(name)
    if part is None or reference is None:
        raise CheckpointError(f'{references.source}: "{name}" is no part.')
    source, sha256 = reference.text("source"), reference.text("sha256")
    opened = open_part(part_home(instead or source, say), part)
    wanted = config.decoder if name == "decoder" else config.encoder
    if opened.config != wanted or tensors_sha256(opened.tensors) != sha256:
        raise CheckpointError(
            f"The {name} in {opened.provenance.source} is not the one that {references.source} "
            f"means ({source}, SHA-256 {sha256}); use the same source, or a model that carries "
            "its parts."
        )
    return opened


def _part_called(name: str) -> Part | None:
    return next((part for part in _PARTS if part == name), None)


def part_home(name: str, say: Say = say_aloud) -> Path:
    """Return the folder of a part: a built-in name or hub id is fetched once, a path taken as it is."""
    if name in PARTS:
        return pull(name, say)
    if is_hub_id(name):
        return pull_hub(name, say)
    if not Path(name).exists():
        raise UserError(
            f'There is neither a folder nor a built-in part called "{name}".'
            f"{did_you_mean(name, PARTS)} Built in are {', '.join(sorted(PARTS))}."
        )
    return Path(name)
