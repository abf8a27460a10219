"""Costs from settings alone: FLOPs against torch's own counter, bytes against real tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from chiasm.base.vision import Clips, Vision
from chiasm.models import Crossed, Decoder, Prefix, cost
from chiasm.models.eyes import EyesConfig, eyes
from chiasm.models.perceiver import AggregatorConfig, ResamplerConfig
from chiasm.models.projector import ProjectorConfig
from chiasm.models.sight import project, vectors_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.video import VideoConfig
from chiasm.models.zoo import zoo
from chiasm.testing import (
    toy_crossed,
    toy_decoder,
    toy_prefix,
    toy_prefix_config,
    toy_vit_config,
)

TILED = TiledViTConfig(
    image_size=12, patch=4, width=12, depth=3, gated=2, heads=2, hidden=18, tiles=4
)


def counted(run: Callable[[], Any]) -> int:
    """FLOPs by torch's counter; it knows attention only when that is made of plain products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def pixels(tiles: int, size: int = 12) -> Tensor:
    return torch.randn(tiles, 3, size, size, generator=torch.Generator().manual_seed(0))


# ---- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"kv_heads": 4}, {"tied": False}, {"kv_heads": 1}])
def test_text_costs_what_the_counter_counts(change: dict[str, Any]) -> None:
    model = toy_decoder(**change)

    def prefill() -> None:
        model.head(model(torch.zeros(1, 11, dtype=torch.long))[:, -1:])

    assert counted(prefill) == cost.text_flops(model.config, 11)


@pytest.mark.parametrize("before", [1, 5, 30])
def test_a_token_after_a_cache_costs_its_reach(before: int) -> None:
    model = toy_decoder()
    cache = model.cache(1, 64)
    model(torch.zeros(1, before, dtype=torch.long), cache=cache)
    cache.advance(before)

    def decode() -> None:
        model.head(model(torch.zeros(1, 1, dtype=torch.long), cache=cache))

    assert counted(decode) == cost.text_flops(model.config, 1, before)


def test_the_whole_text_costs_more_than_its_tokens_one_by_one() -> None:
    config = zoo("llama-3.2-1b")
    assert isinstance(config, type(toy_decoder().config))
    alone = sum(cost.decoder_flops(config, 1, before) for before in range(100))
    assert cost.decoder_flops(config, 100) > alone  # the half that the causal rule hides
    hidden = 4 * config.depth * config.heads * config.head_width * 100 * 99 // 2
    assert cost.decoder_flops(config, 100) - alone == hidden


# ---- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("taps", [("final",), ("block.1",), ("block.2", "final"), ("last",)])
@pytest.mark.parametrize("size", [12, 20])
@pytest.mark.parametrize("config", [toy_vit_config(), toy_vit_config(cls=False, pre_norm=False)])
def test_plain_eyes_cost_what_the_counter_counts(
    config: EyesConfig, size: int, taps: tuple[str, ...]
) -> None:
    model = eyes(config)
    counts = counted(lambda: model(pixels(2, size), taps))
    assert counts == cost.eyes_flops(config, taps, tiles=2, image_size=size)


@pytest.mark.parametrize("taps", [("final",), ("block.1",), ("final", "block.2"), ("last",)])
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_tiled_eyes_cost_what_the_counter_counts(
    grid: tuple[int, int], taps: tuple[str, ...]
) -> None:
    model, tiles = eyes(TILED), grid[0] * grid[1]
    counts = counted(lambda: model(pixels(tiles), taps, torch.tensor([grid])))
    assert counts == cost.eyes_flops(TILED, taps, tiles)


def test_a_picture_costs_eyes_projector_and_keys_and_values() -> None:
    model = toy_crossed(encoder=TILED)
    config, taps = model.config, model.config.projector.taps
    grids = torch.tensor([(1, 3)])
    seen = cost.vectors_of_picture(config, 3)

    def look() -> None:
        vectors = project(model, pixels(3), grids)
        assert vectors.shape[0] * vectors.shape[1] == seen
        for cross in model.crosses:
            cross.attn.memory(vectors)

    whole = cost.eyes_flops(TILED, taps, 3) + cost.projector_flops(config, 3)
    assert counted(look) == whole + cost.memory_flops(config, seen)


@pytest.mark.parametrize(
    "projector",
    [
        ProjectorConfig(taps=("block.2",), kind="mlp", cls=False),
        ProjectorConfig(taps=("block.1", "final"), kind="mlp", cls=False, squares=3),
        ProjectorConfig(taps=("final",), kind="linear"),
    ],
)
def test_a_picture_in_the_text_costs_no_keys_of_its_own(projector: ProjectorConfig) -> None:
    config = toy_prefix_config(projector=projector)
    model = toy_prefix(projector=projector)
    vectors = cost.vectors_of_picture(config)
    shown = Vision(torch.zeros(1, 1, 2, dtype=torch.long), pixels(1))
    assert vectors_of(model, shown).shape[1] == vectors == config.places()
    whole = cost.eyes_flops(config.encoder, projector.taps) + cost.projector_flops(config)
    assert counted(lambda: vectors_of(model, shown)) == whole
    assert cost.memory_flops(config, vectors) == cost.picture_bytes(config, vectors) == 0


def test_looking_costs_what_the_counter_counts() -> None:
    model = toy_crossed()
    seen = cost.vectors_of_picture(model.config)
    tokens = torch.zeros(1, 7, dtype=torch.long)
    spans = torch.tensor([[[0, 1]] * 7])
    vision = Vision(spans, pixels(1))
    picture = (
        cost.eyes_flops(model.config.encoder, model.config.projector.taps)
        + cost.projector_flops(model.config)
        + cost.memory_flops(model.config, seen)
    )

    def prefill() -> None:
        model.head(model(tokens, vision=vision)[:, -1:])

    assert counted(prefill) == picture + cost.text_flops(model.config, 7, seen=seen)


RESAMPLER = ProjectorConfig(
    taps=("final",),
    kind="resampler",
    cls=False,
    resampler=ResamplerConfig(latents=5, depth=2, heads=2, head_width=6, frames=3),
)


@pytest.mark.parametrize("cross", ["llama", "flamingo"])
def test_flamingo_costs_what_the_counter_counts(cross: str) -> None:
    model = toy_crossed(cross=cross, projector=RESAMPLER)
    seen = cost.vectors_of_picture(model.config)
    vision = Vision(torch.tensor([[[0, 1]] * 7]), pixels(1))
    picture = (
        cost.eyes_flops(model.config.encoder, ("final",))
        + cost.projector_flops(model.config)
        + cost.memory_flops(model.config, seen)
    )
    counts = counted(lambda: model(torch.zeros(1, 7, dtype=torch.long), vision=vision))
    assert seen == 5
    assert counts == picture + cost.text_flops(model.config, 7, seen=seen) - cost.head_flops(
        model.config.decoder
    )


@pytest.mark.parametrize("frames", [1, 4, 7])
def test_videos_cost_what_the_counter_counts(frames: int) -> None:
    aggregator = AggregatorConfig(
        latents=5, depth=2, heads=2, head_width=6, hidden=14, merge=3, frames=3
    )
    model = toy_crossed(video=VideoConfig(aggregator=aggregator, every=2))
    video, tokens = model.config.video, torch.zeros(1, 7, dtype=torch.long)
    clips = Clips(torch.tensor([[[0, 1]] * 7]), torch.tensor([frames]), pixels(frames))
    cache = model.cache(1, 7)
    seen = cost.vectors_of_clip(video, frames)
    spans = torch.zeros(1, 7, 2, dtype=torch.long)
    counts = counted(lambda: model(tokens, vision=Vision(spans, clips=clips), cache=cache))
    text = cost.decoder_flops(model.config.decoder, 7) + cost.cross_flops(model.config, 7, seen, 1)
    assert counts == cost.clip_flops(model.config, video, frames) + text
    remembered = [part for pair in cache.clips.pairs for part in pair]
    assert held(remembered) == cost.picture_bytes(model.config, seen, size=4, crosses=1)


# ---- memory ------------------------------------------------------------------------------------


def held(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("model", [toy_decoder(), toy_decoder(kv_heads=4), toy_crossed()])
def test_a_conversation_takes_the_bytes_of_its_cache(model: Decoder | Crossed | Prefix) -> None:
    config = model.config if isinstance(model, Decoder) else model.decoder.config
    assert held(model.cache(2, 50).store) == 2 * 50 * cost.token_bytes(config, size=4)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (1, 3)])
def test_a_picture_takes_the_bytes_of_its_keys_and_values(grid: tuple[int, int]) -> None:
    model = toy_crossed(encoder=TILED)
    cache = model.cache(1, 8)
    tiles = grid[0] * grid[1]
    vision = Vision(torch.tensor([[[0, 1]] * 3]), pixels(tiles), torch.tensor([grid]))
    model(torch.zeros(1, 3, dtype=torch.long), vision=vision, cache=cache)
    vectors = cost.vectors_of_picture(model.config, tiles)
    remembered = [part for pair in cache.pictures.pairs for part in pair]
    assert held(remembered) == cost.picture_bytes(model.config, vectors, size=4)


# ---- published figures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vectors", "megabytes"),
    [
        ("llama-3.2-11b-vision", 4100, 134),
        ("llama-3.2-11b-vision-instruct", 6404, 210),
        ("llama-3.2-90b-vision-instruct", 6404, 525),
        ("llama-3.1-405b-vision", 2308, 293),  # "2,308 tokens" (Llama 3 herd of models, 7.3)
        ("llava-1.5-7b-hf", 576, 0),
    ],
)
def test_pictures_of_known_models(name: str, vectors: int, megabytes: int) -> None:
    config: Any = zoo(name)
    tiles = getattr(config.encoder, "tiles", 1)
    assert cost.vectors_of_picture(config, tiles) == vectors
    assert round(cost.picture_bytes(config, vectors) / 1e6) == megabytes


def test_flops_of_a_token_are_twice_the_parameters() -> None:
    """Kaplan et al. 2020, section 2.1: 2 N a token, N without the embedding table, at no context."""
    for name in ("llama-3.1-8b", "llama-3.2-3b", "smollm2-135m"):
        config: Any = zoo(name)
        with torch.device("meta"):
            model = Decoder(config)
        matrices = sum(
            layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Linear)
        )
        head = config.vocab * config.width * config.tied
        own = 4 * config.depth * config.heads * config.head_width  # a token sees itself
        assert cost.text_flops(config, 1) == 2 * (matrices + head) + own
