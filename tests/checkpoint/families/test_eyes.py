"""Which family eyes belong to: what a folder says, and what a shape allows."""

from __future__ import annotations

from typing import Any

import pytest
from tests.checkpoint import oracles
from tests.checkpoint.toys import vit_config

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import clip, eyes, siglip, vit
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import DualConfig, ImageTowerConfig

CLIP = clip.read_dual(oracles.clip_config().to_dict(), "x")
SIGLIP = siglip.read_dual(oracles.siglip_config().to_dict(), "x")


def changed(config: DualConfig, **changes: Any) -> DualConfig:
    return DualConfig.model_validate({**dict(config), **changes})


def test_a_folder_says_what_it_is() -> None:
    kinds = {"clip": clip, "clip_vision_model": clip, "siglip_vision_model": siglip, "vit": vit}
    for kind, family in kinds.items():
        assert eyes.eyes_in({"model_type": kind}, "x") is family
    assert eyes.towers_in({"model_type": "siglip"}, "x") is siglip
    for read, kind in ((eyes.eyes_in, "deit"), (eyes.towers_in, "vit")):
        with pytest.raises(CheckpointError, match=f"cfg: \"model_type\" is '{kind}'"):
            read({"model_type": kind}, "cfg")


def test_a_shape_belongs_to_one_family() -> None:
    assert eyes.eyes_of(vit_config()) is clip
    assert eyes.eyes_of(vit_config(cls=False, pre_norm=False, patch_bias=True)) is siglip
    assert eyes.eyes_of(vit_config(pre_norm=False, patch_bias=True)) is vit
    assert eyes.towers_of(CLIP) is eyes.tower_of(CLIP.image) is clip
    assert eyes.towers_of(SIGLIP) is eyes.tower_of(SIGLIP.image) is siglip


@pytest.mark.parametrize(
    "image",
    [
        ImageTowerConfig(encoder=vit_config(), pool="probe"),
        ImageTowerConfig(encoder=SIGLIP.image.encoder, pool="probe", projection=3),
        ImageTowerConfig(encoder=vit_config(pre_norm=False, patch_bias=True)),
    ],
    ids=["clip that asks", "siglip that projects", "plain"],
)
def test_an_image_tower_of_no_family(image: ImageTowerConfig) -> None:
    with pytest.raises(UserError, match="this image tower"):
        eyes.tower_of(image)


@pytest.mark.parametrize(
    "config",
    [
        changed(CLIP, logit_bias=0.0),
        changed(CLIP, text=CLIP.text.model_copy(update={"causal": False})),
        changed(CLIP, text=CLIP.text.model_copy(update={"projection_bias": True})),
        changed(CLIP, image=ImageTowerConfig(encoder=vit_config(width=12))),
        changed(SIGLIP, logit_bias=None),
        changed(SIGLIP, text=SIGLIP.text.model_copy(update={"causal": True})),
    ],
    ids=["biased", "open", "biased text", "unprojected", "unbiased", "causal"],
)
def test_two_towers_of_no_family(config: DualConfig) -> None:
    with pytest.raises(UserError, match="joins an image tower and a text tower"):
        eyes.towers_of(config)
