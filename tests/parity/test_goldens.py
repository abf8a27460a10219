"""The golden files are whole, say what they claim to say, and come out the same when made again."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.parity.goldens import HERE, MANIFEST, golden, names
from tests.parity.goldens.drawing import picture, pixels, uniform
from tests.parity.goldens.writing import Book, distance, pack
from torch import Tensor

from chiasm.checkpoint.folder import load_decoder

SIZES = ("small", "odd")
PICTURE_3 = "952beca3f368ee3a440f354d0d7e46c15677d4658bf0b86608bbd4f4740306f1"


def relative(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


def test_every_file_is_listed_with_its_hash() -> None:
    listed = json.loads(MANIFEST.read_text(encoding="utf-8"))
    there = {p.name for p in HERE.iterdir() if p.suffix in (".json", ".safetensors")}
    assert there - {MANIFEST.name} == set(listed)
    for name, told in listed.items():
        data = (HERE / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (told["bytes"], told["sha256"]), (
            name
        )
    assert sum(told["bytes"] for told in listed.values()) < 6.2e6


@pytest.mark.parametrize("name", names())
def test_every_golden_reads_back_finite(name: str) -> None:
    read = golden(name)
    assert read.parts and read.record["versions"]["torch"]
    for key, value in read.tensors.items():
        assert value.numel(), key
        if value.is_floating_point():
            assert value.dtype == torch.float32, key
            assert torch.isfinite(value).all(), key


def test_drawn_numbers_and_pictures_never_change() -> None:
    assert uniform("chiasm", 3).tolist() == [
        0.8090378046035767,
        0.6911537647247314,
        0.6597724556922913,
    ]
    assert hashlib.sha256(picture(3, 31, 17).tobytes()).hexdigest() == PICTURE_3
    read = golden("meta_vision_small")
    drawn = pixels("meta_vision_small ratio_1x2 first 0", 2, 3, 28, 28)
    assert torch.equal(read.part("ratio_1x2")["pixels"], drawn)


def test_a_packing_that_would_lose_something_is_refused() -> None:
    with pytest.raises(ValueError, match="would change values"):
        pack(torch.tensor([1.001]), "bf16")
    with pytest.raises(ValueError, match="would change values"):
        pack(torch.tensor([2.0]), "64ths")
    assert distance(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0])) == 1.0
    assert distance(torch.tensor([1]), torch.tensor([2])) == float("inf")


@pytest.mark.parametrize("size", SIZES)
def test_in_meta_an_image_moves_nothing_before_its_place(size: str) -> None:
    read = golden(f"meta_vision_{size}")
    one, other = (read.part(case)["logits"] for case in ("text_before", "text_before_other"))
    place = read.record["cases"]["text_before"]["spans"][0][0][0]
    assert torch.equal(one[:, :place], other[:, :place])
    assert float((one - other)[:, place:].abs().amax(-1).min()) > 0.5  # measured: 1.34, 1.62


@pytest.mark.parametrize("size", SIZES)
def test_two_witnesses_agree_on_the_tower_and_the_third_is_a_layer_late(size: str) -> None:
    meta, old, new = (golden(f"{kind}_{size}") for kind in ("meta_vision", "mllama451", "mllama"))
    width = meta.record["tower"]["width"]
    for case in old.parts:
        truth, first, second = (read.part(case)["vision"] for read in (meta, old, new))
        assert relative(first, truth) < 2e-6  # measured: 4.7e-7
        assert relative(second[..., :width], truth[..., :width]) < 2e-6  # measured: 6.3e-7
        assert relative(second[..., width:], truth[..., width:]) > 0.5  # measured: 0.66 to 0.83


@pytest.mark.parametrize("maker", ["make_llava", "make_mllama"])
def test_made_again_here_the_answers_are_equal(maker: str) -> None:
    """The makers that ask transformers; README.md tells how to check the others."""
    book = Book(f"{maker}.py", ("transformers",), check=True)
    with torch.inference_mode():
        importlib.import_module(f"tests.parity.goldens.{maker}").make(book)
    assert book.wrong == []


@pytest.mark.parametrize("name", ["llama_untied", "llama_tied"])
def test_our_decoder_gives_transformers_logits(name: str, tmp_path: Path) -> None:
    """The pattern for every other parity test: a folder from the golden, our loader, equal numbers."""
    read = golden(name)
    (tmp_path / "config.json").write_text(json.dumps(read.record["config"]), encoding="utf-8")
    save_file(read.weights, tmp_path / "model.safetensors", {"format": "pt"})
    model = load_decoder(tmp_path)[0].eval()
    held = read.part("text")
    with torch.no_grad():
        logits = model.head(model(held["ids"]))
    assert relative(logits, held["logits"]) < 1e-5
