"""Memory from settings alone, against what autograd, optimizers and real weights hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.models import Crossed, Decoder
from chiasm.models.eyes import EyesConfig, eyes
from chiasm.models.footprint import (
    Numbers,
    Step,
    activation_bytes,
    training_bytes,
    weight_bytes,
)
from chiasm.models.projector import ProjectorConfig
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.zoo import zoo
from chiasm.testing import toy_crossed, toy_decoder, toy_prefix, toy_vit_config

TILED = TiledViTConfig(
    image_size=28, patch=4, width=24, depth=3, gated=2, heads=2, hidden=40, tiles=4
)
WIDE = {"width": 48, "head_width": 8, "hidden": 96}


def kept(run: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that autograd keeps for the way back; weights and numbers that gates scale by left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, Tensor] = {}  # holding the tensors keeps their places from being used again

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            found[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()
    assert out.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


def shared(tokens: int, head_width: int) -> int:
    """Bytes that all blocks of a pass keep together: rotations and the causal rule."""
    return 2 * tokens * head_width * 4 + tokens * tokens * 4


def pixels(tiles: int, size: int) -> Tensor:
    return torch.randn(tiles, 3, size, size, generator=torch.Generator().manual_seed(0))


def learn(model: nn.Module, parts: Iterable[str]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in parts)


def close(predicted: int, measured: int, most: float) -> None:
    assert abs(predicted / measured - 1) <= most, (predicted, measured)


# ---- activations -------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_learning_decoder_keeps_what_was_worked_out(kv_heads: int) -> None:
    model, tokens = toy_decoder(kv_heads=kv_heads, **WIDE), 40
    ids = torch.zeros(1, tokens, dtype=torch.long)
    worked_out = activation_bytes(model.config, {"decoder"}, Step(tokens, size=4))
    # The last norm's outcome is kept by the head alone, which did not run; token numbers are.
    head = 4 * tokens * model.config.width
    measured = kept(lambda: model(ids), model) - shared(tokens, 8)
    assert measured == worked_out - head + 8 * tokens


def test_a_frozen_decoder_above_something_that_learns_keeps_less() -> None:
    model, tokens = toy_decoder(**WIDE).requires_grad_(False), 40
    x = torch.randn(1, tokens, 48, requires_grad=True) * 1.0
    measured = kept(lambda: model.run(x, None, None, None), model) - shared(tokens, 8)
    prefix = toy_prefix(decoder=model.config).config
    step = Step(tokens, size=4)
    assert measured == activation_bytes(prefix, {"projector"}, step)


@pytest.mark.parametrize("taps", [("final",), ("block.2",)])
@pytest.mark.parametrize(
    "config",
    [
        toy_vit_config(activation="gelu", image_size=28),
        toy_vit_config(image_size=28),
        toy_vit_config(image_size=28, cls=False, pre_norm=False, activation="gelu_tanh"),
    ],
)
def test_learning_eyes_keep_what_was_worked_out(config: EyesConfig, taps: tuple[str, ...]) -> None:
    model = eyes(config)
    seeing = toy_crossed(encoder=config, projector=ProjectorConfig(taps=taps))
    step = Step(0, tiles=2, size=4)
    alone = seeing.config.model_copy(update={"decoder": seeing.config.decoder})
    both = activation_bytes(alone, {"encoder", "projector"}, step)
    worked_out = both - activation_bytes(alone, {"projector"}, step)
    measured = kept(lambda: model(pixels(2, 28), taps)[taps[0]], model)
    close(worked_out, measured, 0.0)


@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (2, 2)])
def test_learning_eyes_over_tiles_keep_what_was_worked_out(grid: tuple[int, int]) -> None:
    model, tiles = eyes(TILED), grid[0] * grid[1]
    grids = torch.tensor([grid])
    worked_out = activation_bytes(TILED, {"encoder"}, Step(0, tiles=tiles, size=4))
    close(worked_out, kept(lambda: model(pixels(tiles, 28), ("final",), grids)["final"], model), 0.02)


@pytest.mark.parametrize("parts", ["crosses projector", "crosses projector encoder", "crosses"])
@pytest.mark.parametrize("extra", ["", " extra"])
def test_a_whole_model_keeps_what_was_worked_out(parts: str, extra: str) -> None:
    model = toy_crossed(
        decoder=toy_decoder(**WIDE).config,
        encoder=TILED,
        projector=ProjectorConfig(taps=("block.1", "final"), norm=False),
    )
    learning, tokens = {*parts.split(), *extra.split()}, 60
    learn(model, learning)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    ids[0, 0] = model.config.image_token
    vision = Vision(torch.tensor([[[0, 1]] * tokens]), pixels(3, 28), torch.tensor([(1, 3)]))
    measured = kept(lambda: model(ids, vision=vision), model) - shared(tokens, 8)
    worked_out = activation_bytes(model.config, learning, Step(tokens, tiles=3, size=4))
    close(worked_out, measured, 0.02)


def test_recomputing_keeps_what_enters_each_block_and_one_block() -> None:
    config: Any = zoo("llama-3.1-8b")
    step = Step(8192)
    full = activation_bytes(config, {"decoder"}, step)
    again = activation_bytes(config, {"decoder"}, Step(8192, recompute=True))
    norm = 8192 * (4 * 4096 + 4 + 2 * 2 * 4096)
    block = (full - norm) // 32
    assert again == norm + 32 * 8192 * 4096 * 2 + block
