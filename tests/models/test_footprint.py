"""Memory from settings alone, against what autograd, optimizers and real weights hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiasm.base.layers import INT4, INT8, LowBit
from chiasm.base.vision import Vision
from chiasm.inputs.batch import pack
from chiasm.models import Crossed
from chiasm.models.eyes import EyesConfig, eyes
from chiasm.models.footprint import (
    Step,
    activation_bytes,
    numbers_of,
    training_bytes,
    weight_bytes,
)
from chiasm.models.perceiver import ResamplerConfig
from chiasm.models.projector import ProjectorConfig
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.zoo import zoo
from chiasm.nn import Linear, LowBitLinear
from chiasm.testing import (
    toy_crossed,
    toy_decoder,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_vit_config,
)
from chiasm.training import NextToken
from chiasm.training.optim import Learner, assign, movers
from chiasm.training.settings import Rate, Schedule

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


APART = 0.02
"""Measured: plain eyes, decoders 0; tiles, joined and shared tensors of whole models up to 0.0145."""


def close(predicted: int, measured: int, most: float = APART) -> None:
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
    close(
        worked_out, kept(lambda: model(pixels(tiles, 28), ("final",), grids)["final"], model), 0.02
    )


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
    close(worked_out, measured)


def test_a_flamingo_keeps_what_was_worked_out() -> None:
    model = toy_crossed(
        decoder=toy_decoder(**WIDE).config,
        encoder=toy_vit_config(image_size=28),
        cross="flamingo",
        projector=ProjectorConfig(
            taps=("final",), kind="resampler", norm=False, cls=False, resampler=ResamplerConfig()
        ),
    )
    learning, tokens = {"projector", "crosses", "extra"}, 60
    learn(model, learning)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    ids[0, 0] = model.config.image_token
    vision = Vision(torch.tensor([[[0, 1]] * tokens]), pixels(1, 28))
    measured = kept(lambda: model(ids, vision=vision), model) - shared(tokens, 8)
    worked_out = activation_bytes(model.config, learning, Step(tokens, tiles=1, size=4))
    close(worked_out, measured)


def test_recomputing_keeps_what_enters_each_block_and_one_block() -> None:
    config: Any = zoo("llama-3.1-8b")
    step = Step(8192)
    full = activation_bytes(config, {"decoder"}, step)
    again = activation_bytes(config, {"decoder"}, Step(8192, recompute=True))
    norm = 8192 * (4 * 4096 + 4 + 2 * 2 * 4096)
    block = (full - norm) // 32
    assert again == norm + 32 * 8192 * 4096 * 2 + block


# ---- learning ----------------------------------------------------------------------------------

TABLE = (
    ("decoder.*", None),
    ("encoder.*", Rate(peak=1e-4)),
    ("crosses.*_gate", Rate(peak=1e-2)),
    ("crosses.*", Rate(peak=1e-3, update="muon")),
    ("*", Rate(peak=1e-3)),
)


def test_a_real_step_holds_weights_gradients_and_memories_as_predicted() -> None:
    model = toy_crossed().bfloat16()
    rows = assign(model, TABLE)
    numbers = numbers_of(model, movers(model, rows))
    learner = Learner(model, TABLE, Schedule(), 10)
    for parameter in learner.learning.values():
        parameter.grad = torch.randn_like(parameter)
    predicted = training_bytes(model.config, numbers, {"encoder", "crosses"}, Step(0))
    assert predicted.weights == held(model.parameters())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert predicted.gradients == held(gradients)
    for optimizer in learner.optimizers:
        optimizer.step()
    moments = {name: value for name, value in learner.state().items() if value.ndim}
    assert predicted.optimizer == held(moments.values())
    matrices = [
        layer.weight
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad
    ]
    assert predicted.gathered == sum(2 * weight.numel() for weight in matrices)
    assert predicted.total == sum(v for k, v in predicted.record().items() if k != "total")


def test_devices_share_all_but_what_they_compute() -> None:
    config: Any = zoo("llama-3.2-11b-vision-instruct")
    with torch.device("meta"):
        model = Crossed(config)
    rows = assign(model, (("decoder.*", None), ("*", Rate(peak=1e-4))))
    numbers = numbers_of(model, movers(model, rows))
    step, learning = Step(2048, tiles=4), {"encoder", "projector", "crosses", "extra"}
    one, eight = (training_bytes(config, numbers, learning, step, gpus) for gpus in (1, 8))
    assert (eight.activations, eight.logits) == (one.activations, one.logits)
    assert eight.weights == -(-one.weights // 8) and eight.optimizer == -(-one.optimizer // 8)
    assert numbers.adamw == 2_639_959_587  # "2.64 B": all but the language model
    assert one.optimizer == 8 * numbers.adamw and one.gradients == 4 * numbers.adamw
    assert numbers.unit == 128_256 * 4096  # the embedding table is larger than any block
    assert one.weights == 2 * 8_030_261_248 + 4 * numbers.adamw


@pytest.mark.parametrize("chunk", [7, 64])
def test_the_loss_keeps_a_probability_for_every_word_at_every_target(chunk: int) -> None:
    model = toy_decoder()
    batch = pack([toy_rendered(1), toy_rendered(2)], toy_pixels)
    targets = NextToken().weight(batch)
    whole = kept(lambda: NextToken(chunk).loss(model, batch), model)
    features = kept(lambda: model(**batch.inputs()), model)
    logits = training_bytes(model.config, numbers_of(model, {}), {"decoder"}, Step(targets)).logits
    assert logits == targets * model.config.vocab * 4
    beside = targets * (4 * model.config.width + 3 * 8)  # the head's own features; which, and what
    assert 0 <= whole - features - logits <= beside


# ---- speaking ----------------------------------------------------------------------------------


def held(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_weights_take_the_bytes_of_their_type(kind: str) -> None:
    model = toy_crossed().to(getattr(torch, kind))
    assert weight_bytes(numbers_of(model, {}), kind) == held(model.parameters())


@pytest.mark.parametrize(("kind", "low_bit"), [("int8", INT8), ("int4", INT4)])
def test_integers_take_the_bytes_of_their_layers(kind: str, low_bit: LowBit) -> None:
    model = toy_decoder(width=64, head_width=16, hidden=96, depth=2, tied=False).bfloat16()
    numbers = numbers_of(model, {})
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Linear):
            integers = LowBitLinear(layer.in_features, layer.out_features, low_bit)
            model.set_submodule(name, integers)
    kept_as = [*model.parameters(), *model.buffers()]
    assert weight_bytes(numbers, kind) == held(kept_as)
    assert numbers_of(model, {}) == numbers  # integers count as the weights that they are
    with pytest.raises(ValueError, match="int3"):
        weight_bytes(numbers, "int3")
