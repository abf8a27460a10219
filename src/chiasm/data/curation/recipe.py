"""What a curation does, as settings: sources, steps in their order, seed, shards, engine.

    sources ──► steps: language, caption, picture │ duplicates │ diversity │ describing ──► shards
                       └── stage 0: by record ──┘   └1: whole┘   └2: whole┘  └3: by record┘

Neighbouring steps that look at records on their own share a stage; each step that compares records is a
stage of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import Field

from chiasm.base.config import Settings, as_record
from chiasm.base.files import sha256_file
from chiasm.data.curation.step import Step, Tools, WholeStep
from chiasm.data.pairs import PairSource
from chiasm.inputs.media import Limits
from chiasm.inputs.video import FrameRule

S = TypeVar("S", bound=Settings)


class StepSettings(Protocol):
    """Settings of one step; `kind` says which."""

    @property
    def kind(self) -> str:
        """The step's name in a recipe."""
        ...

    def step(self, tools: Tools) -> Step | WholeStep:
        """Build the step; raises UserError when a tool that it needs is missing."""
        ...


class DecodeLimits(Settings):
    """What one picture or video may cost."""

    encoded_bytes: int = Field(Limits.encoded_bytes, ge=1)
    """Size of a picture's file."""
    video_bytes: int = Field(Limits.video_bytes, ge=1)
    """Size of a video's file."""
    pixels: int = Field(Limits.pixels, ge=1)
    """Height times width."""
    decoded_bytes: int = Field(Limits.decoded_bytes, ge=1)
    """Size of the decoded pixels; of a video, of all frames that are looked at."""
    memory: int = Field(Limits.memory, ge=1 << 24)
    """Bytes of address space that decoding may take."""
    seconds: float = Field(Limits.seconds, gt=0)
    """Time until decoding is given up."""
    video_seconds: float = Field(Limits.video_seconds, gt=0)
    """The same for a video."""
    frames: int = Field(Limits.frames, ge=1)
    """Frames of a video, counted before some are chosen."""

    def limits(self) -> Limits:
        """Return the limits of a decoder."""
        return Limits(**as_record(self))


class Recipe(Settings):
    """What goes in, what happens to it, and how the work is cut.

    A class that comes from this one says which kinds of steps there are.
    """

    sources: tuple[str, ...] = ()
    """Folders, lists, Parquet files, tar files, or "data:NAME" for a collection."""
    steps: tuple[Any, ...] = ()
    """What is done to every record, in this order."""
    seed: int = 0
    """Decides whatever is decided by chance."""
    test_share: float = Field(0.0, ge=0, lt=1)
    """Share of the concepts whose records go to test; a concept is never in both."""
    rows: int = Field(1000, ge=1)
    """Rows of a shard that is written."""
    shard_records: int = Field(256, ge=1)
    """Records of a piece of work; what a kill costs at most, for each worker."""
    engine: Literal["local", "ray"] = "local"
    """Where the work is done: on this machine, or on a Ray cluster."""
    address: str = ""
    """The Ray cluster's address, whose machines see the same files; when empty, this machine alone."""
    workers: int = Field(0, ge=0)
    """Processes that work at a time; 0 for one per processor."""
    limits: DecodeLimits = DecodeLimits()
    """What one picture or video may cost."""
    frames: FrameRule = FrameRule(most=8)
    """Which frames of a video the steps look at."""
    model: Path | None = None
    """Folder of a two-tower model (CLIP) for alignment; the built-in eyes compare pictures alone."""
    writer: Path | None = None
    """Folder of a model with eyes that writes captions, for the step "describing"."""


HOW = ("engine", "address", "workers")
"""Settings that change nothing about the result."""
CUT = ("sources", "shard_records")
"""Settings that change how the work is cut, and names of places: they do not enter the manifest."""


def what(settings: Recipe) -> dict[str, Any]:
    """Return the settings that decide about the result, as plain data.

    Sources are told by `Origin`; what a file or folder is called does not matter, but what is in it.
    """
    found = {name: _told(getattr(settings, name)) for name in type(settings).model_fields}
    return {name: value for name, value in found.items() if name not in (*HOW, *CUT)}


def _told(value: Any) -> Any:
    if isinstance(value, Path):
        return {"sha256": contents(value)}
    if isinstance(value, Settings):
        return {name: _told(getattr(value, name)) for name in type(value).model_fields}
    return [_told(each) for each in value] if isinstance(value, tuple) else value


def contents(path: Path) -> str:
    """Return the SHA-256 over the names and bytes of a file, or of all files in a folder."""
    found = [(name, sha256_file(file)) for name, file, _ in _files(path)]
    return sha256(json.dumps(sorted(found)).encode()).hexdigest()


def placed(settings: S) -> S:
    """Return settings whose paths hold in any folder."""
    fields = {name: _absolute(getattr(settings, name)) for name in type(settings).model_fields}
    return settings.model_copy(update=fields)


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    if isinstance(value, Settings):
        return placed(value)
    return tuple(map(_absolute, value)) if isinstance(value, tuple) else value


# ---- stages ------------------------------------------------------------------------------------


class Stage:
    """Steps that are done together: some by record, or one over the whole."""

    def __init__(self, number: int, first: int, steps: Sequence[Step | WholeStep]) -> None:
        self.number, self.first, self.steps = number, first, list(steps)

    @property
    def whole(self) -> bool:
        """Whether it compares records."""
        return any(isinstance(step, WholeStep) for step in self.steps)


def stages(steps: Sequence[Step | WholeStep]) -> list[Stage]:
    """Cut steps into stages; the first is by record, if only to read them."""
    found = [Stage(0, 0, ())]
    for place, step in enumerate(steps):
        if isinstance(step, WholeStep) or found[-1].whole:
            found.append(Stage(len(found), place, (step,)))
        else:
            found[-1].steps.append(step)
    return found


def names(steps: Sequence[Step | WholeStep]) -> list[str]:
    """Return a name for each step; one that stands there twice is numbered from its second place on."""
    found: list[str] = []
    for step in steps:
        again = sum(name == step.name or name.startswith(f"{step.name} ") for name in found)
        found.append(f"{step.name} {again + 1}" if again else step.name)
    return found


# ---- where records come from -------------------------------------------------------------------


class Origin(Settings):
    """What a source is known by: enough to notice that another one stands in its place."""

    name: str
    """What the source calls itself."""
    records: int
    """How many it has."""
    files: str
    """SHA-256 over the names and sizes of its files; empty where the name is no path."""


def origin(name: str, source: PairSource) -> Origin:
    """Tell what a source is known by; `name` is what the settings call it."""
    path = Path(name)
    files = sorted((name, size) for name, _, size in _files(path)) if path.exists() else []
    told = sha256(json.dumps(files).encode()).hexdigest() if files else ""
    return Origin(name=source.name, records=len(source), files=told)


def _files(path: Path) -> list[tuple[str, Path, int]]:
    """Names within a folder, paths and sizes of its files; of a file, itself."""
    if path.is_file():
        return [(path.name, path, path.stat().st_size)]
    return [
        (os.fsencode(os.path.relpath(file, path)).hex(), Path(file), os.lstat(file).st_size)
        for folder, _, held in os.walk(path)
        for file in (os.path.join(folder, name) for name in held)
    ]
