"""From names of parts to a composed model and the processor that feeds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import LowRankTable
from chiasm.checkpoint.composed import part_home
from chiasm.checkpoint.parts import Part, load_part
from chiasm.checkpoint.weights import Provenance
from chiasm.inputs.chat_format import ChatFormat
from chiasm.inputs.image import CLIP_MEAN, Transform
from chiasm.inputs.image import FILE as PICTURES
from chiasm.inputs.processor import Processor
from chiasm.inputs.tiles import AnyTransform, TileTransform, load_transform
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.inputs.video import FrameRule
from chiasm.models import (
    AggregatorConfig,
    Crossed,
    CrossedConfig,
    Decoder,
    DecoderConfig,
    Prefix,
    PrefixConfig,
    ProjectorConfig,
    ResamplerConfig,
    ViTConfig,
    compose,
    fusion_schedule,
)
from chiasm.models.eyes import Eyes, EyesConfig
from chiasm.models.eyes import eyes as eyes_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.video import VideoConfig
from chiasm.models.zoo import zoo
from chiasm.nn import add_lora, lora_state
from chiasm.recipes.settings import CrossedShape, ModelSettings, PrefixShape

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
    """Load both parts in `dtype`, or draw them where `settings.new` says so; join them by new parts and
    adapters in fp32 drawn from `seed`."""
    home = part_home(settings.words or settings.decoder, say)
    looking = None if "encoder" in settings.new else part_home(settings.encoder, say)
    decoder, words = _part(settings, "decoder", dtype, seed, say)
    encoder, eyes = _part(settings, "encoder", dtype, seed, say)
    assert isinstance(decoder, Decoder) and not isinstance(encoder, Decoder)
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
    transform = transform_of(settings, looking)
    processor = make_processor(home, config, transform, settings.system, settings.frames)
    _refuse_strange_words(processor.tokenizer, config)
    return Assembled(model.eval(), processor, {"decoder": words, "encoder": eyes})


def _refuse_strange_words(tokenizer: Tokenizer, config: CrossedConfig | PrefixConfig) -> None:
    if tokenizer.words > config.decoder.vocab + config.extra_tokens:
        raise UserError(
            f"The tokenizer has {tokenizer.words:,} tokens, but the language model only "
            f"{config.decoder.vocab:,}; set `model.words` to a model with its vocabulary."
        )


def _part(
    settings: ModelSettings, part: Part, dtype: torch.dtype, seed: int, say: Say
) -> tuple[Decoder | Eyes, Provenance]:
    """Load a part, or build a known model of the zoo with weights drawn from `seed`."""
    name = getattr(settings, part)
    if part not in settings.new:
        return load_part(part_home(name, say), part, dtype)
    config = zoo(name)
    wanted = DecoderConfig if part == "decoder" else (ViTConfig, TiledViTConfig)
    if not isinstance(config, wanted):
        raise UserError(f"`model.{part}` is {name}, which is no {part} that can be built anew.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = Decoder(config) if isinstance(config, DecoderConfig) else eyes_of(config)
    return built.to(dtype), Provenance("new")


def shape_config(
    settings: ModelSettings, decoder: DecoderConfig, encoder: EyesConfig
) -> CrossedConfig | PrefixConfig:
    """The model's configuration that the settings and the parts' sizes give."""
    shape = settings.shape
    if settings.image_size % encoder.patch and settings.image_size != encoder.image_size:
        raise UserError(
            f"`model.image_size` is {settings.image_size}, but must be a multiple of the encoder's "
            f"patch of {encoder.patch} pixels, or its own size of {encoder.image_size}."
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
        return CrossedConfig(
            decoder=decoder,
            encoder=encoder,
            projector=_projector(shape, encoder),
            crosses=shape.crosses,
            cross=shape.cross,
            attend=shape.attend,
            video=_video(shape),
        )
    return PrefixConfig(decoder=decoder, encoder=encoder, projector=_projector(shape, encoder))


def _projector(shape: CrossedShape | PrefixShape, encoder: EyesConfig) -> ProjectorConfig:
    """One matrix before crosses, two before the text; a resampler where a number of vectors is set."""
    text = isinstance(shape, PrefixShape)
    # A resampler reads CLS as it reads patches; in the text it would stand for no place.
    settings: dict[str, Any] = {"taps": shape.taps, "cls": not text or shape.latents is not None}
    if shape.latents is not None:
        heads = max(1, encoder.width * len(shape.taps) // 64)
        resampler = ResamplerConfig(latents=shape.latents, heads=min(8, heads))
        return ProjectorConfig(**settings, kind="resampler", resampler=resampler)
    if isinstance(shape, PrefixShape):
        return ProjectorConfig(**settings, kind="mlp", squares=shape.squares)
    return ProjectorConfig(**settings)


def _video(shape: CrossedShape) -> VideoConfig | None:
    video = shape.video
    if not video.every:
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


def transform_of(settings: ModelSettings, eyes: Path | None = None) -> AnyTransform:
    """What the settings make of a picture, one square or tiles, in the brightness that `eyes` know."""
    known = load_transform(eyes) if eyes and (eyes / PICTURES).is_file() else Transform()
    looks: dict[str, Any] = {"mean": known.mean, "std": known.std, "size": settings.image_size}
    if settings.tiles == 1:
        if known.mean != CLIP_MEAN:  # borders are the grey that becomes zero
            looks["background"] = tuple(round(255 * level) for level in known.mean)
        return Transform(**looks, fit=settings.fit)
    if settings.fit != "pad":
        raise UserError(
            f'`model.fit` is "{settings.fit}", but pictures of several tiles are always padded: '
            'leave it at "pad", or set `model.tiles` to 1.'
        )
    return TileTransform(**looks, most=settings.tiles)


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
