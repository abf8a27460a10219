"""Tensors from disk: safetensors files, alone or in shards, read lazily and loaded strictly."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import is_adapter

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
)
"""The number formats of a safetensors file and PyTorch's."""
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
JSON_BYTES = 64 << 20
"""No honest configuration or shard index comes near this size."""
SHARDED_TENSORS = 200_000
"""A shard index that names more tensors than this is refused."""


class CheckpointError(UserError):
    """Weights that are damaged, unsafe, or do not fit the model; names file and tensor."""


@dataclass(frozen=True)
class Provenance:
    """Where the tensors of a loaded model came from, and what was left behind."""

    source: str
    """The folder or file, and the package or hub revision that it was made from, when known."""
    tensors: dict[str, str] = field(default_factory=dict)
    """Our name -> "file:name in the file"."""
    left_out: dict[str, str] = field(default_factory=dict)
    """"file:name in the file" -> why the model does not need it."""


@dataclass(frozen=True)
class Spec:
    """What is known of a tensor before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class LazyTensors(Mapping[str, Tensor]):
    """Tensors that cost nothing until they are asked for; their types and shapes are known before."""

    @abstractmethod
    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""


class StoredTensors(LazyTensors):
    """Tensors of files, which can say where each stands."""

    path: Path
    """The file or folder."""

    @abstractmethod
    def origin(self, name: str) -> str:
        """Return "file:name" of a tensor, for messages and records."""


def spec_of(tensors: Mapping[str, Tensor], name: str) -> Spec:
    """Return type and shape of a tensor, without reading it where the mapping allows that."""
    if isinstance(tensors, LazyTensors):
        return tensors.spec(name)
    tensor = tensors[name]
    return Spec(tensor.dtype, tuple(tensor.shape))


class TensorFiles(StoredTensors):
    """Tensors of one or several safetensors files; each is read when it is asked for.

    What comes out is mapped to the file: copy it before you keep or change it.
    """

    def __init__(self, path: Path, places: Mapping[str, Path] | None = None) -> None:
        """Open one file, or with `places` (tensor name -> file) the shards of a folder."""
        self.path = path
        files = sorted(set(places.values())) if places is not None else [path]
        opened = {file: _open(file) for file in files}
        held = {file: list(opened[file].keys()) for file in files}
        self._handles = {name: opened[file] for file in files for name in held[file]}
        self._files = {name: file for file in files for name in held[file]}
        if places is not None:
            self._check_index(places, opened)

    def _check_index(self, places: Mapping[str, Path], opened: Mapping[Path, Any]) -> None:
        for file, handle in opened.items():
            held, promised = set(handle.keys()), {n for n, f in places.items() if f == file}
            if held != promised:
                name = min(held ^ promised)
                side = "does not hold" if name in promised else "holds a second or unlisted"
                raise CheckpointError(
                    f'{file} {side} tensor "{name}" against its index; download the folder again.'
                )

    def __getitem__(self, name: str) -> Tensor:
        handle = self._handles[name]
        try:
            tensor: Tensor = handle.get_tensor(name)
        except (SafetensorError, RuntimeError, OSError, AttributeError) as error:
            raise CheckpointError(
                f'tensor "{name}" of {self._files[name]} cannot be read: {error}.'
            ) from None
        return tensor

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        part = self._handles[name].get_slice(name)
        if (kind := part.get_dtype()) not in DTYPES:
            raise CheckpointError(
                f'tensor "{name}" of {self._files[name]} is stored as {kind}, which Chiasm cannot take.'
            )
        return Spec(DTYPES[kind], tuple(part.get_shape()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)

    def origin(self, name: str) -> str:
        """Return "file:name" of a tensor, for messages and records."""
        return f"{self._files[name].name}:{name}"


def _open(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {file}.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is not a whole safetensors file ({error}); download or write it again."
        ) from None


def read_tensors(path: Path | str) -> TensorFiles:
    """Open a .safetensors file, or a folder with model.safetensors or with shards and an index.

    Nothing is read but headers. Shards must lie in the folder itself. Raises CheckpointError.
    """
    path = Path(path)
    if not path.is_dir():
        if path.exists() and path.suffix != ".safetensors":
            raise CheckpointError(
                f"{path} is not a .safetensors file; other formats can run code when they are "
                "read: convert it to safetensors first."
            )
        return TensorFiles(path)
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.exists() and index.exists():
        raise CheckpointError(
            f"{path} holds both {single.name} and {index.name}; remove the stale one."
        )
    if index.exists():
        return TensorFiles(path, _read_index(path, index))
    if not single.exists():
        raise CheckpointError(f"{path} holds no model.safetensors (nor {index.name}).")
    return TensorFiles(confined(path, single.name))


def _read_index(folder: Path, index: Path) -> dict[str, Path]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or len(places) > SHARDED_TENSORS:
        raise CheckpointError(
            f"{index} has no usable weight_map (1 to {SHARDED_TENSORS:,} tensors)."
        )
    for name, file in places.items():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise CheckpointError(
                f'{index} sends tensor "{name}" to {file!r}, not to a .safetensors file.'
            )
    files = {file: confined(folder, file) for file in sorted(set(places.values()))}
    return {name: files[file] for name, file in places.items()}


def confined(folder: Path, name: str) -> Path:
    """Return folder/name; what leads out of the folder is a CheckpointError."""
    file = folder / name
    if Path(name).name != name or "\\" in name or "\0" in name:
        raise CheckpointError(
            f"{folder} asks for {name!r}, which is not a plain file name; refused."
        )
    homes = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":  # the hub's own cache links into its blob store
        homes.append(folder.resolve().parent.parent / "blobs")
    if file.resolve().parent not in homes:
        raise CheckpointError(f"{file} is a link out of its folder; refused.")
    return file


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; damage, a name that stands twice and NaN are CheckpointErrors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(record := dict(pairs)) != len(pairs):
            raise ValueError("a name stands twice")
        return record

    def number(text: str) -> float:
        raise ValueError(f"{text} is not a number")

    try:
        if path.stat().st_size > JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {JSON_BYTES >> 20} MB; refused.")
        text = path.read_bytes().decode()
        record = json.loads(text, object_pairs_hook=unique, parse_constant=number)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.")
    return record


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors' names, types, shapes and values, however they are stored."""
    seen = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        seen.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        seen.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return seen.hexdigest()


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    provenance: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Fill a module's parameters and buffers, or raise one CheckpointError with all that is wrong.

    provenance  our name -> "file:name", for the messages
    dtype       of floating parameters; the module's own when absent. Adapters and buffers (the scales
                of integers) always keep the module's own

    Parameters on the meta device are replaced by copies of the tensors (nothing stays mapped to the
    file), others are written in place. Parameters that are one under two names need one of them.
    """
    twins = _twins(module)
    own = {
        name: value for name, value in module.state_dict().items() if twins.get(name, name) == name
    }
    given = _fold_twins(tensors, twins)
    params = dict(module.named_parameters(remove_duplicate=False))
    kinds = {
        n: place.dtype if dtype is None or n not in params or is_adapter(n) else dtype
        for n, place in own.items()
    }
    values = _fitting(own, given, provenance or {}, kinds)
    if any(place.is_meta for place in own.values()):
        ready = {
            n: nn.Parameter(v, params[n].requires_grad) if n in params else v
            for n, v in values.items()
        }
        everything = ready | {twin: ready[first] for twin, first in twins.items()}
        module.load_state_dict(everything, strict=True, assign=True)
        return
    with torch.no_grad():
        for name, place in own.items():
            place.copy_(values[name])


def _twins(module: nn.Module) -> dict[str, str]:
    """Return second name -> first name of parameters that are one object."""
    first: dict[int, str] = {}
    named = module.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in named if first.setdefault(id(p), name) != name}


def _fold_twins(tensors: Mapping[str, Tensor], twins: Mapping[str, str]) -> Mapping[str, Tensor]:
    if not twins:
        return tensors
    folded = {name: tensors[name] for name in tensors if name not in twins}
    for twin, first in twins.items():
        if twin in tensors:
            value = tensors[twin]
            if first in folded and not torch.equal(folded[first], value):
                raise CheckpointError(
                    f'"{twin}" and "{first}" are one tensor of the model but differ in the file.'
                )
            folded.setdefault(first, value)
    return folded


def _fitting(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    origins: Mapping[str, str],
    kinds: Mapping[str, torch.dtype],
) -> dict[str, Tensor]:
    """Copy what is given for each place of the module; everything that does not fit is told at once."""
    faults = [f'"{name}" is missing' for name in own if name not in given]
    for name in given:
        if name not in own:
            hint = did_you_mean(name, own).rstrip()
            faults.append(f'"{origins.get(name, name)}" has no place in the model{hint}')
    values = {}
    for name, place in own.items():
        if name not in given:
            continue
        tensor, origin = given[name], origins.get(name, name)  # read once: it may cost something
        if tensor.shape != place.shape:
            shapes = f"{list(tensor.shape)}, the model {list(place.shape)}"
            faults.append(f'"{origin}" has shape {shapes}')
        elif not faults:
            values[name] = _checked(tensor, place, origin).to(kinds[name], copy=True)
    if faults:
        more = f"; and {len(faults) - 12} more" if len(faults) > 12 else ""
        raise CheckpointError(f"the weights do not fit the model: {'; '.join(faults[:12])}{more}.")
    return values


def _checked(tensor: Tensor, place: Tensor, origin: str) -> Tensor:
    kinds = FLOATS if place.is_floating_point() else (place.dtype,)
    if tensor.layout is not torch.strided or tensor.dtype not in kinds:
        raise CheckpointError(
            f'"{origin}" is stored as {tensor.dtype}, which the model cannot take.'
        )
    return tensor
