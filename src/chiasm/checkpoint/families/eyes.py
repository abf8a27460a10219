"""Which family eyes belong to: by a folder's config.json when they are read, by shape when written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import clip, siglip, vit
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.models.clip import DualConfig, ImageTowerConfig
from chiasm.models.vit import ViTConfig


class Eyes(Protocol):
    """What every family with eyes can do."""

    EYES: str

    def table(self, part: str = ..., names: Iterable[str] = ...) -> NameTable:
        """Return the names of a part, in a file's spelling."""

    def read_config(self, values: Mapping[str, Any], source: str) -> ViTConfig:
        """Return the eyes' settings."""

    def write_config(self, config: ViTConfig, dtype: torch.dtype) -> dict[str, Any]:
        """Return the config.json of eyes alone."""


class Towers(Eyes, Protocol):
    """What families with two towers can do besides."""

    IMAGE: str
    WHOLE: str

    def read_image(
        self, values: Mapping[str, Any], source: str, names: Iterable[str]
    ) -> ImageTowerConfig:
        """Return the settings of the tower that looks."""

    def read_dual(self, values: Mapping[str, Any], source: str) -> DualConfig:
        """Return the settings of both towers."""

    def write_image(self, config: ImageTowerConfig, dtype: torch.dtype) -> dict[str, Any]:
        """Return the config.json of the tower that looks."""

    def write_dual(self, config: DualConfig, dtype: torch.dtype) -> dict[str, Any]:
        """Return the config.json of both towers."""


_TOWERS: dict[str, Towers] = {
    "clip": clip,
    "clip_vision_model": clip,
    "siglip": siglip,
    "siglip_vision_model": siglip,
}
_EYES: dict[str, Eyes] = {**_TOWERS, "vit": vit}
KINDS = frozenset(_EYES)
"""Every "model_type" of a folder that eyes can be read from."""
_SHAPES: dict[tuple[bool, bool, bool], Eyes] = {  # cls, pre_norm, patch_bias
    (True, True, False): clip,
    (False, False, True): siglip,
    (True, False, True): vit,
}


def eyes_in(values: Mapping[str, Any], source: str) -> Eyes:
    """Return the family of a config.json with eyes; another is a CheckpointError."""
    return _EYES[Record(values, source).allow("model_type", *_EYES)]


def towers_in(values: Mapping[str, Any], source: str) -> Towers:
    """Return the family of a config.json with an image tower; another is a CheckpointError."""
    return _TOWERS[Record(values, source).allow("model_type", *_TOWERS)]


def eyes_of(config: ViTConfig) -> Eyes:
    """Return the family that has eyes of this shape; UserError when none has."""
    shape = (config.cls, config.pre_norm, config.patch_bias)
    if shape not in _SHAPES:
        raise UserError(
            f"No family of transformers has eyes with cls={shape[0]}, pre_norm={shape[1]} and "
            f"patch_bias={shape[2]}, so they cannot be written as its folder."
        )
    return _SHAPES[shape]


def tower_of(config: ImageTowerConfig) -> Towers:
    """Return the family that has an image tower of this shape; UserError when none has."""
    if eyes_of(config.encoder) is clip and config.pool == "cls":
        return clip
    if eyes_of(config.encoder) is siglip and config.pool == "probe" and config.projection is None:
        return siglip
    raise UserError(
        "No family of transformers pools and projects as this image tower does, so it cannot be "
        "written as its folder."
    )


def towers_of(config: DualConfig) -> Towers:
    """Return the family that has two towers of this shape; UserError when none has."""
    family, text = tower_of(config.image), config.text
    shape = (text.causal, text.pool == "last", text.projection_bias, config.logit_bias is not None)
    fits = shape == ((True, False, False, False) if family is clip else (False, True, True, True))
    if not fits or text.projection is None or (family is clip and config.image.projection is None):
        raise UserError(
            "No family of transformers joins an image tower and a text tower as this model does, so "
            "it cannot be written as its folder."
        )
    return family
