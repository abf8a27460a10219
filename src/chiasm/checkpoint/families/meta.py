"""Meta's own names and settings for Llama 3 and Llama 3.2 Vision (llama-models), against ours.

    layers, cross_attention_layers               ◄─►  blocks, crosses
    attention.wq, wk: rows of pairs              ◄─►  attn.q, attn.k: rows of halves
    vision_model.vision_encoder…                 ◄─►  encoder…
    params.json, and what it leaves out          ◄─►  settings

Names are those of whole tensors; `merge_dim` tells how consolidated.0N.pth cut them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.checkpoint.changes import Change, halves, patches, taps_in_turn
from chiasm.checkpoint.families.mllama import EXTRA_TOKENS, TABLES, eyes_of, layers_of_taps, taps_of
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.crossed import CrossedConfig
from chiasm.models.decoder import DecoderConfig
from chiasm.models.tiled import TiledViTConfig

_BLOCK = {
    "attention_norm": "attn_norm",
    **{f"attention.w{part}": f"attn.{part}" for part in "qkvo"},
    "ffn_norm": "mlp_norm",
    **{"feed_forward.w1": "mlp.gate", "feed_forward.w3": "mlp.up", "feed_forward.w2": "mlp.down"},
}
_CROSS = {
    **{f"{theirs}.weight": f"{ours}.weight" for theirs, ours in _BLOCK.items()},
    **{f"attention.{part}_norm.weight": f"attn.{part}_norm.weight" for part in "qk"},
    **{"gate_attn": "attn_gate", "gate_ffwd": "mlp_gate"},
}
_TOWER_BLOCK = {
    **{f"attn.w{part}.weight": f"attn.{part}.weight" for part in "qkvo"},
    **{
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in {
            "ln_1": "attn_norm",
            "ln_2": "mlp_norm",
            "mlp.c_fc": "mlp.up",
            "mlp.c_proj": "mlp.down",
        }.items()
        for kind in ("weight", "bias")
    },
}
_TABLES = (
    ("gated_positional_embedding", "gated_positional_embedding_gate"),
    ("pre_tile_pos_embed.embedding", "pre_tile_pos_embed.gate"),
    ("post_tile_pos_embed.embedding", "post_tile_pos_embed.gate"),
)
_EYES = "vision_model.vision_encoder."
_PROJECTION = "vision_model.vision_projection.weight"
_CUT = {
    0: re.compile(
        r"(text_model\.)?((tok_embeddings|learnable_embedding|output)\.weight"
        r"|(cross_attention_)?layers\.\d+\.(attention\.w[qkv]|feed_forward\.w[13])\.weight)"
        r"|vision_model\.(vision_projection\.(weight|bias)|vision_encoder\.(conv1\._linear\.weight"
        r"|(global_)?transformer\.resblocks\.\d+\.(attn\.w[qkv]\.weight|mlp\.c_fc\.(weight|bias))))"
    ),
    1: re.compile(
        r"(text_model\.)?(cross_attention_)?layers\.\d+\.(attention\.wo|feed_forward\.w2)\.weight"
        r"|vision_model\.vision_encoder\.(global_)?transformer\.resblocks\.\d+\."
        r"(attn\.wo|mlp\.c_proj)\.weight"
    ),
}
# What params.json does not say, because it is the same in all released models.
_HEADS, _LAYERS = 16, [3, 7, 15, 23, 30]
_FACTOR, _SCALING = 8.0, {"low": 1.0, "high": 4.0, "original": 8192}
_LONG, _SHORT = 131072, 8192
_SMALL = {(2048, 16): 32.0, (3072, 28): 32.0}
"""(width, depth) of Llama 3.2 1B and 3B: their rotary frequencies are stretched further than the
8 of all others, and their heads are their embedding tables."""
_HIDDEN = ((4096, 1.3), (1024, 1.3), (4096, 1.2), (256, 1.5), (256, 1.0), (256, 1.3))
"""multiple_of and ffn_dim_multiplier of the released models."""


def merge_dim(name: str) -> int | None:
    """Return the dimension along which consolidated.0N.pth cut a tensor; None = each holds it whole.

    fairscale's column-parallel layers and embeddings are cut along 0, row-parallel ones along 1.
    """
    return next((dim for dim, names in _CUT.items() if names.fullmatch(name)), None)


def table(config: DecoderConfig | CrossedConfig) -> NameTable:
    """Return the names of Meta's files for a language model, or for Llama 3.2 Vision."""
    if isinstance(config, DecoderConfig):
        return _text(config)
    text = _text(config.decoder)
    rows = {f"text_model.{theirs}": f"decoder.{ours}" for theirs, ours in text.rows.items()}
    copies = {f"text_model.{theirs}": f"decoder.{ours}" for theirs, ours in text.copies.items()}
    changes = {f"text_model.{theirs}": change for theirs, change in text.changes.items()}
    rows["text_model.learnable_embedding.weight"] = "extra.weight"
    for theirs, ours in _CROSS.items():
        rows[f"text_model.cross_attention_layers.*.{theirs}"] = f"crosses.*.{ours}"
    for kind in ("weight", "bias"):
        rows[f"vision_model.vision_projection.{kind}"] = f"projector.map.{kind}"
    seen = eyes_of(config)
    eyes, forms = _tower(seen)
    changes |= forms | {_PROJECTION: taps_in_turn(seen.width, len(config.projector.taps))}
    left_out = {f"text_model.{name}": why for name, why in text.left_out.items()}
    return NameTable(rows | eyes, left_out=left_out, copies=copies, changes=changes)


def _text(config: DecoderConfig) -> NameTable:
    rows = {
        f"layers.*.{theirs}.weight": f"blocks.*.{ours}.weight" for theirs, ours in _BLOCK.items()
    }
    rows |= {"tok_embeddings.weight": "embed.weight", "norm.weight": "norm.weight"}
    if not config.tied:
        rows["output.weight"] = "unembed.weight"
    return NameTable(
        rows,
        left_out={"rope.freqs": "rotary speeds are computed from the settings"},
        copies={"output.weight": "embed.weight"} if config.tied else {},
        changes={
            "layers.*.attention.wq.weight": halves(config.heads),
            "layers.*.attention.wk.weight": halves(config.kv_heads),
        },
    )


def _tower(eyes: TiledViTConfig) -> tuple[dict[str, str], dict[str, Change]]:
    rows = {
        f"{_EYES}conv1._linear.weight": "encoder.patches.weight",
        f"{_EYES}class_embedding": "encoder.cls",
        f"{_EYES}positional_embedding": "encoder.position.weight",
    }
    for kind in ("weight", "bias"):
        rows[f"{_EYES}ln_pre.{kind}"] = f"encoder.pre_norm.{kind}"
        rows[f"{_EYES}ln_post.{kind}"] = f"encoder.post_norm.{kind}"
    for theirs, ours in {"transformer": "blocks", "global_transformer": "gated"}.items():
        for inner, own in _TOWER_BLOCK.items():
            rows[f"{_EYES}{theirs}.resblocks.*.{inner}"] = f"encoder.{ours}.*.{own}"
    for theirs, ours in {"gate_attn": "attn_gate", "gate_ffn": "mlp_gate"}.items():
        rows[f"{_EYES}global_transformer.resblocks.*.{theirs}"] = f"encoder.gated.*.{ours}"
    for (values, gate), ours in zip(_TABLES, TABLES, strict=True):
        rows[f"{_EYES}{values}"] = f"encoder.{ours}.weight"
        rows[f"{_EYES}{gate}"] = f"encoder.{ours}.gate"
    return rows, {f"{_EYES}conv1._linear.weight": patches(eyes.patch)}


# ---- settings ------------------------------------------------------------------------------------


def read_params(
    values: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    source: str,
) -> DecoderConfig | CrossedConfig:
    """Return our settings for a params.json and the shapes of the tensors that lie beside it.

    What params.json leaves out is that of the released models, or in an entry "chiasm" of ours. What
    we cannot compute is a CheckpointError.
    """
    record = Record(values, source)
    record.allow("quantization_args", None)
    record.allow("lora_args", None)
    ours = record.inner("chiasm") or Record({}, f"{source}, chiasm")
    vision = "vision_num_cross_attention_layers" in values or "vision_chunk_size" in values
    decoder = _read_text(record, ours, shapes, "text_model." if vision else "")
    if not vision:
        return from_record(DecoderConfig, decoder, source)
    eyes = _read_eyes(record, ours, shapes)
    layers = ours.numbers("layers", _LAYERS)
    if _shape(shapes, _PROJECTION, source, 2)[1] != eyes["width"] * (1 + len(layers)):
        raise CheckpointError(f'{source}: "{_PROJECTION}" does not fit the layers {layers}.')
    if not all(type(i) is int and 0 <= i < eyes["depth"] for i in layers):
        raise CheckpointError(f"{source}: the eyes have no layers {layers} to be read.")
    settings = {
        "decoder": decoder,
        "encoder": eyes,
        "projector": {
            "taps": taps_of(layers),
            **{"kind": "linear", "norm": False, "cls": True},
        },
        "crosses": record.whole("vision_num_cross_attention_layers"),
        "extra_tokens": EXTRA_TOKENS,
    }
    return from_record(CrossedConfig, settings, source)


def _read_text(
    record: Record, ours: Record, shapes: Mapping[str, tuple[int, ...]], prefix: str
) -> dict[str, Any]:
    width, heads = record.whole("dim"), record.whole("n_heads")
    depth, kv_heads = record.whole("n_layers"), record.whole("n_kv_heads", heads)
    if width % heads or heads % kv_heads or width // heads % 2:
        raise CheckpointError(
            f"{record.source}: n_heads must divide dim into even parts, and n_kv_heads n_heads."
        )
    vocab = _shape(shapes, f"{prefix}tok_embeddings.weight", record.source, 2)[0]
    if record.values.get("vocab_size", -1) != -1:  # Meta's way to say "ask the tokenizer"
        record.allow("vocab_size", vocab)
    scaled = record.truth("use_scaled_rope", False)
    factor = ours.number("rope_factor", _SMALL.get((width, depth), _FACTOR))
    head = f"{prefix}output.weight"
    return {
        "vocab": vocab,
        **{"width": width, "depth": depth, "heads": heads, "kv_heads": kv_heads},
        "head_width": width // heads,
        "hidden": _hidden(
            width,
            record.whole("multiple_of", 256),
            record.number("ffn_dim_multiplier", 1.0),
        ),
        "context": ours.whole("context", _LONG if scaled else _SHORT),
        "rope_theta": record.number("rope_theta", 500000.0),
        "rope_scaling": {"factor": factor, **_SCALING} if scaled else None,
        "norm_eps": record.number("norm_eps", 1e-5),
        "tied": head not in shapes or ours.truth("tied", (width, depth) in _SMALL),
    }


def _hidden(width: int, multiple: int, factor: float) -> int:
    """Return the inner width of the feed-forward network (llama-models, `FeedForward`)."""
    hidden = int(factor * int(2 * 4 * width / 3))
    return multiple * -(-hidden // multiple)


def _read_eyes(
    record: Record, ours: Record, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return the eyes' settings, which Meta's code knows and the shapes tell."""
    source = record.source
    width, flat = _shape(shapes, f"{_EYES}conv1._linear.weight", source, 2)
    vectors, _ = _shape(shapes, f"{_EYES}positional_embedding", source, 2)
    first = f"{_EYES}transformer.resblocks.0.mlp.c_fc.weight"
    patch, side = round((flat / 3) ** 0.5), round((vectors - 1) ** 0.5)
    heads = ours.whole("heads", _HEADS)
    tiles = record.whole("vision_max_num_chunks", 4)
    if 3 * patch**2 != flat or 1 + side**2 != vectors or width % heads:
        raise CheckpointError(f"{source}: the eyes' tensors are not those of Llama 3.2 Vision.")
    if _shape(shapes, f"{_EYES}gated_positional_embedding", source, 4)[0] != tiles:
        raise CheckpointError(f'{source}: "vision_max_num_chunks" is not that of the tile tables.')
    return {
        "kind": "tiled",
        # The tables' own grid. Tiles of another size in pixels stretch them, as Meta's code does.
        "image_size": side * patch,
        **{"patch": patch, "width": width, "heads": heads, "tiles": tiles, "tables": "grid"},
        "depth": _count(shapes, f"{_EYES}transformer.resblocks."),
        "gated": _count(shapes, f"{_EYES}global_transformer.resblocks."),
        "hidden": _shape(shapes, first, source, 2)[0],
    }


def _shape(
    shapes: Mapping[str, tuple[int, ...]], name: str, source: str, dims: int
) -> tuple[int, ...]:
    if len(shapes.get(name, ())) != dims:
        found = f"has shape {list(shapes[name])}" if name in shapes else "is missing"
        raise CheckpointError(f'tensor "{name}", which {source} needs, {found}.')
    return shapes[name]


def _count(names: Mapping[str, Any], prefix: str) -> int:
    """How many blocks the names that begin with `prefix` number."""
    starts = len(prefix)
    return len({name[starts:].partition(".")[0] for name in names if name.startswith(prefix)})


def write_params(config: DecoderConfig | CrossedConfig) -> dict[str, Any]:
    """Return the params.json for these settings; settings that Meta's code has not are a UserError."""
    decoder = config if isinstance(config, DecoderConfig) else config.decoder
    params, ours = _write_text(decoder)
    if isinstance(config, CrossedConfig):
        eyes, layers = eyes_of(config), layers_of_taps(config)
        if eyes.tables != "grid":
            raise UserError(
                "Meta's layout cannot hold this model: its tile tables differ between shapes of "
                'pictures (encoder.tables is "shapes").'
            )
        if layers != _LAYERS:
            ours["layers"] = layers
        if eyes.heads != _HEADS:
            ours["heads"] = eyes.heads
        params |= {
            "vision_chunk_size": eyes.image_size,
            "vision_max_num_chunks": eyes.tiles,
            "vision_num_cross_attention_layers": config.crosses,
        }
    return params | ({"chiasm": ours} if ours else {})


def _write_text(config: DecoderConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what Meta's params.json says, and what its code takes for granted but is otherwise here."""
    c, scaling = config, config.rope_scaling
    known = _SMALL.get((c.width, c.depth))
    if c.head_width * c.heads != c.width:
        raise UserError(
            "Meta's layout cannot hold this model: its decoder.head_width is not width / heads."
        )
    if scaling is not None and scaling.model_dump() != {"factor": scaling.factor, **_SCALING}:
        raise UserError(
            "Meta's layout cannot hold this model: its rope_scaling is not that of Llama 3.1."
        )
    ours: dict[str, Any] = {}
    if scaling is not None and scaling.factor != (known or _FACTOR):
        ours["rope_factor"] = scaling.factor
    if c.tied != (known is not None):
        ours["tied"] = c.tied
    if c.context != (_SHORT if scaling is None else _LONG):
        ours["context"] = c.context
    multiple, times = _multiples(c)
    params = {
        "dim": c.width,
        "ffn_dim_multiplier": times,
        "multiple_of": multiple,
        **{"n_heads": c.heads, "n_kv_heads": c.kv_heads, "n_layers": c.depth},
        **{"norm_eps": c.norm_eps, "rope_theta": c.rope_theta},
        "use_scaled_rope": scaling is not None,
        "vocab_size": c.vocab,
    }
    return params, ours


def _multiples(config: DecoderConfig) -> tuple[int, float]:
    """Return multiple_of and ffn_dim_multiplier that give the hidden width; the released ones first."""
    for multiple, factor in _HIDDEN:
        if _hidden(config.width, multiple, factor) == config.hidden:
            return multiple, factor
    return config.hidden, config.hidden / (4 * config.width)  # rounded up to one multiple
