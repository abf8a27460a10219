"""The eyes: every layer against transformers, other resolutions, and no work above the highest tap."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from chiasm.base.config import from_record
from chiasm.models import ViT, ViTConfig
from chiasm.models.sight import see
from chiasm.testing import toy_crossed, toy_vit, toy_vit_config

IN_TRANSFORMERS = {
    "patches.weight": "embeddings.patch_embedding.weight",
    "cls": "embeddings.class_embedding",
    "position.weight": "embeddings.position_embedding.weight",
    "pre_norm": "pre_layrnorm",
    "post_norm": "post_layernorm",
    "attn_norm": "layer_norm1",
    "mlp_norm": "layer_norm2",
    **{f"attn.{p}": f"self_attn.{p}_proj" for p in "qkv"},
    "attn.o": "self_attn.out_proj",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


def in_transformers(name: str) -> str:
    if name in IN_TRANSFORMERS:
        return IN_TRANSFORMERS[name]
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("blocks."):
        return f"{IN_TRANSFORMERS[stem]}.{kind}"
    _, layer, part = stem.split(".", 2)
    return f"encoder.layers.{layer}.{IN_TRANSFORMERS[part]}.{kind}"


def twin(model: ViT) -> CLIPVisionModel:
    """The same eyes in transformers."""
    c = model.config
    other = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=c.image_size,
            patch_size=c.patch,
            hidden_size=c.width,
            num_hidden_layers=c.depth,
            num_attention_heads=c.heads,
            intermediate_size=c.hidden,
            hidden_act=c.activation,
            layer_norm_eps=c.norm_eps,
        )
    )
    prefix = (
        "vision_model." if any(n.startswith("vision_model.") for n in other.state_dict()) else ""
    )
    weights = {prefix + in_transformers(name): value for name, value in model.state_dict().items()}
    other.load_state_dict(weights, strict=True)
    return other


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"activation": "gelu", "norm_eps": 1e-6},
        {"image_size": 15, "patch": 5, "heads": 3, "depth": 5},
    ],
)
@torch.no_grad()
def test_taps_are_the_hidden_states_of_transformers(sizes: dict) -> None:
    model = toy_vit(**sizes)
    depth, side = model.config.depth, model.config.image_size
    pixels = torch.randn(3, 3, side, side)
    names = [f"block.{i}" for i in range(depth)] + ["last", "final"]
    taps = model(pixels, names)
    expected = twin(model)(pixels, output_hidden_states=True)
    assert len(expected.hidden_states) == depth + 1
    for name, hidden in zip(names, expected.hidden_states, strict=False):
        # measured over these cases: 1.2e-6
        torch.testing.assert_close(taps[name], hidden, atol=1e-5, rtol=0)
    torch.testing.assert_close(taps["final"][:, 0], expected.pooler_output, atol=1e-5, rtol=0)
    assert list(taps) == names


def test_other_resolutions_resample_positions_and_nothing_else() -> None:
    model = toy_vit().double()
    assert (model.config.places(), model.config.places(20)) == (10, 26)
    assert model(torch.randn(1, 3, 20, 8, dtype=torch.float64))["final"].shape[1] == 1 + 5 * 2
    torch.nn.init.constant_(model.position.weight, 0.25)  # a table that is flat stays flat
    large = toy_vit(image_size=20).double()
    weights = model.state_dict() | {"position.weight": torch.full_like(large.position.weight, 0.25)}
    large.load_state_dict(weights)
    pixels = torch.randn(2, 3, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(model(pixels)["final"], large(pixels)["final"], atol=1e-12, rtol=0)


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    model = toy_vit()
    pixels = torch.randn(3, 3, 12, 12)
    before = model(pixels)["final"]
    changed = pixels.clone()
    changed[1] += 1
    after = model(changed)["final"]
    same = (after == before).flatten(1).all(1)
    assert same.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("taps", "needed"),
    [
        (["block.0"], 0),
        (["block.2", "block.1"], 2),
        (["block.2"], 2),
        (["last"], 3),
        (["final", "block.0"], 3),
    ],
)
def test_blocks_above_the_highest_tap_do_not_run(taps: list[str], needed: int) -> None:
    model, ran = toy_vit(), []
    for i, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    model.post_norm.register_forward_hook(lambda *_: ran.append("post_norm"))
    assert list(model(torch.randn(1, 3, 12, 12), taps)) == taps
    assert ran == [*range(needed), *(["post_norm"] if "final" in taps else [])]


SHAPES = {
    "clip": {},
    "siglip": {"cls": False, "pre_norm": False, "patch_bias": True, "activation": "gelu_tanh"},
    "plain": {"pre_norm": False, "patch_bias": True, "activation": "gelu", "norm_eps": 1e-6},
    "odd": {"cls": False, "norm_eps": 1e-3},
}


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_a_shape_has_its_parts_and_no_others(shape: str) -> None:
    model = toy_vit(**SHAPES[shape]).double()
    c, names = model.config, set(model.state_dict())
    assert ("cls" in names, "pre_norm.bias" in names, "patches.bias" in names) == (
        c.cls,
        c.pre_norm,
        c.patch_bias,
    )
    assert c.lead == int(c.cls) and c.places() == c.lead + 9 == len(model.position.weight)
    pixels = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    x = F.conv2d(pixels, model.patches.weight, model.patches.bias, stride=4).flatten(2).mT
    if c.cls:
        x = torch.cat((model.cls.expand(2, 1, -1), x), dim=1)
    x = x + model.position.weight
    if c.pre_norm:
        x = F.layer_norm(x, (12,), model.pre_norm.weight, model.pre_norm.bias, c.norm_eps)
    taps = model(pixels, ("block.0", "last", "final"))
    torch.testing.assert_close(taps["block.0"], x, atol=1e-12, rtol=0)
    for block in model.blocks:
        x = block(x)
    torch.testing.assert_close(taps["last"], x, atol=1e-12, rtol=0)
    assert torch.equal(taps["final"], model.post_norm(taps["last"]))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_wide_pictures_have_their_grid_and_a_remainder_is_not_seen(shape: str) -> None:
    model = toy_vit(**SHAPES[shape])
    pixels = torch.randn(1, 3, 11, 23)
    found = model(pixels)["final"]
    assert found.shape[1] == model.config.lead + 2 * 5
    assert torch.equal(found, model(pixels[..., :8, :20])["final"])
    tall = model(pixels.mT)["final"]
    assert tall.shape == found.shape and not torch.allclose(tall, found)


def test_grids_change_nothing_where_every_tile_is_a_picture() -> None:
    model, pixels = toy_vit(), torch.randn(4, 3, 12, 12)
    grids = torch.tensor([[1, 1], [1, 3]])
    assert torch.equal(model(pixels, ("final",), grids)["final"], model(pixels)["final"])


def test_settings_stored_before_there_were_shapes_are_clips() -> None:
    old = {"image_size": 12, "patch": 4, "width": 12, "depth": 3, "heads": 2, "hidden": 18}
    old |= {"activation": "quick_gelu", "norm_eps": 1e-5}
    assert from_record(ViTConfig, old) == toy_vit_config()


def test_an_unknown_tap_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"block\.3.*block\.0 … block\.2, last, final"):
        toy_vit()(torch.randn(1, 3, 12, 12), ["last", "block.3"])


def test_names_are_those_of_the_contract() -> None:
    names = set(toy_vit(depth=1).state_dict())
    block = [f"blocks.0.{part}" for part in IN_TRANSFORMERS if part.startswith(("attn", "mlp"))]
    both = [
        f"{part}.{kind}"
        for part in (*block, "pre_norm", "post_norm")
        for kind in ("weight", "bias")
    ]
    assert names == {"patches.weight", "cls", "position.weight", *both}
    assert toy_vit_config().places() == len(toy_vit().position.weight)


def test_eyes_that_learn_compute_in_the_streams_type() -> None:
    """Weights in fp32 take updates that bf16 would lose; they must not make the whole encoder run in fp32."""
    model = toy_crossed().to(torch.bfloat16)
    model.encoder.float()
    types: set[torch.dtype] = set()
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda _, __, out: types.add(out.dtype))
    side = model.config.encoder.image_size
    seen = see(model, torch.randn(1, 3, side, side))
    assert types == {torch.bfloat16} and seen.dtype == torch.bfloat16
    seen.float().sum().backward()
    assert model.encoder.patches.weight.grad.dtype == torch.float32
