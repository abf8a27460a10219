"""Llama 3.2 Vision's names and settings, as transformers writes them (Mllama), against ours.

language_model.model.layers.0 1 2 [3] 4 …    ◄─►  decoder.blocks.0 1 2 3 …,  crosses.0 …
language_model.model.embed_tokens            ◄─►  decoder.embed over extra
vision_model…                                ◄─►  encoder…
multi_modal_projector                        ◄─►  projector.map, its columns in another order
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.checkpoint.changes import Change, below, same_bits, taps_in_turn, tile_grid, tile_shapes
from chiasm.checkpoint.families import llama
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.crossed import CrossedConfig, fusion_schedule
from chiasm.models.tiled import TiledViTConfig, shapes_of

TABLES = ("tile_position", "before", "after")
"""Our tile tables, in an order that all families' files share."""
EXTRA_TOKENS = 8
"""Rows behind the vocabulary; both transformers and Meta's code hold no other number of them."""
_HUB_TABLES = (
    "gated_positional_embedding.tile_embedding.weight",
    "pre_tile_positional_embedding.embedding.weight",
    "post_tile_positional_embedding.embedding.weight",
)
_NORM_EPS = 1e-5
_CROSS = {
    "input_layernorm.weight": "attn_norm.weight",
    **{f"cross_attn.{part}_proj.weight": f"attn.{part}.weight" for part in "qkvo"},
    **{f"cross_attn.{part}_norm.weight": f"attn.{part}_norm.weight" for part in "qk"},
    "cross_attn_attn_gate": "attn_gate",
    "post_attention_layernorm.weight": "mlp_norm.weight",
    **{f"mlp.{part}_proj.weight": f"mlp.{part}.weight" for part in ("gate", "up", "down")},
    "cross_attn_mlp_gate": "mlp_gate",
}
_TOWER_BLOCK = {
    **{f"self_attn.{part}_proj.weight": f"attn.{part}.weight" for part in "qkvo"},
    **{
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in {
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "mlp_norm",
            "mlp.fc1": "mlp.up",
            "mlp.fc2": "mlp.down",
        }.items()
        for kind in ("weight", "bias")
    },
}


def table(config: CrossedConfig, names: Iterable[str] = ()) -> NameTable:
    """Return the names of a MllamaForConditionalGeneration of these settings.

    names  of a file whose spelling is to be followed; else the hub's, which transformers 5 writes, too
    """
    rows, changes = _tower(eyes_of(config))
    rows |= _text(config)
    rows |= {f"multi_modal_projector.{kind}": f"projector.map.{kind}" for kind in _KINDS}
    taps = len(config.projector.taps)
    changes["multi_modal_projector.weight"] = taps_in_turn(config.encoder.width, taps)
    changes["language_model.model.embed_tokens.weight"] = below(config.extra_tokens)
    head, copies = "language_model.lm_head.weight", {}
    if config.decoder.tied:
        copies[head] = "decoder.embed.weight"
    else:
        rows[head] = "decoder.unembed.weight"
    found = NameTable(rows, copies=copies, changes=changes)
    return found.respelled(in_memory) if any(n.startswith("model.") for n in names) else found


_KINDS = ("weight", "bias")


def in_memory(name: str) -> str:
    """Return transformers 5's name within a running model for one of the hub's."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    first = "language_model.model."
    return "model." + name.replace(first, "language_model.", 1 if name.startswith(first) else 0)


def _text(config: CrossedConfig) -> dict[str, str]:
    """Rows of the language model and the crosses, whose layers the hub counts together."""
    crosses = fusion_schedule(config.decoder.depth, config.crosses)
    layers = "language_model.model.layers"
    rows = {
        "language_model.model.embed_tokens.weight": "decoder.embed.weight + extra.weight",
        "language_model.model.norm.weight": "decoder.norm.weight",
    }
    for block in range(config.decoder.depth):
        at = block + sum(before <= block for before in crosses)
        for theirs, ours in llama.BLOCK.items():
            rows[f"{layers}.{at}.{theirs}.weight"] = f"decoder.blocks.{block}.{ours}.weight"
    for cross, at in enumerate(_layers_of(crosses)):
        for theirs, ours in _CROSS.items():
            rows[f"{layers}.{at}.{theirs}"] = f"crosses.{cross}.{ours}"
    return rows


def _layers_of(crosses: Iterable[int]) -> list[int]:
    """Return the hub's layer numbers of crosses that stand before these blocks."""
    return [block + cross for cross, block in enumerate(crosses)]


def _tower(eyes: TiledViTConfig) -> tuple[dict[str, str], dict[str, Change]]:
    tower = "vision_model"
    rows = {
        f"{tower}.patch_embedding.weight": "encoder.patches.weight",
        f"{tower}.class_embedding": "encoder.cls",
        f"{tower}.gated_positional_embedding.embedding": "encoder.position.weight",
    }
    for kind in _KINDS:
        rows[f"{tower}.layernorm_pre.{kind}"] = f"encoder.pre_norm.{kind}"
        rows[f"{tower}.layernorm_post.{kind}"] = f"encoder.post_norm.{kind}"
    for theirs, ours in {"transformer": "blocks", "global_transformer": "gated"}.items():
        for inner, own in _TOWER_BLOCK.items():
            rows[f"{tower}.{theirs}.layers.*.{inner}"] = f"encoder.{ours}.*.{own}"
    for theirs, ours in {"gate_attn": "attn_gate", "gate_ffn": "mlp_gate"}.items():
        rows[f"{tower}.global_transformer.layers.*.{theirs}"] = f"encoder.gated.*.{ours}"
    changes = {}
    for theirs, ours in zip(_HUB_TABLES, TABLES, strict=True):
        rows[f"{tower}.{theirs}"] = f"encoder.{ours}.weight"
        rows[f"{tower}.{theirs.partition('.')[0]}.gate"] = f"encoder.{ours}.gate"
        changes[f"{tower}.{theirs}"] = _tiles(eyes, ours)
    return rows, changes


def _tiles(eyes: TiledViTConfig, name: str) -> Change:
    form = tile_grid if eyes.tables == "grid" else tile_shapes
    return form(eyes.tiles, eyes.places() if name == "tile_position" else 1, eyes.width)


def are_grids(config: CrossedConfig, tensors: Mapping[str, Tensor]) -> bool:
    """Whether tile tables by shape were made from tables by place, so that nothing is lost in those.

    tensors  our names -> values, read with `tables="shapes"`; the three tables are read
    """
    eyes = eyes_of(config).model_copy(update={"tables": "grid"})
    for name in TABLES:
        stored, form = tensors[f"encoder.{name}.weight"].flatten(1), _tiles(eyes, name)
        if not same_bits(stored, form.theirs(form.ours(stored))):
            return False
    return True


# ---- settings ------------------------------------------------------------------------------------


def read_config(values: Mapping[str, Any], source: str) -> CrossedConfig:
    """Return our settings for a MllamaForConditionalGeneration's config.json, with tile tables by shape.

    What we cannot compute is a CheckpointError. Absent settings are those of transformers' MllamaConfig.
    """
    record = Record(values, source)
    record.allow("model_type", "mllama")
    record.allow("quantization_config", None)
    text, vision = record.inner("text_config"), record.inner("vision_config")
    if text is None or vision is None:
        raise CheckpointError(f'{source} has no "{"vision_config" if text else "text_config"}".')
    decoder, crosses = _read_text(text)
    for key in ("image_token_index", "image_token_id"):
        record.allow(key, decoder["vocab"])
    eyes = _read_eyes(vision)
    settings = {
        "decoder": decoder,
        "encoder": eyes,
        "projector": {
            "taps": _read_taps(vision, eyes["width"], eyes["depth"]),
            **{"kind": "linear", "norm": False, "cls": True},
        },
        **{"crosses": crosses, "extra_tokens": EXTRA_TOKENS},
    }
    return from_record(CrossedConfig, settings, source)


def _read_text(text: Record) -> tuple[dict[str, Any], int]:
    """Return the language model's settings, and how many crosses there are."""
    text.allow("model_type", "mllama_text_model")
    text.allow("dropout", 0.0, 0)
    layers = text.numbers("cross_attention_layers", [3, 8, 13, 18, 23, 28, 33, 38])
    depth = text.whole("num_hidden_layers", 40) - len(layers)
    try:
        wanted = _layers_of(fusion_schedule(depth, len(layers)))
    except ValueError as error:
        raise CheckpointError(f"{text.source}: {error}.") from None
    if layers != wanted:
        raise CheckpointError(
            f'{text.source}: "cross_attention_layers" is {layers}, but Chiasm computes the released '
            f"models' rule alone, which gives {wanted}."
        )
    absent = {
        **{"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336},
        **{"num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5},
        "max_position_embeddings": 131072,
    }
    given = {key: value for key, value in text.values.items() if value is not None}
    ropes = (text, text.inner("rope_parameters"), text.inner("rope_scaling"))
    if not any("rope_theta" in rope.values for rope in ropes if rope is not None):
        absent["rope_theta"] = 500000.0
    whole = {**absent, **given, "model_type": "llama", "num_hidden_layers": depth}
    config = llama.read_config(whole, text.source)
    text.allow("head_dim", config.width // config.heads)
    return config.model_dump(), len(layers)


def _read_eyes(vision: Record) -> dict[str, Any]:
    vision.allow("model_type", "mllama_vision_model")
    vision.allow("hidden_act", "gelu")
    vision.allow("num_channels", 3)
    vision.allow("norm_eps", _NORM_EPS)
    tiles = vision.whole("max_num_tiles", 4)
    vision.allow("supported_aspect_ratios", [list(shape) for shape in shapes_of(tiles)])
    width, side = vision.whole("hidden_size", 1280), vision.whole("image_size", 448)
    heads = vision.whole("attention_heads", vision.whole("num_attention_heads", 16))
    patch = vision.whole("patch_size", 14)
    if width % heads or side % patch:
        raise CheckpointError(
            f"{vision.source}: heads must divide hidden_size, and patch_size image_size."
        )
    return {
        "kind": "tiled",
        **{"image_size": side, "patch": patch, "width": width, "heads": heads},
        "depth": vision.whole("num_hidden_layers", 32),
        "gated": vision.whole("num_global_layers", 8),
        "hidden": vision.whole("intermediate_size", 5120),
        "tiles": tiles,
        "tables": "shapes",
    }


def _read_taps(vision: Record, width: int, depth: int) -> tuple[str, ...]:
    read = vision.numbers("intermediate_layers_indices", [3, 7, 15, 23, 30])
    if read != sorted(set(read)) or not all(0 <= layer < depth for layer in read):
        raise CheckpointError(
            f'{vision.source}: "intermediate_layers_indices" is {read}, which should rise from 0 up '
            f"and stay below {depth}."
        )
    vision.allow("vision_output_dim", width * (1 + len(read)))
    return taps_of(read)


def taps_of(layers: Iterable[int]) -> tuple[str, ...]:
    """Return the taps of a model that lists these layers as read: Meta's code reads what enters them."""
    return ("final", *(f"block.{layer}" for layer in layers))


def write_config(
    config: CrossedConfig, dtype: torch.dtype, ids: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config.json of a MllamaForConditionalGeneration, readable by transformers 4 and 5.

    ids  as for `llama.write_config`

    Settings that such a model has not are a UserError.
    """
    eyes, layers = eyes_of(config), layers_of_taps(config)
    text = llama.write_config(config.decoder, dtype, ids)
    for key in ("architectures", "head_dim", "attention_bias", "attention_dropout", "mlp_bias"):
        text.pop(key)
    if text["bos_token_id"] is None:  # a MllamaTextConfig takes no null here
        text.pop("bos_token_id")
    crosses = _layers_of(fusion_schedule(config.decoder.depth, config.crosses))
    text |= {
        "model_type": "mllama_text_model",
        "cross_attention_layers": crosses,
        "dropout": 0.0,
        "num_hidden_layers": config.decoder.depth + config.crosses,
    }
    vision = {
        "model_type": "mllama_vision_model",
        "attention_heads": eyes.heads,
        "hidden_act": "gelu",
        "hidden_size": eyes.width,
        "image_size": eyes.image_size,
        "initializer_range": 0.02,
        "intermediate_layers_indices": layers,
        "intermediate_size": eyes.hidden,
        "max_num_tiles": eyes.tiles,
        "norm_eps": eyes.norm_eps,
        "num_channels": 3,
        "num_global_layers": eyes.gated,
        "num_hidden_layers": eyes.depth,
        "patch_size": eyes.patch,
        "supported_aspect_ratios": [list(shape) for shape in shapes_of(eyes.tiles)],
        "torch_dtype": text["torch_dtype"],
        "vision_output_dim": eyes.width * (1 + len(layers)),
    }
    return {
        "architectures": ["MllamaForConditionalGeneration"],
        "model_type": "mllama",
        "image_token_index": config.image_token,
        "text_config": text,
        "torch_dtype": text["torch_dtype"],
        "vision_config": vision,
    }


def eyes_of(config: CrossedConfig) -> TiledViTConfig:
    """Return the settings of Llama 3.2's eyes; UserError for other eyes."""
    eyes = config.encoder
    if not isinstance(eyes, TiledViTConfig) or (eyes.activation, eyes.norm_eps) != (
        "gelu",
        _NORM_EPS,
    ):
        raise _other("encoder")
    return eyes


def layers_of_taps(config: CrossedConfig) -> list[int]:
    """Return the layers that a Llama 3.2 Vision's code lists as read, besides the final one.

    Settings that such a model has not are a UserError.
    """
    eyes, projector, decoder = eyes_of(config), config.projector, config.decoder
    inputs = [f"block.{layer}" for layer in range(eyes.depth)]
    layers = [inputs.index(tap) if tap in inputs else -1 for tap in projector.taps[1:]]
    shape = (projector.kind, projector.norm, projector.cls, projector.squares)
    wanted = {
        "projector": shape == ("linear", False, True, 1),
        "projector.taps": projector.taps[0] == "final" and layers == sorted({*layers} - {-1}),
        "cross": config.cross == "llama",
        "video": config.video is None,
        "extra_tokens": config.extra_tokens == EXTRA_TOKENS,
        "attend": config.attend == "last",
        "decoder.head_width": decoder.head_width * decoder.heads == decoder.width,
    }
    for setting, met in wanted.items():
        if not met:
            raise _other(setting)
    return layers


def _other(setting: str) -> UserError:
    return UserError(
        f"The layouts of Llama 3.2 Vision cannot hold this model: its {setting} is another."
    )
