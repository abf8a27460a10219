"""What a model costs before it runs: FLOPs of text and pictures, memory to learn and to speak.

settings ──► models/cost.py ───────► Text, Sight
   │ parameters, counted on the meta device
   └───────► models/footprint.py ──► Learning, Serving
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chiasm.models import CrossedConfig, DecoderConfig, PrefixConfig, compose
from chiasm.models.cost import (
    Seeing,
    clip_flops,
    decoder_of,
    eyes_flops,
    memory_flops,
    most_tiles,
    picture_bytes,
    projector_flops,
    text_flops,
    token_bytes,
    vectors_of_clip,
    vectors_of_picture,
)
from chiasm.models.decoder import Decoder
from chiasm.models.eyes import EyesConfig, eyes
from chiasm.models.footprint import Numbers, Step, Training, training_bytes, weight_bytes
from chiasm.models.zoo import ZooConfig

TOKENS = 2048
"""Length of a text where none is asked for and the model can hold as much."""
FRAMES = 64
"""Frames of the video whose cost is told (Llama 3 herd of models, 7.5)."""
KINDS = ("float32", "bfloat16", "int8", "int4")
"""What the weights of a model that speaks can be kept as."""


@dataclass(frozen=True)
class Question:
    """For what the costs are asked."""

    gpus: int = 1
    """Devices that learn together."""
    tokens: int | None = None
    """Tokens of a text; 2,048 or the model's context when None."""
    size: int = 2
    """Bytes of a number in what is computed."""
    image_size: int | None = None
    """Side of a tile in pixels; the encoder's own when None."""
    tiles: int | None = None
    """Most tiles of a picture; as many as the encoder sees as one when None."""


@dataclass(frozen=True)
class Text:
    """What text costs."""

    tokens: int
    """How many tokens stand there, or are given at once."""
    prefill_flops: int
    """FLOPs of reading so many, and of the first word of the answer."""
    prefill_seeing_flops: int | None
    """The same with a picture before them, the picture's own FLOPs included."""
    decode_flops: int
    """FLOPs of one word after so many."""
    decode_seeing_flops: int | None
    """The same with a picture before them."""


@dataclass(frozen=True)
class Sight:
    """What a picture costs."""

    size: int
    """Side of a tile in pixels; smaller pictures are fitted into it."""
    tiles: int
    """How many tiles the picture is cut into."""
    vectors: int
    """Vectors that the language model gets of a picture, or that eyes alone make of it."""
    places: int
    """Tokens that a picture takes in the text."""
    bytes: int
    """Memory that a picture takes during a conversation: keys and values."""
    cross_bytes: int
    """Of it, the crosses' keys and values."""
    encoder_flops: int
    projector_flops: int
    cross_flops: int
    """FLOPs of the crosses' keys and values."""

    @property
    def flops(self) -> int:
        """FLOPs of seeing the picture, once."""
        return self.encoder_flops + self.projector_flops + self.cross_flops


@dataclass(frozen=True)
class Watching:
    """What a video costs, its frames being of one tile each."""

    frames: int
    vectors: int
    """Vectors that the video crosses get of it."""
    bytes: int
    """Memory that it takes during a conversation: the video crosses' keys and values."""
    flops: int
    """FLOPs of seeing it, once."""


@dataclass(frozen=True)
class Learning:
    """Memory of one device while the model learns from text and a picture; videos are left out."""

    gpus: int
    tokens: int
    tiles: int
    """Of the one picture that stands beside the tokens."""
    table: str
    """Which parts learn: the name of a recipe, or in words."""
    kept: Training
    """Every activation is kept for the way back."""
    recomputed: Training
    """What enters each block is kept, and the block computed again."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        both = {"kept": self.kept.record(), "recomputed": self.recomputed.record()}
        return asdict(self) | both


@dataclass(frozen=True)
class Serving:
    """Memory of a model that speaks."""

    weights: Mapping[str, int]
    """Bytes by the type that weights are kept as."""
    tokens: int
    conversation: int
    """Keys and values of a conversation of so many tokens, without its pictures."""


class _Undrawn(TorchFunctionMode):
    """Draws no first weights: the meta device would load a compiler to find that there are none."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.randn:
            return torch.empty(*args, **kwargs)
        if func in (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        if func is Tensor.mul and isinstance(args[1], float):
            return args[0]
        return func(*args, **kwargs)


def built(config: ZooConfig) -> nn.Module:
    """Build a model on the meta device, where weights have sizes and no values."""
    with torch.device("meta"), _Undrawn():
        if isinstance(config, CrossedConfig | PrefixConfig):
            return compose(config)
        return Decoder(config) if isinstance(config, DecoderConfig) else eyes(config)


def text_of(config: ZooConfig, asked: Question) -> Text | None:
    """Return what text costs; None for eyes alone."""
    if not isinstance(config, DecoderConfig | CrossedConfig | PrefixConfig):
        return None
    count = tokens_of(config, asked)
    prefill, decode = text_flops(config, count), text_flops(config, 1, count)
    if isinstance(config, DecoderConfig):
        return Text(count, prefill, None, decode, None)
    seen = sights(config, asked)[-1]
    crossed = isinstance(config, CrossedConfig)
    # A picture in the text is as many tokens more; crosses look at its vectors from where they are.
    more, vectors = (0, seen.vectors) if crossed else (seen.places, 0)
    reading = text_flops(config, count + more, seen=vectors) + seen.flops
    speaking = text_flops(config, 1, count + more, seen=vectors)
    return Text(count, prefill, reading, decode, speaking)


def tokens_of(config: ZooConfig, asked: Question) -> int:
    """How many tokens of text are asked about; 0 for eyes alone."""
    text = decoder_of(config)
    if text is None:
        return 0
    return min(TOKENS, text.context) if asked.tokens is None else asked.tokens


def sights(config: ZooConfig, asked: Question) -> tuple[Sight, ...]:
    """Return what a picture costs by the number of its tiles, from one on; none without eyes."""
    if isinstance(config, DecoderConfig):
        return ()
    encoder = config.encoder if isinstance(config, CrossedConfig | PrefixConfig) else config
    most = most_tiles(encoder) if asked.tiles is None else asked.tiles
    return tuple(_sight(config, tiles, asked) for tiles in range(1, most + 1))


def _sight(config: EyesConfig | Seeing, tiles: int, asked: Question) -> Sight:
    if not isinstance(config, CrossedConfig | PrefixConfig):
        side = asked.image_size or config.image_size
        flops = eyes_flops(config, ("final",), tiles, side)
        return Sight(side, tiles, tiles * config.places(side), 0, 0, 0, flops, 0, 0)
    side = asked.image_size or config.encoder.image_size
    vectors = vectors_of_picture(config, tiles, side)
    places = 1 if isinstance(config, CrossedConfig) else vectors
    memory = picture_bytes(config, vectors, asked.size)
    return Sight(
        size=side,
        tiles=tiles,
        vectors=vectors,
        places=places,
        bytes=memory + places * token_bytes(config.decoder, asked.size),
        cross_bytes=memory,
        encoder_flops=eyes_flops(config.encoder, config.projector.taps, tiles, side),
        projector_flops=projector_flops(config, tiles, side),
        cross_flops=memory_flops(config, vectors),
    )


def watching(config: ZooConfig, asked: Question) -> Watching | None:
    """Return what a video of 64 frames costs; None for a model without eyes for videos."""
    video = config.video if isinstance(config, CrossedConfig) else None
    if not isinstance(config, CrossedConfig) or video is None:
        return None
    vectors, crosses = vectors_of_clip(video, FRAMES), video.count(config.crosses)
    return Watching(
        FRAMES,
        vectors,
        picture_bytes(config, vectors, asked.size, crosses),
        clip_flops(config, video, FRAMES, asked.image_size),
    )


def eyes_of(config: ZooConfig) -> EyesConfig | None:
    """Return the eyes of a model, or the model if it is eyes; None for a language model alone."""
    if isinstance(config, DecoderConfig):
        return None
    return config.encoder if isinstance(config, CrossedConfig | PrefixConfig) else config


def learning_of(
    config: ZooConfig, numbers: Numbers, parts: Set[str], table: str, asked: Question
) -> Learning:
    """Return the memory of one device; `parts` have parameters that learn."""
    tokens = tokens_of(config, asked)
    tiles = max((sight.tiles for sight in sights(config, asked)), default=0)
    kept, recomputed = (
        training_bytes(
            config,
            numbers,
            parts,
            Step(tokens, tiles, asked.image_size, asked.size, recompute),
            asked.gpus,
        )
        for recompute in (False, True)
    )
    return Learning(asked.gpus, tokens, tiles, table, kept, recomputed)


def serving_of(config: ZooConfig, numbers: Numbers, asked: Question) -> Serving:
    """Return the memory of a model that speaks, or of eyes that see."""
    text, tokens = decoder_of(config), tokens_of(config, asked)
    conversation = tokens * token_bytes(text, asked.size) if text else 0
    return Serving({kind: weight_bytes(numbers, kind) for kind in KINDS}, tokens, conversation)
