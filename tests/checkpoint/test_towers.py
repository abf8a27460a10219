"""Folders of towers and classifiers: there and back tensor for tensor, and nothing missing or extra."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.checkpoint import oracles
from tests.checkpoint.toys import equal, vit_config
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.checkpoint import towers
from chiasm.checkpoint.folder import load_vit
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import Classifier, ClassifierConfig


def clip_vision(projected: bool) -> Any:
    kind = "CLIPVisionModelWithProjection" if projected else "CLIPVisionModel"
    return oracles.drawn(getattr(transformers, kind)(oracles.clip_vision_config()))


def siglip_vision() -> Any:
    return oracles.drawn(transformers.SiglipVisionModel(oracles.siglip_vision_config()))


MODELS: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "CLIPModel": (oracles.clip_model, towers.load_dual, towers.save_dual),
    "SiglipModel": (oracles.siglip_model, towers.load_dual, towers.save_dual),
    "CLIPVisionModel": (
        lambda: clip_vision(False),
        towers.load_image_tower,
        towers.save_image_tower,
    ),
    "CLIPVisionModelWithProjection": (
        lambda: clip_vision(True),
        towers.load_image_tower,
        towers.save_image_tower,
    ),
    "SiglipVisionModel": (siglip_vision, towers.load_image_tower, towers.save_image_tower),
    "ViTForImageClassification": (
        oracles.vit_classifier,
        towers.load_classifier,
        towers.save_classifier,
    ),
}


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", MODELS)
def test_load_save_load_is_bit_identical_and_transformers_loads_the_same(
    kind: str, tmp_path: Path
) -> None:
    make, load, save = MODELS[kind]
    theirs = make()
    theirs.save_pretrained(tmp_path / "theirs")
    ours, provenance = load(tmp_path / "theirs")
    assert provenance.tensors.keys() == ours.state_dict().keys() and not provenance.left_out
    save(ours, tmp_path / "ours", {"preprocessor_config.json": b"{}"})
    again, _ = load(tmp_path / "ours")
    assert again.config == ours.config
    assert equal(again.state_dict(), ours.state_dict())
    back, report = getattr(transformers, kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert equal(back.state_dict(), theirs.state_dict())
    assert back.config.architectures == [kind]
    back.save_pretrained(tmp_path / "back")
    assert equal(stored(tmp_path / "back"), stored(tmp_path / "ours"))


@pytest.mark.parametrize("kind", MODELS)
def test_half_precision_is_kept(kind: str, tmp_path: Path) -> None:
    make, load, save = MODELS[kind]
    make().bfloat16().save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs", torch.bfloat16)
    save(ours, tmp_path / "ours")
    prefix = "vision_model." if kind in ("CLIPVisionModel", "SiglipVisionModel") else ""
    before = {prefix + name: value for name, value in stored(tmp_path / "theirs").items()}
    assert equal(stored(tmp_path / "ours"), before)  # ours are transformers 4's names
    assert {value.dtype for value in before.values()} == {torch.bfloat16}


@pytest.mark.parametrize("kind", [name for name in MODELS if "Vision" in name])
def test_transformers_4_wrote_a_prefix(kind: str, tmp_path: Path) -> None:
    make, load, _ = MODELS[kind]
    theirs = make()
    theirs.save_pretrained(tmp_path)
    ours, _ = load(tmp_path)
    renamed = {
        name if name.startswith("vis") else f"vision_model.{name}": value
        for name, value in stored(tmp_path).items()
    }
    save_file(renamed, tmp_path / "model.safetensors")
    assert equal(load(tmp_path)[0].state_dict(), ours.state_dict())


def test_a_classifier_is_read_as_transformers_5_holds_it_in_memory(tmp_path: Path) -> None:
    theirs = oracles.vit_classifier()
    theirs.save_pretrained(tmp_path)
    ours, _ = towers.load_classifier(tmp_path)
    held = theirs.state_dict()
    assert held.keys().isdisjoint(name for name in stored(tmp_path) if ".encoder." in name)
    save_file(held, tmp_path / "model.safetensors")
    assert equal(towers.load_classifier(tmp_path)[0].state_dict(), ours.state_dict())


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel", "ViTForImageClassification"])
def test_parts_are_read_out_of_whole_models(kind: str, tmp_path: Path) -> None:
    make, load, _ = MODELS[kind]
    make().save_pretrained(tmp_path)
    whole, _ = load(tmp_path)
    eyes, provenance = load_vit(tmp_path)
    part = whole.encoder if kind.startswith("ViT") else whole.image.encoder
    assert eyes.config == part.config and equal(eyes.state_dict(), part.state_dict())
    assert len(provenance.left_out) + len(provenance.tensors) == len(stored(tmp_path))
    if not kind.startswith("ViT"):
        tower, _ = towers.load_image_tower(tmp_path)
        assert equal(tower.state_dict(), whole.image.state_dict())


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = stored(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


FAULTS = [
    ("CLIPModel", "logit_scale", None, r'"logit_scale" is missing'),
    ("CLIPModel", "visual_projection.weight", None, r'"image\.project\.weight" is missing'),
    ("CLIPVisionModelWithProjection", "visual_projection.weight", None, "project.weight.*missing"),
    ("CLIPModel", "text_model.embeddings.extra", (1,), r"text_model\.embeddings\.extra.*unknown"),
    ("CLIPModel", "text_projection.weight", (20, 12), r"text_projection\.weight.*\[20, 12\]"),
    ("SiglipModel", "vision_model.head.probe", (24,), r"head\.probe.*\[24\].*begin with \[1, 1\]"),
    ("SiglipModel", "logit_bias", (), r"logit_bias.*shape \[\].*begin with \[1\]"),
    (
        "SiglipModel",
        "vision_model.head.attention.in_proj_weight",
        (71, 24),
        r"in_proj_weight.*\[71, 24\], not 3 parts",
    ),
    (
        "SiglipModel",
        "vision_model.head.attention.in_proj_weight",
        (75, 24),
        r"in_proj_weight.*\[25, 24\], the model \[24, 24\]",
    ),
    ("SiglipVisionModel", "head.mlp.fc1.bias", None, r'"pool\.mlp\.up\.bias" is missing'),
    ("SiglipVisionModel", "class_embedding", (24,), r"class_embedding.*unknown"),
    ("ViTForImageClassification", "classifier.bias", (4,), r"classifier\.bias.*\[4\].*\[3\]"),
    (
        "ViTForImageClassification",
        "vit.embeddings.position_embeddings",
        (10, 24),
        r"position_embeddings.*\[10, 24\].*begin with \[1\]",
    ),
]


@pytest.mark.parametrize(("kind", "name", "shape", "words"), FAULTS, ids=str)
def test_what_is_missing_extra_or_mis_shaped_is_named(
    kind: str, name: str, shape: tuple[int, ...] | None, words: str, tmp_path: Path
) -> None:
    make, load, _ = MODELS[kind]
    make().save_pretrained(tmp_path)
    if shape is None:
        rewrite(tmp_path, lambda tensors: tensors.pop(name))
    else:
        rewrite(tmp_path, lambda tensors: tensors.update({name: torch.zeros(shape)}))
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path)


def test_a_classifier_on_other_eyes_has_no_folder_in_transformers(tmp_path: Path) -> None:
    model = Classifier(ClassifierConfig(encoder=vit_config(), labels=("a", "b")))
    with pytest.raises(UserError, match=r"plain ViT.*other eyes"):
        towers.save_classifier(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())
