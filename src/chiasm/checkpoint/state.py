"""A run's checkpoint: written whole or not at all, verified before it is trusted, newest first.

    checkpoints/
    ├── step-000100/                       each step: complete, or it has no name yet
    │   ├── model.safetensors              a file per group of tensors
    │   ├── optimizer.safetensors
    │   ├── record.json                    counters, settings, the data's place
    │   └── manifest.json                  every file: length, SHA-256, tensors; and its own SHA-256
    ├── step-000200/
    └── .step-000300.tmp-4711-9f3c21aa/    a save that was interrupted; the next start removes it

Which one is the latest is computed, not stored: the highest step whose manifest holds true. So no
moment exists at which a pointer names something that is not there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from chiasm.base import files
from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.base.log import say
from chiasm.checkpoint.shards import DTYPE_NAMES, header, in_file_order, length_of, memory_of
from chiasm.checkpoint.weights import DTYPES, CheckpointError, Spec

VERSION = 1
RECORD = "record.json"
MANIFEST = "manifest.json"
_STEP = re.compile(r"^step-(\d{6,})$")
_GROUP = re.compile(r"^[a-z0-9_]+$")


class Slot(Settings):
    """What the manifest says of one tensor."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]

    @pydantic.field_validator("dtype")
    @classmethod
    def _known(cls, dtype: str) -> str:
        if dtype not in DTYPES:
            raise ValueError(f"is the number format {dtype}, which this version does not know")
        return dtype

    @property
    def spec(self) -> Spec:
        """Type and shape of the tensor."""
        return Spec(DTYPES[self.dtype], self.shape)


class Entry(Settings):
    """What the manifest says of one file; `tensors` is None for a file that holds none."""

    length: NonNegativeInt
    sha256: str
    tensors: dict[str, Slot] | None = None


class Manifest(Settings):
    """What a checkpoint consists of."""

    format: Literal["chiasm run"] = "chiasm run"
    version: int = VERSION
    step: NonNegativeInt
    files: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.(safetensors|json)$")], Entry]

    def text(self) -> bytes:
        """Return the one way to write it down, which ends with the SHA-256 of the rest.

        Reading compares with this, so a change of any bit of the file is noticed.
        """
        record = self.model_dump(mode="json")
        body = json.dumps(record, sort_keys=True).encode()
        record["sha256"] = hashlib.sha256(body).hexdigest()
        return json.dumps(record, sort_keys=True, indent=1).encode()


# ---- saving ------------------------------------------------------------------------------------


def save_state(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    record: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write the checkpoint `root/step-NNNNNN` and return its folder; older ones go after that.

    `tensors` maps a group ("model", "optimizer", ...) to its named tensors, on any device; `record`
    is plain data. The new checkpoint is read back and verified before an older one is removed, and
    the newest `keep` that verify always stay. A checkpoint of the same step is replaced.
    Errors: UserError when the disk is full or read-only; then the older ones stand untouched.
    """
    if keep < 1 or step < 0:
        raise ValueError(f"keep must be at least 1 and step at least 0, not {keep} and {step}")
    path = Path(root) / f"step-{step:06d}"
    with files.atomic_directory(path, replace=True) as folder:
        entries = {}
        for group, named in tensors.items():
            if not _GROUP.match(group):
                raise ValueError(f"a group is named with a-z, 0-9 and _, not {group!r}")
            entries[f"{group}.safetensors"] = _write_group(folder / f"{group}.safetensors", named)
        length, digest = files.write_file(folder / RECORD, [json.dumps(dict(record)).encode()])
        entries[RECORD] = Entry(length=length, sha256=digest)
        files.write_file(folder / MANIFEST, [Manifest(step=step, files=entries).text()])
    # The hash was taken while writing; what counts is what the reader will find under this name.
    # Reading 350 MB back costs about 0.3 s and is the last chance while the older ones exist.
    verify_state(path)
    _rotate(Path(root), step, keep)
    return path


def _write_group(path: Path, named: Mapping[str, Tensor]) -> Entry:
    slots = {name: _slot(name, tensor) for name, tensor in named.items()}
    specs = {name: slot.spec for name, slot in slots.items()}

    def parts() -> Iterator[memoryview | bytes]:
        order = in_file_order(specs)
        yield header(specs, order, {"format": "pt"})
        for name in order:
            # One at a time: a tensor on another device needs room here only while it is written.
            yield memory_of(name, named[name], specs[name])

    length, digest = files.write_file(path, parts())
    return Entry(length=length, sha256=digest, tensors=slots)


def _slot(name: str, tensor: Tensor) -> Slot:
    known = tensor.dtype in DTYPE_NAMES and name != "__metadata__"
    if not known or tensor.layout != torch.strided or tensor.is_meta:
        kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device}"
        raise ValueError(f"tensor {name!r} ({kind}) cannot be written to a safetensors file")
    return Slot(dtype=DTYPE_NAMES[tensor.dtype], shape=tuple(tensor.shape))


def _rotate(root: Path, step: int, keep: int) -> None:
    """Remove what is older than the newest `keep` checkpoints that verify, counting from `step`."""
    verified = 1
    for older, path in _steps(root):
        if older >= step:
            continue
        if verified >= keep:
            with files.write_errors(path):
                files.discard(path)
        elif _fault(path) is None:
            verified += 1


# ---- finding and loading -----------------------------------------------------------------------


def latest_state(root: Path, tell: Callable[[str], object] = say) -> Path | None:
    """Return the folder of the highest step that verifies, or None; says which ones it skips."""
    for _, path in _steps(Path(root)):
        if (fault := _fault(path)) is None:
            return path
        tell(f"Passed over a damaged checkpoint. {fault}")
    return None


def load_state(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors by group and the record of one checkpoint, every byte verified.

    Errors: CheckpointError that names the checkpoint, the file and what is wrong with it.
    """
    path = Path(path)
    manifest = _manifest(path)
    tensors = {}
    for name, entry in manifest.files.items():
        if entry.tensors is not None:
            with _reading(path / name):
                tensors[name.removesuffix(".safetensors")] = _read_group(path / name, entry)
    with _reading(path / RECORD):
        record = (path / RECORD).read_bytes()
    if hashlib.sha256(record).hexdigest() != manifest.files[RECORD].sha256:
        raise _damaged(path / RECORD, "was changed after it was written")
    return tensors, json.loads(record)


def verify_state(path: Path) -> None:
    """Return if every file of a checkpoint is as its manifest says; else raise CheckpointError."""
    for name, entry in _manifest(path).files.items():
        with _reading(path / name):
            _check_length(path / name, entry)
            if files.sha256_file(path / name) != entry.sha256:
                raise _damaged(path / name, "was changed after it was written")


def _steps(root: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints by step, highest first; the clock and the names' order have no say."""
    found = []
    for path in root.iterdir() if root.is_dir() else []:
        match = _STEP.match(path.name)
        if match and path.name == f"step-{int(match[1]):06d}" and path.is_dir():
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def _fault(path: Path) -> str | None:
    try:
        verify_state(path)
    except CheckpointError as error:
        return str(error)
    return None


def _damaged(file: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {file.parent} is damaged: {file.name} {what}. Resume from another one."
    )


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Say of a file that is not there or cannot be read that its checkpoint is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise _damaged(file, "is missing") from None
    except OSError as error:
        raise _damaged(file, f"cannot be read ({error.strerror})") from error


def _check_length(file: Path, entry: Entry) -> None:
    if file.stat().st_size != entry.length:
        raise _damaged(file, "is cut")


def _manifest(path: Path) -> Manifest:
    """Read and check a checkpoint's manifest, which must belong to the folder it lies in."""
    if not path.is_dir():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    file = path / MANIFEST
    with _reading(file):
        text = file.read_bytes()
    try:
        told = json.loads(text)
        if told.get("format") == "chiasm run" and told.get("version", 0) > VERSION:
            raise CheckpointError(f"{path} was written by a newer Chiasm. Update this one.")
        told.pop("sha256")
        manifest = Manifest.model_validate_json(json.dumps(told))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise _damaged(file, "cannot be understood") from None
    if manifest.text() != text:
        raise _damaged(file, "was changed after it was written")
    if _STEP.match(path.name) and path.name != f"step-{manifest.step:06d}":
        raise _damaged(file, f"belongs to step {manifest.step}")
    if RECORD not in manifest.files:
        raise _damaged(file, f"names no {RECORD}")
    return manifest


def _read_group(file: Path, entry: Entry) -> dict[str, Tensor]:
    """Read a file's bytes once: into the tensors and into the hash.

    The places follow from the manifest's table, so the file's own header need not be trusted.
    """
    specs = {name: slot.spec for name, slot in (entry.tensors or {}).items()}
    order = in_file_order(specs)
    head = header(specs, order, {"format": "pt"})
    if entry.length != len(head) + sum(map(length_of, specs.values())):
        raise _damaged(file, "has another length than its tensors")
    _check_length(file, entry)
    tensors, seen = {}, hashlib.sha256()
    with open(file, "rb", buffering=0) as source:
        seen.update(source.read(len(head)))
        for name in order:
            # Its own memory, not a view of a large one: allocation decides alignment, alignment
            # decides how a processor sums, and a resumed run has to sum as the first one did.
            tensors[name] = torch.empty(specs[name].shape, dtype=specs[name].dtype)
            memory = memory_of(name, tensors[name], specs[name])
            while memory:
                count = source.readinto(memory[: files.PIECE])
                if not count:
                    raise _damaged(file, "is cut")
                seen.update(memory[:count])
                memory = memory[count:]
    if seen.hexdigest() != entry.sha256:
        raise _damaged(file, "was changed after it was written")
    return tensors


# ---- one trainer a folder ----------------------------------------------------------------------


@contextmanager
def run_lock(run_folder: Path) -> Iterator[None]:
    """Hold a run's folder for the body, after clearing it of what an interrupted run left.

    Errors: UserError that names the process which trains there already. The lock ends with the
    process, however it dies, and is not inherited by its workers.
    """
    run_folder = Path(run_folder)
    with files.sole_holder(run_folder / ".lock") as holder:
        if holder is not None:
            raise UserError(
                f"Process {holder} is already training in {run_folder}. "
                "Wait for it, stop it, or give this run another folder."
            )
        for folder in [run_folder, *(inside for inside in run_folder.iterdir() if inside.is_dir())]:
            files.sweep(folder)
        yield
