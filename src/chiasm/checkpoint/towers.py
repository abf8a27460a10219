"""Folders of CLIP and SigLIP with both towers or the one that looks, and of classifiers; in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from chiasm.base.errors import UserError
from chiasm.checkpoint.card import described
from chiasm.checkpoint.families import vit
from chiasm.checkpoint.families.eyes import eyes_of, tower_of, towers_in, towers_of
from chiasm.checkpoint.folder import C, Opened, dtype_of, place, write_folder
from chiasm.checkpoint.weights import Provenance, load_strict, read_json, read_tensors
from chiasm.models.classifier import Classifier, ClassifierConfig
from chiasm.models.clip import DualConfig, DualEncoder, ImageTower, ImageTowerConfig

M = TypeVar("M", bound=nn.Module)


def open_dual(path: Path | str) -> Opened[DualConfig]:
    """Open a CLIPModel or SiglipModel folder, as transformers 4 and 5 write them."""
    path, values, source = _config_of(path)
    family = towers_in(values, source)
    config, tensors = family.read_dual(values, source), read_tensors(path)
    return place(config, tensors, family.table(family.WHOLE, tensors), path, described(path))


def load_dual(
    path: Path | str, dtype: torch.dtype = torch.float32
) -> tuple[DualEncoder, Provenance]:
    """Load two towers, their weights as `dtype`; see `open_dual` for what can be read.

    Strict both ways: a missing, unknown or mis-shaped tensor is a CheckpointError that names it.
    """
    return _load(open_dual(path), DualEncoder, dtype)


def save_dual(
    model: DualEncoder,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a CLIPModel or SiglipModel folder, by the model's shape, at once or not at all.

    A shape that neither has is a UserError.
    """
    family = towers_of(model.config)
    config = family.write_dual(model.config, dtype_of(model))
    tensors = family.table(family.WHOLE).pack(model.state_dict())
    write_folder(path, config, tensors, files or {}, replace)


def open_image_tower(path: Path | str) -> Opened[ImageTowerConfig]:
    """Open the tower that looks, with all that makes one vector of a picture.

    Of a CLIPModel, CLIPVisionModel (...WithProjection), SiglipModel or SiglipVisionModel folder.
    """
    path, values, source = _config_of(path)
    family, tensors = towers_in(values, source), read_tensors(path)
    config = family.read_image(values, source, tensors)
    return place(config, tensors, family.table(family.IMAGE, tensors), path, described(path))


def load_image_tower(
    path: Path | str, dtype: torch.dtype = torch.float32
) -> tuple[ImageTower, Provenance]:
    """Load the tower that looks; see `open_image_tower` for what can be read. Strict as above."""
    return _load(open_image_tower(path), ImageTower, dtype)


def save_image_tower(
    model: ImageTower,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a CLIPVisionModel (...WithProjection) or SiglipVisionModel folder; as `save_dual`."""
    family = tower_of(model.config)
    config = family.write_image(model.config, dtype_of(model))
    tensors = family.table(family.IMAGE).pack(model.state_dict())
    write_folder(path, config, tensors, files or {}, replace)


def open_classifier(path: Path | str) -> Opened[ClassifierConfig]:
    """Open a ViTForImageClassification folder, as transformers 4 and 5 write it."""
    path, values, source = _config_of(path)
    config, tensors = vit.read_classifier(values, source), read_tensors(path)
    return place(config, tensors, vit.table(vit.WHOLE, tensors), path, described(path))


def load_classifier(
    path: Path | str, dtype: torch.dtype = torch.float32
) -> tuple[Classifier, Provenance]:
    """Load a classifier with the names of its classes. Strict as above."""
    return _load(open_classifier(path), Classifier, dtype)


def save_classifier(
    model: Classifier,
    path: Path | str,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a ViTForImageClassification folder, at once or not at all.

    Its eyes must be a plain ViT; others are a UserError.
    """
    if eyes_of(model.config.encoder) is not vit:
        raise UserError(
            "A ViTForImageClassification folder holds a plain ViT (no first norm, a bias on the "
            "patches), and this classifier has other eyes."
        )
    config = vit.write_classifier(model.config, dtype_of(model))
    tensors = vit.table(vit.WHOLE).pack(model.state_dict())
    write_folder(path, config, tensors, files or {}, replace)


def _config_of(path: Path | str) -> tuple[Path, dict[str, Any], str]:
    file = Path(path) / "config.json"
    return Path(path), read_json(file), str(file)


def _load(opened: Opened[C], build: Callable[[C], M], dtype: torch.dtype) -> tuple[M, Provenance]:
    with torch.device("meta"):
        model = build(opened.config)
    load_strict(model, opened.tensors, opened.provenance.tensors, dtype)
    return model, opened.provenance
