"""What a model or a recipe consists of, and what it will cost, before anything runs.

model folder ─┐                     ┌─► parameters per part, which of them learn
built-in name ├─► settings, names ──┼─► places and memory of a picture, memory of text
recipe ───────┘   (no weights)      └─► where each tensor comes from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from chiasm.base.device import pick_device, pick_dtype
from chiasm.checkpoint.composed import load_model, part_home
from chiasm.checkpoint.families.eyes import KINDS
from chiasm.checkpoint.folder import Opened, open_decoder, open_vit
from chiasm.checkpoint.weights import read_json
from chiasm.inputs.tiles import AnyTransform, load_transform
from chiasm.models import (
    CrossedConfig,
    Decoder,
    DecoderConfig,
    PrefixConfig,
    ViT,
    ViTConfig,
    compose,
)
from chiasm.nn import LowBitLinear, add_lora
from chiasm.recipes.loading import home_of
from chiasm.recipes.parts import Say, shape_config, transform_of
from chiasm.recipes.settings import Run
from chiasm.training.optim import assign


@dataclass(frozen=True)
class Portion:
    """One part of a model."""

    name: str
    parameters: int
    learns: int | None
    """Parameters that the recipe lets learn; None where no recipe is known."""
    source: str
    """Where its tensors come from; "new" where training has yet to make them."""


@dataclass(frozen=True)
class Sight:
    """What a picture costs at most: one that fills all its tiles."""

    size: int
    """Side of a tile, in pixels: of the square that pictures are fitted into, where there is one."""
    tiles: int
    """Most tiles of a picture."""
    vectors: int
    """Vectors that the language model gets of a picture."""
    places: int
    """Tokens that a picture takes in the text."""
    bytes: int
    """Memory that a picture takes during a conversation: keys and values."""


@dataclass(frozen=True)
class Report:
    """What `chiasm inspect` tells."""

    name: str
    kind: str
    """"crossed", "prefix", "decoder" or "vit"."""
    dtype: str
    """What it would be computed in on this machine."""
    portions: tuple[Portion, ...]
    context: int | None
    """Longest conversation in tokens."""
    bytes_per_1k_tokens: int | None
    """Memory of 1,000 tokens of text during a conversation: keys and values."""
    picture: Sight | None
    origins: Mapping[str, str] = field(default_factory=dict)
    """Our name of each tensor -> its source, and its file and name there."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "origins": dict(self.origins)}


def of_model(name: str, say: Say) -> Report:
    """Describe a run's model, a model folder, or a built-in part; errors as in `loading.load`."""
    home = home_of(name, say)
    kind = read_json(home / "config.json").get("model_type") if home.is_dir() else None
    if str(kind).startswith("chiasm_"):
        loaded = load_model(home, pick_dtype("auto", pick_device()), say=say)
        transform = load_transform(home)
        referred = loaded.config["parts"]  # their origins name a source already
        origins = {
            key: origin
            if key.partition(".")[0] in referred
            else f"{loaded.provenance.source}, {origin}"
            for key, origin in loaded.provenance.tensors.items()
        }
        return _composed(name, loaded.model, transform, origins, None)
    if kind in KINDS:
        eyes = open_vit(home)
        return _part(name, "vit", eyes, _built(ViT, eyes.config))
    words = open_decoder(home)
    return _part(name, "decoder", words, _built(Decoder, words.config))


def of_recipe(run: Run, say: Say) -> Report:
    """Describe what a recipe will train, without reading weights; the parts are fetched if need be."""
    words = open_decoder(part_home(run.model.decoder, say))
    eyes = open_vit(part_home(run.model.encoder, say))
    config = shape_config(run.model, words.config, eyes.config)
    with torch.device("meta"):
        model = compose(config)
        add_lora(model, run.lora)
    learning = {name for name, (_, rate) in assign(model, run.learn).items() if rate is not None}
    origins = {name: "new" for name in model.state_dict()}
    for part, opened in (("decoder", words), ("encoder", eyes)):
        tensors = opened.provenance.tensors.items()
        origins |= {f"{part}.{k}": f"{opened.provenance.source}, {v}" for k, v in tensors}
    return _composed(run.name, model, transform_of(run.model), origins, learning)


def _built(kind: Any, config: DecoderConfig | ViTConfig) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = kind(config)
    return model


def _part(
    name: str, kind: str, opened: Opened[DecoderConfig] | Opened[ViTConfig], model: nn.Module
) -> Report:
    config = opened.config
    text = config if isinstance(config, DecoderConfig) else None
    return Report(
        name,
        kind,
        _dtype(),
        (
            Portion(
                kind, sum(p.numel() for p in model.parameters()), None, opened.provenance.source
            ),
        ),
        text.context if text else None,
        1000 * text_bytes(text) if text else None,
        None,
        {key: f"{opened.provenance.source}, {v}" for key, v in opened.provenance.tensors.items()},
    )


def _composed(
    name: str,
    model: Any,
    transform: AnyTransform,
    origins: Mapping[str, str],
    learning: set[str] | None,
) -> Report:
    config = model.config
    counts: dict[str, list[int]] = {}
    for key, parameter in model.named_parameters():
        count = counts.setdefault(key.partition(".")[0], [0, 0])
        count[0] += parameter.numel()
        count[1] += parameter.numel() * (learning is not None and key in learning)
    for key, layer in model.named_modules():
        if isinstance(layer, LowBitLinear):  # integers are no parameters to torch
            counts[key.partition(".")[0]][0] += layer.in_features * layer.out_features
    portions = tuple(
        Portion(part, total, None if learning is None else learns, _source(part, origins))
        for part, (total, learns) in counts.items()
    )
    return Report(
        name,
        config.kind,
        _dtype(),
        portions,
        config.decoder.context,
        1000 * text_bytes(config.decoder),
        sight(config, transform.size, transform.most),
        origins,
    )


def _source(part: str, origins: Mapping[str, str]) -> str:
    """The sources of a part's tensors, without the names of their files."""
    found = (v.rpartition(", ")[0] or v for k, v in origins.items() if k.startswith(f"{part}."))
    return " and ".join(dict.fromkeys(found))


def sight(config: CrossedConfig | PrefixConfig, size: int, tiles: int = 1) -> Sight:
    """Return what a picture of so many tiles, `size` pixels wide, costs a model."""
    vectors = tiles * config.projector.places(config.encoder.places(size), config.encoder.lead)
    text = config.decoder
    places = config.places(size, tiles)
    memory = places * text_bytes(text)
    if isinstance(config, CrossedConfig):
        memory += config.crosses * 2 * text.kv_heads * text.head_width * vectors * _width()
    return Sight(size, tiles, vectors, places, memory)


def text_bytes(config: DecoderConfig) -> int:
    """Return the memory of one token's keys and values in all blocks, in bytes."""
    return config.depth * 2 * config.kv_heads * config.head_width * _width()


def _dtype() -> str:
    return str(pick_dtype("auto", pick_device())).removeprefix("torch.")


def _width() -> int:
    return pick_dtype("auto", pick_device()).itemsize
