"""What a model computes and what it remembers, worked out from its settings: nothing is built or run.

    pixels ─► eyes ─► projector ─┬─► keys and values of the crosses      once per picture
                                 └─► places in the text (prefix)
    tokens ─► blocks, crosses ─► head                                    for every token

FLOPs are two for each multiplication of a matrix product with its addition, of the forward pass alone.
Norms, activations, softmax and rotations are left out, as torch.utils.flop_counter leaves them out.
Attention counts every query with every key that its product is over, those that the causal rule hides
included; a kernel that skips them does about half as much over a long text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chiasm.models.crossed import FLAMINGO, CrossedConfig
from chiasm.models.decoder import DecoderConfig
from chiasm.models.eyes import EyesConfig
from chiasm.models.perceiver import ResamplerConfig
from chiasm.models.prefix import PrefixConfig
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.video import VideoConfig
from chiasm.models.vit import ViTConfig

Seeing: TypeAlias = CrossedConfig | PrefixConfig


def decoder_of(config: DecoderConfig | EyesConfig | Seeing) -> DecoderConfig | None:
    """Return the language model of a model, or the model if it is one; None for eyes alone."""
    if isinstance(config, CrossedConfig | PrefixConfig):
        return config.decoder
    return config if isinstance(config, DecoderConfig) else None


def most_tiles(config: EyesConfig) -> int:
    """Return how many tiles a picture may have that eyes see as one."""
    return config.tiles if isinstance(config, TiledViTConfig) else 1


# ---- text --------------------------------------------------------------------------------------


def decoder_flops(config: DecoderConfig, tokens: int, before: int = 0) -> int:
    """FLOPs of the blocks for `tokens` new tokens that follow `before` remembered ones.

    For every token 2 (q + k + v + o + gate + up + down), and 4 · heads · head_width for every key.
    """
    c = config
    attention = c.width * c.head_width * (2 * c.heads + 2 * c.kv_heads)
    matrices = attention + 3 * c.width * c.hidden
    pairs = tokens * (before + tokens)
    return c.depth * (2 * tokens * matrices + 4 * c.heads * c.head_width * pairs)


def head_flops(config: DecoderConfig, places: int = 1) -> int:
    """FLOPs of the logits at `places` places; an answer needs one place for each of its tokens."""
    return 2 * places * config.width * config.vocab


@dataclass(frozen=True)
class Cross:
    """Sizes of one cross."""

    heads: int
    kv_heads: int
    head_width: int
    thinking: int
    """Weights of its feed-forward network."""


def cross_of(config: CrossedConfig) -> Cross:
    """Return the sizes of a cross: the decoder's (Llama 3.2), or Flamingo's own."""
    c = config.decoder
    if config.cross == "flamingo":
        heads, head_width = FLAMINGO
        return Cross(heads, heads, head_width, 2 * c.width * 4 * c.width)
    return Cross(c.heads, c.kv_heads, c.head_width, 3 * c.width * c.hidden)


def cross_flops(config: CrossedConfig, tokens: int, vectors: int, crosses: int) -> int:
    """FLOPs of `crosses` crosses for `tokens` tokens that look at `vectors` vectors."""
    c = cross_of(config)
    matrices = 2 * config.decoder.width * c.heads * c.head_width + c.thinking
    pairs = tokens * vectors
    return crosses * (2 * tokens * matrices + 4 * c.heads * c.head_width * pairs)


def text_flops(config: DecoderConfig | Seeing, tokens: int, before: int = 0, seen: int = 0) -> int:
    """FLOPs of `tokens` new tokens after `before` remembered ones, and of the logits of the last.

    seen  vectors of pictures that all the new tokens look at, where crosses do the looking
    """
    decoder = config if isinstance(config, DecoderConfig) else config.decoder
    count = decoder_flops(decoder, tokens, before) + head_flops(decoder)
    if isinstance(config, CrossedConfig) and seen:
        count += cross_flops(config, tokens, seen, config.crosses)
    return count


def token_bytes(config: DecoderConfig, size: int = 2) -> int:
    """Memory of one token in a conversation: keys and values in all blocks, numbers of `size` bytes."""
    return config.depth * 2 * config.kv_heads * config.head_width * size


# ---- pictures ----------------------------------------------------------------------------------


def vectors_of_picture(config: Seeing, tiles: int = 1, image_size: int | None = None) -> int:
    """Vectors that the language model gets of a picture of `tiles` tiles."""
    encoder = config.encoder
    return tiles * config.projector.places(encoder.places(image_size), encoder.lead)


def eyes_flops(
    config: EyesConfig, taps: Sequence[str], tiles: int = 1, image_size: int | None = None
) -> int:
    """FLOPs of the eyes for one picture; blocks above the highest tap do not run.

    Counts what our eyes compute. Where tiles see each other that is less than Meta's code does: one
    padding tile and one padding vector of each tile stand for all (nn/tiles.py).
    """
    c, grid = config, ((image_size or config.image_size) // config.patch) ** 2
    depth = c.depth if {"last", "final"} & {*taps} else _highest(taps)
    patches = 2 * tiles * grid * c.width * 3 * c.patch**2
    if isinstance(c, ViTConfig):
        length = grid + c.lead
        return patches + depth * tiles * _layer(c, length, length * length)
    depth += c.gated if "final" in taps else 0
    length, pairs = tile_row(c, tiles, grid + c.lead)
    return patches + depth * _layer(c, length, pairs)


def _highest(taps: Sequence[str]) -> int:
    return max(int(tap.partition(".")[2]) for tap in taps)


def tile_row(config: TiledViTConfig, tiles: int, vectors: int) -> tuple[int, int]:
    """Return how long the row is that the blocks of tiled eyes see, and how many pairs attend.

    A tile is its vectors and one of padding; fewer tiles than the most bring one padding tile. Real
    vectors see the whole row, padding sees the real ones.
    """
    kinds = tiles + (tiles < config.tiles)
    length, real = kinds * (vectors + 1), tiles * vectors
    return length, real * length + (length - real) * real


def _layer(config: EyesConfig, length: int, pairs: int) -> int:
    """FLOPs of an encoder's block: q, k, v, o, up and down for each vector, and each attending pair."""
    c = config
    return 2 * length * (4 * c.width**2 + 2 * c.width * c.hidden) + 4 * c.width * pairs


def projector_flops(config: Seeing, tiles: int = 1, image_size: int | None = None) -> int:
    """FLOPs of the projector for one picture."""
    projector, out, encoder = config.projector, config.decoder.width, config.encoder
    entering = encoder.width * len(projector.taps) * projector.squares**2
    matrices = entering * out + (out * out if projector.kind == "mlp" else 0)
    mapped = 2 * vectors_of_picture(config, tiles, image_size) * matrices
    if projector.resampler is None:
        return mapped
    plain = projector.model_copy(update={"resampler": None, "kind": "linear"})
    encoded = plain.places(encoder.places(image_size), encoder.lead)
    return mapped + tiles * resampler_flops(projector.resampler, entering, encoded)


def resampler_flops(config: ResamplerConfig, width: int, vectors: int) -> int:
    """FLOPs of a resampler at `width` that reads `vectors` vectors at once.

    In each block latents ask and answer, the vectors and the latents are asked, and latents think.
    """
    c, inner = config, config.heads * config.head_width
    hidden = 4 * width if c.hidden is None else c.hidden
    asked = c.latents + vectors
    matrices = width * inner * (2 * c.latents + 2 * asked) + 2 * width * hidden * c.latents
    return c.depth * (2 * matrices + 4 * inner * c.latents * asked)


def memory_flops(config: Seeing, vectors: int, crosses: int | None = None) -> int:
    """FLOPs of the keys and values of `vectors` vectors in the picture's crosses, or in `crosses`.

    None in a model without crosses.
    """
    if isinstance(config, PrefixConfig):
        return 0
    c = cross_of(config)
    count = config.crosses if crosses is None else crosses
    return count * 4 * vectors * config.decoder.width * c.kv_heads * c.head_width


def picture_bytes(config: Seeing, vectors: int, size: int = 2, crosses: int | None = None) -> int:
    """Memory of a picture in a conversation, beside that of the tokens that it takes in the text.

    Keys and values in all the pictures' crosses, or in `crosses`, numbers of `size` bytes; none in a
    model without crosses. The key heads are kept as they are: Meta's code keeps them copied for every
    query head (4 times as much for Llama 3.2 11B, 8 times for 90B).
    """
    if isinstance(config, PrefixConfig):
        return 0
    c = cross_of(config)
    count = config.crosses if crosses is None else crosses
    return count * 2 * c.kv_heads * c.head_width * vectors * size


# ---- videos ------------------------------------------------------------------------------------


def vectors_of_clip(video: VideoConfig, frames: int) -> int:
    """Vectors that the video crosses get of a clip: effective frames times latents."""
    return -(-frames // video.aggregator.merge) * video.aggregator.latents


def clip_flops(
    config: CrossedConfig, video: VideoConfig, frames: int, image_size: int | None = None
) -> int:
    """FLOPs of seeing a clip, once: its frames of one tile each, their merging, keys and values."""
    each = eyes_flops(config.encoder, config.projector.taps, 1, image_size)
    each += projector_flops(config, 1, image_size)
    vectors, c = vectors_of_picture(config, 1, image_size), video.aggregator
    groups = [min(c.merge, frames - start) for start in range(0, frames, c.merge)]
    merging = sum(resampler_flops(c, config.decoder.width, vectors * group) for group in groups)
    seen = vectors_of_clip(video, frames)
    return frames * each + merging + memory_flops(config, seen, video.count(config.crosses))
