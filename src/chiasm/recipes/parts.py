"""From names of parts to a composed model and the processor that feeds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import LowRankTable
from chiasm.checkpoint.composed import part_home
from chiasm.checkpoint.folder import load_decoder, load_vit
from chiasm.checkpoint.weights import Provenance
from chiasm.inputs.chat_format import ChatFormat
from chiasm.inputs.image import Transform
from chiasm.inputs.processor import Processor
from chiasm.inputs.tiles import AnyTransform, TileTransform
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.inputs.video import FrameRule
from chiasm.models import (
    AggregatorConfig,
    Crossed,
    CrossedConfig,
    DecoderConfig,
    Prefix,
    PrefixConfig,
    ProjectorConfig,
    compose,
    fusion_schedule,
)
from chiasm.models.eyes import EyesConfig
from chiasm.models.video import VideoConfig
from chiasm.nn import add_lora, lora_state
from chiasm.recipes.settings import CrossedShape, ModelSettings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Assembled:
    """A composed model, what feeds it, and where its tensors came from."""

    model: Crossed | Prefix
    processor: Processor
    provenance: dict[str, Provenance]
    """By part: "decoder", "encoder"; every other tensor is new."""


def assemble(
    settings: ModelSettings,
    dtype: torch.dtype,
    seed: int,
    say: Say,
    lora: LowRankTable = (),
) -> Assembled:
    """Load both parts in `dtype`, join them by new parts and adapters in fp32 drawn from `seed`."""
    home = part_home(settings.decoder, say)
    decoder, words = load_decoder(home, dtype)
    encoder, eyes = load_vit(part_home(settings.encoder, say), dtype)
    config = shape_config(settings, decoder.config, encoder.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = compose(config, decoder, encoder)
        adapted = add_lora(model, lora)
    if adapted:
        size = sum(value.numel() for value in lora_state(model).values())
        say(f"{len(adapted)} linear layers have adapters, {size / 1e6:.2f} M parameters in all.")
    with torch.no_grad():  # a new token begins as the average of the known ones
        model.extra.weight.copy_(decoder.embed.weight.float().mean(0))
    transform = transform_of(settings)
    processor = make_processor(home, config, transform, settings.system, settings.frames)
    return Assembled(model.eval(), processor, {"decoder": words, "encoder": eyes})


def shape_config(
    settings: ModelSettings, decoder: DecoderConfig, encoder: EyesConfig
) -> CrossedConfig | PrefixConfig:
    """The model's configuration that the settings and the parts' sizes give."""
    shape = settings.shape
    if settings.image_size % encoder.patch:
        raise UserError(
            f"`model.image_size` is {settings.image_size}, but must be a multiple of the encoder's "
            f"patch of {encoder.patch} pixels."
        )
    known = [*(f"block.{i}" for i in range(encoder.depth)), "last", "final"]
    for tap in shape.taps:
        if tap not in known:
            raise UserError(
                f'`model.shape.taps` names "{tap}", but the encoder has block.0 to '
                f"block.{encoder.depth - 1}, last and final.{did_you_mean(tap, known)}"
            )
    if isinstance(shape, CrossedShape):
        try:
            fusion_schedule(decoder.depth, shape.crosses)
        except ValueError as error:
            raise UserError(f"`model.shape.crosses` is {shape.crosses}, but {error}.") from None
        projector = ProjectorConfig(taps=shape.taps)
        return CrossedConfig(
            decoder=decoder,
            encoder=encoder,
            projector=projector,
            crosses=shape.crosses,
            video=_video(shape),
        )
    projector = ProjectorConfig(taps=shape.taps, kind="mlp", cls=False, squares=shape.squares)
    return PrefixConfig(decoder=decoder, encoder=encoder, projector=projector)


def _video(shape: CrossedShape) -> VideoConfig | None:
    if (video := shape.video) is None:
        return None
    sizes = video.model_dump(exclude={"every"})
    merging = AggregatorConfig(**sizes, head_width=64, hidden=None, frames=video.merge)
    try:
        fusion_schedule(shape.crosses, max(1, shape.crosses // video.every))
    except ValueError as error:
        raise UserError(
            f"`model.shape.video.every` is {video.every}, but {shape.crosses} crosses do not fit it: {error}."
        ) from None
    return VideoConfig(aggregator=merging, every=video.every)


def transform_of(settings: ModelSettings) -> AnyTransform:
    """What the settings make of a picture: one square, or tiles."""
    if settings.tiles == 1:
        return Transform(size=settings.image_size, fit=settings.fit)
    if settings.fit != "pad":
        raise UserError(
            f'`model.fit` is "{settings.fit}", but pictures of several tiles are always padded: '
            'leave it at "pad", or set `model.tiles` to 1.'
        )
    return TileTransform(size=settings.image_size, most=settings.tiles)


def make_processor(
    home: Path,
    config: CrossedConfig | PrefixConfig,
    transform: AnyTransform,
    system: str | None,
    frames: FrameRule = FrameRule(),  # noqa: B008  it cannot change
) -> Processor:
    """The processor of a composed model: the words of the folder `home`, pictures by a transform.

    frames  which frames of a video are looked at, where the model has eyes for videos
    """
    return Processor(
        Tokenizer.load(home),
        ChatFormat.load(home),
        transform,
        image_token=config.image_token,
        places=partial(config.places, transform.size),
        default_system=system,
        attend=config.attend if isinstance(config, CrossedConfig) else "last",
        video=None if config.video_token is None else (config.video_token, frames),
    )
