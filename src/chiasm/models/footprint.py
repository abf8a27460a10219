"""How much memory a model takes while it learns and while it speaks, worked out from its settings.

learning   weights ─ gradients ─ optimizer     shared out over N devices (FSDP: Rajbhandari et al. 2020,
           │                                   section 5; Zhao et al. 2023)
           └ activations ─ logits              of each device's own tokens and pictures
speaking   weights ─ conversation ─ pictures

Activations are what autograd keeps for the way back, tensor for tensor as our blocks leave it there
(the idea of Korthikanti et al. 2022, section 4, whose blocks are others). What an operation takes and
gives back at once, and what an allocator loses, comes on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from torch import nn

from chiasm.base.layers import INT4
from chiasm.models.cost import Seeing, cross_of, decoder_of, tile_row, vectors_of_picture
from chiasm.models.crossed import CrossedConfig
from chiasm.models.decoder import DecoderConfig
from chiasm.models.eyes import EyesConfig
from chiasm.models.perceiver import ResamplerConfig
from chiasm.models.prefix import PrefixConfig
from chiasm.models.vit import ViTConfig
from chiasm.nn import LowBitLinear

MASTER, MOMENT = 4, 4
"""Bytes of a number in learning weights and gradients, and in each of an optimizer's memories."""


@dataclass(frozen=True)
class Numbers:
    """How many numbers a model holds, by what becomes of them."""

    frozen: int
    """Parameters that do not learn."""
    adamw: int
    """Parameters that AdamW moves; it keeps two numbers for each."""
    muon: int
    """Parameters that Muon moves; it keeps one number for each."""
    cast: int
    """Of those that learn, the ones in matrices, which a pass copies into its own type."""
    unit: int
    """Parameters of the largest unit that devices gather at once: a block, or a table."""
    matrices: int
    """Parameters in linear layers' matrices, learning or not: what can be quantised."""
    rows: int
    """Rows of those matrices."""

    @property
    def all(self) -> int:
        """All parameters."""
        return self.frozen + self.adamw + self.muon


def numbers_of(model: nn.Module, movers: Mapping[str, str]) -> Numbers:
    """Count a model's parameters; it may stand on the meta device.

    movers  name of each learning parameter -> what moves it, "adamw" or "muon"
    """
    count = dict.fromkeys(("frozen", "adamw", "muon"), 0)
    units: dict[str, int] = {}
    for name, size in sizes_of(model).items():
        count[movers.get(name, "frozen")] += size
        units[_unit(name)] = units.get(_unit(name), 0) + size
    layers = {f"{name}.weight": layer for name, layer in _linear(model)}
    sizes = {name: m.in_features * m.out_features for name, m in layers.items()}
    return Numbers(
        **count,
        cast=sum(size for name, size in sizes.items() if name in movers),
        unit=max(units.values()),
        matrices=sum(sizes.values()),
        rows=sum(layer.out_features for layer in layers.values()),
    )


def sizes_of(model: nn.Module) -> dict[str, int]:
    """Return how many numbers each parameter has; matrices of integers count, though they never learn."""
    found = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for name, layer in _linear(model):
        found[f"{name}.weight"] = layer.in_features * layer.out_features
    return found


def _linear(model: nn.Module) -> Iterator[tuple[str, nn.Linear | LowBitLinear]]:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | LowBitLinear):
            yield name, layer


def _unit(name: str) -> str:
    """The block that a parameter is in, or else the module: devices gather that much at once."""
    words = name.split(".")
    place = next((i for i, word in enumerate(words) if word.isdigit()), len(words) - 2)
    return ".".join(words[: place + 1])


@dataclass(frozen=True)
class Step:
    """What one device computes before it takes a step of learning."""

    tokens: int
    """Tokens of text."""
    tiles: int = 0
    """Tiles of its one picture; 0 for none."""
    image_size: int | None = None
    """Side of a tile in pixels; the encoder's own when None."""
    size: int = 2
    """Bytes of a number in activations and frozen weights."""
    recompute: bool = False
    """Keep only what enters each block, and compute the block again on the way back."""


@dataclass(frozen=True)
class Training:
    """Memory of one device while a model learns, in bytes."""

    weights: int
    """Learning ones in fp32, frozen ones as they are computed in."""
    gathered: int
    """Copies in the type of the pass: of every learning matrix on one device, of two units on many."""
    gradients: int
    optimizer: int
    activations: int
    logits: int
    """Log-probabilities of all words at every token, in fp32."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "total": self.total}


def training_bytes(
    config: DecoderConfig | EyesConfig | Seeing,
    numbers: Numbers,
    learning: Set[str],
    step: Step,
    gpus: int = 1,
) -> Training:
    """Return what one of `gpus` devices holds; `learning` as in `activation_bytes`.

    Per learning parameter 4 bytes of weight, 4 of gradient and 8 (AdamW) or 4 (Muon) of memory; all
    are shared out evenly. Many devices gather two units at a time, the one that is computed and the
    next, and the gradient of one before it is shared out.
    """
    learns = numbers.adamw + numbers.muon
    if gpus > 1:
        gathered = 2 * numbers.unit * step.size + numbers.unit * MASTER * (learns > 0)
    else:
        gathered = numbers.cast * step.size * (step.size != MASTER)
    text = decoder_of(config)
    return Training(
        weights=_share(numbers.frozen * step.size + learns * MASTER, gpus),
        gathered=gathered,
        gradients=_share(learns * MASTER, gpus),
        optimizer=_share((2 * numbers.adamw + numbers.muon) * MOMENT, gpus),
        activations=activation_bytes(config, learning, step),
        logits=step.tokens * text.vocab * 4 if text and learning else 0,
    )


def weight_bytes(numbers: Numbers, kind: str) -> int:
    """Memory of the weights of a model that speaks, as float32, bfloat16, int8 or int4.

    Only matrices of linear layers are quantised, the rest stays in bf16. int8 has a bf16 scale for each
    row; int4 has a bf16 scale and an int8 zero for every group of weights.
    """
    if kind in ("float32", "bfloat16"):
        return numbers.all * (4 if kind == "float32" else 2)
    rest = 2 * (numbers.all - numbers.matrices)
    if kind == "int8":
        return rest + numbers.matrices + 2 * numbers.rows
    if kind != "int4":
        raise ValueError(f"weights are float32, bfloat16, int8 or int4, not {kind}")
    return rest + numbers.matrices // 2 + 3 * (numbers.matrices // INT4.group)


def _share(count: int, gpus: int) -> int:
    return -(-count // gpus)


# ---- what autograd keeps -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Layers:
    """Blocks that are alike."""

    count: int
    full: int
    """Bytes that one of them keeps."""
    entering: int
    """Bytes of what enters one of them."""


_Kept: TypeAlias = tuple[list[_Layers], int]
"""Blocks, and bytes that are kept beside them."""


def activation_bytes(
    config: DecoderConfig | EyesConfig | Seeing, learning: Set[str], step: Step
) -> int:
    """Return what autograd keeps of a forward pass, logits left out.

    learning  the parts that have a learning parameter, by the first word of its name: decoder,
              encoder, projector, crosses, extra; a plain model has the one part decoder or encoder.
              A part that learns is counted as if all of it did.
    """
    layers, beside = _kept(config, learning, step)
    if not step.recompute:
        return beside + sum(each.count * each.full for each in layers)
    again = max((each.full for each in layers if each.count), default=0)
    return beside + again + sum(each.count * each.entering for each in layers)


def _kept(config: DecoderConfig | EyesConfig | Seeing, learning: Set[str], step: Step) -> _Kept:
    if isinstance(config, DecoderConfig):
        return _decoder(config, step.tokens, "decoder" in learning, config.depth, step.size)
    if not isinstance(config, CrossedConfig | PrefixConfig):
        tap = ("final",)
        return _eyes(config, tap, step) if "encoder" in learning else ([], 0)
    tokens, flowing, parts = step.tokens, config.decoder.depth, []
    vectors = vectors_of_picture(config, step.tiles, step.image_size)
    if isinstance(config, PrefixConfig):
        tokens += vectors
    elif not {"decoder", "extra"} & learning:
        flowing -= config.schedule[0]  # below the first cross nothing has a gradient
    if step.tiles and isinstance(config, CrossedConfig):
        parts.append(_crosses(config, tokens, vectors, step.size))
    if step.tiles and {"encoder", "projector"} & learning:
        parts.append(([], _projector(config, vectors, step)))
    if step.tiles and "encoder" in learning:
        parts.append(_eyes(config.encoder, config.projector.taps, step))
    if learning:
        parts.append(_decoder(config.decoder, tokens, "decoder" in learning, flowing, step.size))
    return [each for layers, _ in parts for each in layers], sum(beside for _, beside in parts)


def _rms(width: int, groups: int, learns: bool, size: int) -> int:
    """An RMSNorm: what enters, in fp32, and its scales; the normal and the outcome if weights learn."""
    return 4 * width + 4 * groups + 2 * size * width * learns


def _decoder(c: DecoderConfig, tokens: int, learns: bool, flowing: int, size: int) -> _Kept:
    query, key = c.heads * c.head_width, c.kv_heads * c.head_width
    attention = size * (2 * query + 2 * key) + 4 * c.heads  # q, k, v, the outcome, its log-sums
    hidden = (4 if learns else 3) * size * c.hidden
    block = 2 * _rms(c.width, 1, learns, size) + attention + hidden
    layers = _Layers(flowing, tokens * block, tokens * size * c.width)
    return [layers], tokens * _rms(c.width, 1, learns, size)


def _eyes(c: EyesConfig, taps: tuple[str, ...], step: Step) -> _Kept:
    """Eyes that learn; a LayerNorm keeps what enters and two numbers for each vector."""
    size, grid = step.size, ((step.image_size or c.image_size) // c.patch) ** 2
    depth = max((int(tap[6:]) for tap in taps if tap.startswith("block.")), default=0)
    depth = c.depth if {"last", "final"} & {*taps} else depth
    norm = size * c.width + 8
    attention = 4 * size * c.width + 4 * c.heads
    hidden = (3 if c.activation == "quick_gelu" else 2) * size * c.hidden
    block = 2 * (norm + size * c.width) + attention + hidden
    if isinstance(c, ViTConfig):
        length, extra = step.tiles * (grid + c.lead), 0
        norms = c.pre_norm + ("final" in taps)
    else:
        length, _ = tile_row(c, step.tiles, grid + c.lead)
        block += size * c.width  # real vectors and padding attend apart and are joined
        extra = c.gated if "final" in taps else 0
        norms = 1 + ("final" in taps)
    full, entering = length * block, length * size * c.width
    gated = length * (block + 2 * size * c.width)  # a gate keeps what it scales
    patches = step.tiles * grid * size * 3 * c.patch**2
    layers = [_Layers(depth, full, entering), _Layers(extra, gated, entering)]
    return layers, patches + norms * length * norm


def _projector(config: Seeing, vectors: int, step: Step) -> int:
    projector, size = config.projector, step.size
    merged = config.encoder.width * len(projector.taps)
    encoded = step.tiles * config.encoder.places(step.image_size)
    count = vectors * size * merged * projector.squares**2
    if projector.norm:
        count += encoded * (size * merged + 8 * len(projector.taps))
    if projector.kind == "mlp":
        count += 2 * vectors * size * config.decoder.width
    if projector.resampler is not None:
        lead = 0 if projector.cls else step.tiles * config.encoder.lead
        entering = (encoded - lead) // projector.squares**2
        width = merged * projector.squares**2
        count += _resampler(projector.resampler, width, vectors, entering, size)
    return count


def _resampler(c: ResamplerConfig, width: int, latents: int, vectors: int, size: int) -> int:
    """All its blocks, for so many latents and vectors of all tiles together."""
    inner, hidden = c.heads * c.head_width, 4 * width if c.hidden is None else c.hidden
    norm = 2 * size * width + 8
    asking = latents * (2 * norm + 2 * size * inner + 4 * c.heads + 2 * size * hidden)
    asked = vectors * (size * width + 8) + (latents + vectors) * 2 * size * inner
    return c.depth * (asking + asked) + vectors * size * width + latents * (size * width + 8)


def _crosses(config: CrossedConfig, tokens: int, vectors: int, size: int) -> _Kept:
    """Crosses, as if they learned: they let no gradient pass otherwise."""
    c, width = cross_of(config), config.decoder.width
    query, key = c.heads * c.head_width, c.kv_heads * c.head_width
    block = 3 * size * query + 4 * c.heads  # queries, the outcome, and the same in order again
    block += 3 * size * width  # what each gate scales, and what is added to the stream
    block += 3 * 8  # which tokens look, thrice
    if config.cross == "flamingo":
        block += 2 * (2 * size * width + 8) + 2 * size * 4 * width
        memory = vectors * 2 * size * key
    else:
        block += 2 * _rms(width, 1, True, size) + 4 * size * config.decoder.hidden
        block += (4 + size) * query + 4 * c.heads  # the queries' norm
        memory = vectors * (4 * key + 4 * c.kv_heads + 3 * size * key)
    layers = _Layers(config.crosses, tokens * block, tokens * size * width)
    return [layers], config.crosses * memory + vectors * size * width
