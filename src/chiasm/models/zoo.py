"""Sizes of known models: a row of numbers for each, no weights.

Names are the last part of the hub's, in lower case. A row says what the published weights are, so that
they fit. Four rows have names of ours and no weights that anyone can load: what Meta keeps to itself, as
its paper describes it (`llama-3.1-405b-vision`, `llama-3.1-8b-video`, `llama-3.1-70b-video`), and a
Flamingo over Llama (`llama-7b-flamingo`; DeepMind's stands over Chinchilla).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from chiasm.base.errors import UserError, did_you_mean
from chiasm.models.crossed import CrossedConfig
from chiasm.models.decoder import DecoderConfig
from chiasm.models.perceiver import ResamplerConfig
from chiasm.models.prefix import PrefixConfig
from chiasm.models.projector import ProjectorConfig
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.video import VideoConfig
from chiasm.models.vit import ViTConfig
from chiasm.nn import RopeScaling

ZooConfig: TypeAlias = DecoderConfig | ViTConfig | TiledViTConfig | CrossedConfig | PrefixConfig


def zoo(name: str) -> ZooConfig:
    """Return the sizes of a known model; UserError for an unknown name, with the nearest known one."""
    if name not in NAMES:
        raise UserError(
            f'There is no model "{name}" among the known sizes.{did_you_mean(name, NAMES)} '
            "They are listed in docs/zoo.md."
        )
    return _ROWS[name]


# ---- language models ---------------------------------------------------------------------------


def _llama(width: int, depth: int, heads: int, hidden: int, **more: Any) -> DecoderConfig:
    """Llama 3: 8 key heads, a vocabulary of 128,256 (Llama 3 herd of models, table 3)."""
    sizes: dict[str, Any] = {"vocab": 128_256, "kv_heads": 8, "head_width": width // heads}
    sizes |= {"context": 8192, "rope_theta": 500_000.0, "tied": False}
    own = {"width": width, "depth": depth, "heads": heads, "hidden": hidden}
    return DecoderConfig(**(sizes | own | more))


def _long(factor: float) -> dict[str, Any]:
    """128k tokens of context by stretched rotary frequencies."""
    scaling = RopeScaling(factor=factor, low=1.0, high=4.0, original=8192)
    return {"context": 131_072, "rope_scaling": scaling}


def _smollm2(width: int, depth: int, heads: int, kv_heads: int, hidden: int) -> DecoderConfig:
    return DecoderConfig(
        vocab=49_152,
        width=width,
        depth=depth,
        heads=heads,
        kv_heads=kv_heads,
        head_width=64,
        hidden=hidden,
        context=8192,
        rope_theta=130_000.0 if width == 2048 else 100_000.0,
    )


def _llama_1(width: int, depth: int, heads: int, hidden: int, **more: Any) -> DecoderConfig:
    """Llama 1 and 2; where LLaVA-1.5 carries them, the table is padded to 32,064 rows."""
    sizes: dict[str, Any] = {"vocab": 32_064, "kv_heads": heads, "head_width": width // heads}
    sizes |= {"context": 4096, "tied": False}
    own = {"width": width, "depth": depth, "heads": heads, "hidden": hidden}
    return DecoderConfig(**(sizes | own | more))


_B8 = (4096, 32, 32, 14_336)
_B70 = (8192, 80, 64, 28_672)
_B405 = (16_384, 126, 128, 53_248)
_LANGUAGE = {
    "meta-llama-3-8b": _llama(*_B8),
    "meta-llama-3-70b": _llama(*_B70),
    "llama-3.1-8b": _llama(*_B8, **_long(8.0)),
    "llama-3.1-70b": _llama(*_B70, **_long(8.0)),
    "llama-3.1-405b": _llama(*_B405, **_long(8.0)),
    "llama-3.2-1b": _llama(2048, 16, 32, 8192, tied=True, **_long(32.0)),
    "llama-3.2-3b": _llama(3072, 28, 24, 8192, tied=True, **_long(32.0)),
    "smollm2-135m": _smollm2(576, 30, 9, 3, 1536),
    "smollm2-360m": _smollm2(960, 32, 15, 5, 2560),
    "smollm2-1.7b": _smollm2(2048, 24, 32, 32, 8192),
}

# ---- eyes --------------------------------------------------------------------------------------

_S = {"width": 384, "depth": 12, "heads": 6, "hidden": 1536}
_B = {"width": 768, "depth": 12, "heads": 12, "hidden": 3072}
_L = {"width": 1024, "depth": 24, "heads": 16, "hidden": 4096}
_H = {"width": 1280, "depth": 32, "heads": 16, "hidden": 5120}
_SO400M = {"width": 1152, "depth": 27, "heads": 16, "hidden": 4304}


def _clip(sizes: Mapping[str, Any], patch: int, image_size: int = 224, **more: Any) -> ViTConfig:
    return ViTConfig(**sizes, patch=patch, image_size=image_size, **more)


def _vit(sizes: Mapping[str, Any], patch: int) -> ViTConfig:
    """Dosovitskiy et al. 2020, table 1; the small one is Touvron et al.'s of the same year."""
    shape: dict[str, Any] = {"activation": "gelu", "norm_eps": 1e-12, "pre_norm": False}
    return ViTConfig(**sizes, patch=patch, image_size=224, patch_bias=True, **shape)


def _siglip(sizes: Mapping[str, Any], patch: int, image_size: int) -> ViTConfig:
    shape: dict[str, Any] = {"activation": "gelu_tanh", "norm_eps": 1e-6, "patch_bias": True}
    return ViTConfig(
        **sizes, patch=patch, image_size=image_size, cls=False, pre_norm=False, **shape
    )


_EYES = {
    "clip-vit-base-patch32": _clip(_B, 32),
    "clip-vit-base-patch16": _clip(_B, 16),
    "clip-vit-large-patch14": _clip(_L, 14),
    "clip-vit-large-patch14-336": _clip(_L, 14, 336),
    "clip-vit-h-14-laion2b-s32b-b79k": _clip(_H, 14, activation="gelu"),
    "vit-small-patch16-224": _vit(_S, 16),
    "vit-base-patch16-224": _vit(_B, 16),
    "vit-large-patch16-224": _vit(_L, 16),
    "vit-huge-patch14-224-in21k": _vit(_H, 14),
    "siglip-base-patch16-224": _siglip(_B, 16, 224),
    "siglip-so400m-patch14-384": _siglip(_SO400M, 14, 384),
}

# ---- language models with eyes -----------------------------------------------------------------


def _llama_vision(decoder: str, image_size: int, crosses: int, **more: Any) -> CrossedConfig:
    """Llama 3.2 Vision (llama-models, sku_list): ViT-H/14 over four tiles, six layers of it read."""
    tables = more.pop("tables", "shapes")  # as the hub's weights have them
    taps = ("final", *(f"block.{i}" for i in (3, 7, 15, 23, 30)))
    return CrossedConfig(
        decoder=_LANGUAGE[decoder],
        encoder=TiledViTConfig(image_size=image_size, tables=tables),
        projector=ProjectorConfig(taps=taps, norm=False),
        crosses=crosses,
        **more,
    )


def _llama_video(decoder: str, crosses: int) -> CrossedConfig:
    """Llama 3 with eyes for pictures and videos: chunks of 448 pixels (Llama 3 herd of models, 7.4)."""
    return _llama_vision(decoder, 448, crosses, video=VideoConfig(), tables="grid")


def _flamingo(decoder: DecoderConfig) -> CrossedConfig:
    """A Flamingo in open_flamingo's numbers: CLIP-L, 64 latents, a cross before every fourth block.

    There crosses read vectors as wide as the eyes; here the projector brings them to the decoder's.
    """
    resampled: dict[str, Any] = {"kind": "resampler", "resampler": ResamplerConfig()}
    return CrossedConfig(
        decoder=decoder,
        encoder=_EYES["clip-vit-large-patch14"],
        projector=ProjectorConfig(**resampled, norm=False, cls=False),
        crosses=8,
        cross="flamingo",
        attend="only_last",
        extra_tokens=2,  # a picture's place, and the end of what belongs to it
    )


def _llava(decoder: DecoderConfig) -> PrefixConfig:
    """LLaVA-1.5 (Liu et al. 2023b): the last layer but one of CLIP-L at 336 pixels, without CLS."""
    eyes = _EYES["clip-vit-large-patch14-336"]
    return PrefixConfig(
        decoder=decoder,
        encoder=eyes,
        projector=ProjectorConfig(
            taps=(f"block.{eyes.depth - 1}",), kind="mlp", norm=False, cls=False
        ),
        extra_tokens=0,
        place_token=32_000,
    )


_SEEING: dict[str, CrossedConfig | PrefixConfig] = {
    "llama-3.2-11b-vision": _llama_vision("llama-3.1-8b", 448, 8),
    "llama-3.2-11b-vision-instruct": _llama_vision("llama-3.1-8b", 560, 8),
    "llama-3.2-90b-vision": _llama_vision("llama-3.1-70b", 560, 20),
    "llama-3.2-90b-vision-instruct": _llama_vision("llama-3.1-70b", 560, 20),
    # 126 blocks hold 31 whole fours. Meta's rule counts from the last block, finds room for one more
    # (before block 1), and would make the adapter larger than the paper's pipeline of 4 + 1 layers.
    "llama-3.1-405b-vision": _llama_vision(
        "llama-3.1-405b", 336, 31, before=tuple(range(3, 126, 4)), tables="grid"
    ),
    "llama-3.1-8b-video": _llama_video("llama-3.1-8b", 8),
    "llama-3.1-70b-video": _llama_video("llama-3.1-70b", 20),
    "llava-1.5-7b-hf": _llava(_llama_1(4096, 32, 32, 11_008)),
    "llava-1.5-13b-hf": _llava(_llama_1(5120, 40, 40, 13_824)),
    "llama-7b-flamingo": _flamingo(
        _llama_1(4096, 32, 32, 11_008, vocab=32_000, context=2048, norm_eps=1e-6)
    ),
}


def _rows() -> Iterator[tuple[str, ZooConfig]]:
    """All rows; language models were published twice, as they are and taught to follow instructions."""
    for name, words in _LANGUAGE.items():
        yield from ((name, words), (f"{name}-instruct", words))
    yield from _EYES.items()
    yield from _SEEING.items()


_ROWS: Mapping[str, ZooConfig] = MappingProxyType(dict(_rows()))
NAMES = tuple(_ROWS)
"""Every known model, language models first, then eyes, then language models with eyes."""
