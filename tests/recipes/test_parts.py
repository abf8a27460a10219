"""Any eyes with any language model in any architecture, by settings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.tiled import llama_vision
from tests.cli.toys import TEMPLATE
from transformers import SiglipVisionConfig, SiglipVisionModel

from chiasm.base.errors import UserError
from chiasm.checkpoint.folder import save_decoder, save_vit
from chiasm.checkpoint.parts import open_part
from chiasm.inputs import Message, Picture, Text
from chiasm.inputs.tiles import TileTransform
from chiasm.models import Crossed, Prefix
from chiasm.nn import FlamingoCrossBlock
from chiasm.recipes.loading import load
from chiasm.recipes.parts import assemble
from chiasm.recipes.settings import CrossedShape, ModelSettings, PrefixShape
from chiasm.testing import toy_decoder, toy_picture, toy_tokenizer, toy_vit


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, CLIP's eyes, SigLIP's, and a Llama 3.2 Vision."""
    root = tmp_path_factory.mktemp("shelf")
    toy_tokenizer().save(root)
    (root / "chat_template.jinja").write_text(TEMPLATE)
    names = ("tokenizer.json", "chat_template.jinja")
    save_decoder(toy_decoder(), root / "decoder", {n: (root / n).read_bytes() for n in names})
    save_vit(toy_vit(), root / "clip")
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = SiglipVisionConfig(**sizes, intermediate_size=18, image_size=14, patch_size=4)
    SiglipVisionModel(config).save_pretrained(root / "siglip")
    record = (
        '{"image_processor_type": "SiglipImageProcessor", "size": {"height": 14, "width": 14}, '
    )
    record += '"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3}'
    (root / "siglip/preprocessor_config.json").write_text(record)
    llama_vision(root, root / "llama")
    return root


SHAPES = {
    "crossed": CrossedShape(crosses=2),
    "flamingo": CrossedShape(crosses=4, cross="flamingo", latents=3, attend="only_last"),
    "prefix": PrefixShape(),
    "resampled prefix": PrefixShape(latents=4),
}
EYES = {"clip": (12, 1), "siglip": (14, 1), "llama": (12, 4)}


def talk(count: int) -> list[Message]:
    pictures: list[Picture | Text] = [toy_picture(i) for i in range(count)]
    return [Message("user", (*pictures, Text("what?")))]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eyes", EYES)
@torch.no_grad()
def test_any_eyes_in_any_architecture(shelf: Path, eyes: str, shape: str) -> None:
    """Two pictures are seen: tokens that mark their places fit, and what is shown changes the answer."""
    size, tiles = EYES[eyes]
    settings = ModelSettings(
        decoder=str(shelf / "decoder"),
        encoder=str(shelf / eyes),
        shape=SHAPES[shape],
        image_size=size,
        tiles=tiles,
    )
    made = assemble(settings, torch.float32, 0, lambda _: None)
    model, processor = made.model, made.processor
    try:
        assert isinstance(model, Prefix if "prefix" in shape else Crossed)
        if isinstance(model, Crossed):
            for cross in model.crosses:
                cross.attn_gate.fill_(0.5)
            assert isinstance(model.crosses[0], FlamingoCrossBlock) == (shape == "flamingo")
        shown = processor.batch([processor.prompt(talk(2))]).inputs()
        logits = model.head(model(**shown))
        shown["vision"] = shown["vision"].__class__(
            shown["vision"].spans, shown["vision"].pixels + 1, shown["vision"].grids
        )
        assert float((model.head(model(**shown)) - logits).abs().max()) > 1e-4
        known = (
            (0.5, 0.5, 0.5)
            if eyes == "siglip"
            else pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
        )
        assert processor.transform is not None and processor.transform.mean == known
        assert isinstance(processor.transform, TileTransform) == (tiles > 1)
    finally:
        processor.close()


def test_parts_are_found_within_a_vision_model(shelf: Path) -> None:
    whole = open_part(shelf / "llama", "decoder")
    assert whole.config.width == 24 and "embed.weight" in whole.tensors
    assert open_part(shelf / "llama", "encoder").config.kind == "tiled"
    settings = ModelSettings(
        decoder=str(shelf / "llama"),
        encoder=str(shelf / "clip"),
        image_size=12,
        shape=PrefixShape(),
    )
    made = assemble(settings, torch.float32, 0, lambda _: None)
    made.processor.close()
    stored = whole.tensors["blocks.1.attn.q.weight"]
    assert torch.equal(made.model.decoder.blocks[1].attn.q.weight, stored)


def test_a_known_model_begins_anew(shelf: Path) -> None:
    settings: dict[str, Any] = {"decoder": str(shelf / "decoder"), "image_size": 32}
    small = ModelSettings(
        **settings, encoder="vit-small-patch16-224", new=("encoder",), shape=CrossedShape(crosses=2)
    )
    made = [assemble(small, torch.float32, seed, lambda _: None) for seed in (0, 0, 1)]
    for each in made:
        each.processor.close()
    first, same, other = (each.model.encoder.patches.weight for each in made)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert (
        made[0].provenance["encoder"].source == "new" and made[0].model.encoder.config.width == 384
    )


def test_what_cannot_begin_anew_is_refused(shelf: Path) -> None:
    settings: dict[str, Any] = {"decoder": str(shelf / "decoder"), "image_size": 32}
    for name, said in (("smollm2-135m", "no encoder"), ("vit-smal", "no model")):
        with pytest.raises(UserError, match=said):
            assemble(
                ModelSettings(**settings, encoder=name, new=("encoder",)),
                torch.float32,
                0,
                lambda _: None,
            )


def test_words_of_another_model_are_refused(shelf: Path, tmp_path: Path) -> None:
    names = ("tokenizer.json", "chat_template.jinja")
    files = {name: (shelf / name).read_bytes() for name in names}
    save_decoder(toy_decoder(vocab=100), tmp_path / "small", files)
    said = "has 256 tokens, but the .*model only"
    with pytest.raises(UserError, match=said):
        load(tmp_path / "small")
    settings = ModelSettings(
        decoder=str(tmp_path / "small"),
        encoder=str(shelf / "clip"),
        image_size=12,
        shape=PrefixShape(),
    )
    with pytest.raises(UserError, match=said):
        assemble(settings, torch.float32, 0, lambda _: None)
