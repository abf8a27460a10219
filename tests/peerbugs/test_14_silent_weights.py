"""Peer bug 14: weights that are silently random or absent after loading.

sglang-omni#1926 (a whole prefix skipped), OpenPAR#74 (`strict=False`), transformers#38870 and #34759,
sglang#23525 (an undocumented rename of CLIP's keys: accuracy fell to 59.5 %), mlx-vlm#1506.
Our way: a table per family, read both ways; every tensor of the model and of the file is accounted for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.toys import decoder, vit

from chiasm.checkpoint.folder import load_decoder, load_vit, save_decoder, save_vit
from chiasm.checkpoint.weights import CheckpointError

MODELS: dict[str, tuple[Callable[[], Any], Callable[..., None], Callable[[Path], Any]]] = {
    "decoder": (decoder, save_decoder, load_decoder),
    "untied decoder": (lambda: decoder(tied=False), save_decoder, load_decoder),
    "eyes": (vit, save_vit, load_vit),
}


@pytest.fixture(params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], Any]]:
    make, save, load = MODELS[request.param]
    save(make(), tmp_path / "m")
    return tmp_path / "m", load


def names(folder: Path) -> list[str]:
    return sorted(load_file(folder / "model.safetensors"))


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors")


def test_no_tensor_can_be_absent(saved: tuple[Path, Callable[[Path], Any]]) -> None:
    folder, load = saved
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        rewrite(folder, {key: value for key, value in whole.items() if key != name})
        with pytest.raises(CheckpointError, match="missing"):
            load(folder)
    rewrite(folder, whole)
    load(folder)


def test_no_tensor_can_have_another_name(saved: tuple[Path, Callable[[Path], Any]]) -> None:
    folder, load = saved
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        other = name.replace("weight", "wieght").replace("bias", "bais").replace("class", "klass")
        rewrite(folder, {other if key == name else key: value for key, value in whole.items()})
        with pytest.raises(CheckpointError) as caught:
            load(folder)
        assert other in str(caught.value)


@pytest.mark.parametrize("how", ["drop", "double", "module."])
def test_no_prefix_can_be_skipped(how: str, saved: tuple[Path, Callable[[Path], Any]]) -> None:
    folder, load = saved
    whole = load_file(folder / "model.safetensors")
    first = min(whole).partition(".")[0] + "."

    def renamed(name: str) -> str:
        if how == "drop":
            return name.removeprefix(first)
        return first + name if how == "double" else how + name

    rewrite(folder, {renamed(name): value for name, value in whole.items()})
    if how == "drop" and first == "vision_model.":
        load(
            folder
        )  # transformers 5 stores a bare tower so; all its tensors are still accounted for
        return
    with pytest.raises(CheckpointError):
        load(folder)


def test_every_loaded_value_is_the_stored_one(saved: tuple[Path, Callable[[Path], Any]]) -> None:
    folder, load = saved
    whole = load_file(folder / "model.safetensors")
    model, provenance = load(folder)
    loaded = model.state_dict()
    assert provenance.tensors.keys() == loaded.keys()
    seen = set()
    for ours, origin in provenance.tensors.items():
        theirs = origin.partition(":")[2]
        assert torch.equal(loaded[ours], whole[theirs]), ours
        seen.add(theirs)
    assert seen == set(whole)
