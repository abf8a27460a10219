"""Two towers: which vector speaks for a text, what it may see, and how two are compared."""

from __future__ import annotations

import math
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor

from chiasm.models import (
    DualConfig,
    DualEncoder,
    ImageTower,
    ImageTowerConfig,
    TextTower,
    TextTowerConfig,
)
from chiasm.testing import open_gates, toy_vit_config

END = 19


def text_config(**changes: Any) -> TextTowerConfig:
    sizes = {"vocab": 20, "width": 10, "depth": 2, "heads": 2, "hidden": 14, "context": 8}
    return TextTowerConfig(**{**sizes, "end_token": END, "projection": 6, **changes})


OPEN = {"causal": False, "pool": "last", "end_token": None, "projection_bias": True}


def text_tower(**changes: Any) -> TextTower:
    tower = TextTower(text_config(**changes))
    torch.nn.init.normal_(tower.embed.weight)  # as small as at birth, they would hide mistakes
    return open_gates(tower).double()


def dual_config(**changes: Any) -> DualConfig:
    image = ImageTowerConfig(encoder=toy_vit_config(), projection=6)
    return DualConfig(**{"image": image, "text": text_config(), **changes})


def tokens(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


@torch.no_grad()
def test_the_first_end_token_speaks_and_what_follows_is_not_seen() -> None:
    tower = text_tower()
    found = tower(tokens([3, 5, END, 0, 0], [3, 5, END, END, 7], [3, END, 5, 4, 4]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], tower(tokens([3, 5, END]))[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(found[2], tower(tokens([3, END]))[0], atol=1e-12, rtol=0)


@torch.no_grad()
def test_the_highest_id_speaks_in_old_configurations() -> None:
    old, new = text_tower(pool="highest", end_token=None), text_tower()
    old.load_state_dict(new.state_dict())
    rows = tokens([3, 5, END, 0, 0], [3, END, 5, 4, END])
    assert torch.equal(old(rows), new(rows))
    without = tokens([3, 11, 5, 2, 1])
    torch.testing.assert_close(old(without), old(without[:, :2]), atol=1e-12, rtol=0)


@torch.no_grad()
def test_an_open_tower_sees_its_padding_and_the_last_vector_speaks() -> None:
    tower = text_tower(**OPEN)
    first = tower(tokens([3, 5, 1, 1]))
    assert not torch.allclose(first, tower(tokens([3, 5, 1])))
    for place in range(4):
        row = tokens([3, 5, 1, 1])
        row[0, place] = 9
        assert not torch.allclose(first, tower(row)), place


def test_a_text_without_an_end_and_a_text_too_long_are_told() -> None:
    tower = text_tower()
    with pytest.raises(ValueError, match="no end token 19; was it cut"):
        tower(tokens([3, END], [3, 4]))
    with pytest.raises(ValueError, match="9 tokens are more than the 8"):
        tower(torch.full((1, 9), END))
    assert tower(torch.full((1, 8), END)).shape == (1, 6)


@torch.no_grad()
def test_texts_of_a_batch_do_not_touch_each_other() -> None:
    for changes in ({}, OPEN):
        tower = text_tower(**changes)
        rows = tokens([3, 4, END], [5, END, 6])
        torch.testing.assert_close(tower(rows)[1:], tower(rows[1:]), atol=1e-12, rtol=0)


@torch.no_grad()
def test_a_picture_becomes_one_vector() -> None:
    pixels = torch.randn(2, 3, 12, 12)
    plain = open_gates(ImageTower(ImageTowerConfig(encoder=toy_vit_config())))
    assert torch.equal(plain(pixels), plain.encoder(pixels)["final"][:, 0])
    projected = open_gates(ImageTower(ImageTowerConfig(encoder=toy_vit_config(), projection=6)))
    expected = projected.encoder(pixels)["final"][:, 0] @ projected.project.weight.T
    torch.testing.assert_close(projected(pixels), expected, atol=1e-6, rtol=0)
    eyes = toy_vit_config(cls=False)
    asked = open_gates(ImageTower(ImageTowerConfig(encoder=eyes, pool="probe")))
    assert torch.equal(asked(pixels), asked.pool(asked.encoder(pixels)["final"]))


@pytest.mark.parametrize("bias", [None, -3.0])
@torch.no_grad()
def test_logits_are_scaled_cosines(bias: float | None) -> None:
    model = DualEncoder(dual_config(logit_bias=bias)).double()
    assert (model.logit_bias is None) == (bias is None)
    assert float(model.logit_scale.exp()) == pytest.approx(1 / 0.07)
    model.logit_scale.fill_(math.log(5.0))
    images, texts = torch.randn(3, 6).double(), torch.randn(2, 6).double()
    found = model.logits(images * 7, texts)  # lengths do not matter
    assert found.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            cosine = images[i] @ texts[j] / (images[i].norm() * texts[j].norm())
            assert float(found[i, j]) == pytest.approx(5 * float(cosine) + (bias or 0.0))


@torch.no_grad()
def test_logits_of_half_precision_vectors_are_compared_in_fp32() -> None:
    model = DualEncoder(dual_config()).bfloat16()
    images, texts = torch.randn(3, 6).bfloat16(), torch.randn(2, 6).bfloat16()
    found = model.logits(images, texts)
    assert found.dtype == torch.float32
    assert torch.equal(found, model.logits(images.float(), texts.float()))


def test_a_new_model_learns_in_all_its_parts() -> None:
    for changes in (
        {},
        {
            "image": ImageTowerConfig(encoder=toy_vit_config(cls=False), pool="probe"),
            "text": text_config(**OPEN | {"projection": 12}),
            "logit_bias": -10.0,
        },
    ):
        model = DualEncoder(dual_config(**changes))
        images = model.encode_image(torch.randn(2, 3, 12, 12))
        texts = model.encode_text(tokens([3, 4, 5, END], [6, 7, END, 0]))
        model.logits(images, texts).square().sum().backward()
        still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not still


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: text_config(end_token=None), "needs it"),
        (lambda: text_config(pool="last"), "`end_token` is for"),
        (lambda: ImageTowerConfig(encoder=toy_vit_config(cls=False)), "no CLS vector; pool by"),
        (
            lambda: dual_config(text=text_config(projection=7)),
            "vectors of 6 numbers and texts of 7",
        ),
        (lambda: dual_config(text=text_config(projection=None)), "6 numbers and texts of 10"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(make: Any, words: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=words):
        make()
