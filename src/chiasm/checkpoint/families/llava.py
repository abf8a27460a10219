"""LLaVA-1.5's names and settings, as transformers writes them, against ours.

language_model.model…, language_model.lm_head     ◄─►  decoder…, extra
vision_tower.vision_model…  (CLIP)                ◄─►  encoder…
multi_modal_projector.linear_1, linear_2          ◄─►  projector.map.up, projector.map.down
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.checkpoint.changes import below, spare_rows
from chiasm.checkpoint.families import clip, llama
from chiasm.checkpoint.families.mllama import in_memory
from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.names import NameTable
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.prefix import PrefixConfig
from chiasm.models.vit import ViTConfig

_EMBED, _HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"
_LLAMA = {
    **{"hidden_size": 4096, "intermediate_size": 11008, "vocab_size": 32000},
    **{"num_hidden_layers": 32, "num_attention_heads": 32},
}
"""What transformers' LlamaConfig takes for granted; LLaVA's folders leave it out."""
_CLIP = {
    **{"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
    **{"num_attention_heads": 16, "image_size": 336, "patch_size": 14},
}
"""The eyes of a LlavaConfig that says nothing of them."""


def table(config: PrefixConfig, names: Iterable[str] = ()) -> NameTable:
    """Return the names of a LlavaForConditionalGeneration of these settings.

    names  of a file whose spelling is to be followed; else the hub's, which all programs read
    """
    names = tuple(names)
    tied, extra = config.decoder.tied, config.extra_tokens
    words, eyes = llama.table(tied), clip.table()
    rows = {f"language_model.{theirs}": f"decoder.{ours}" for theirs, ours in words.rows.items()}
    rows |= {f"vision_tower.{theirs}": f"encoder.{ours}" for theirs, ours in eyes.rows.items()}
    for theirs, ours in {"linear_1": "up", "linear_2": "down"}.items():
        for kind in ("weight", "bias"):
            rows[f"multi_modal_projector.{theirs}.{kind}"] = f"projector.map.{ours}.{kind}"
    rows[_EMBED] = "decoder.embed.weight + extra.weight"
    changes = {_EMBED: below(extra)}
    if extra:  # the head of a LlavaForConditionalGeneration has a row for every token
        changes[_HEAD] = spare_rows(extra)
    second = {_HEAD: "decoder.embed.weight"} if tied else {}
    left_out = {f"language_model.{name}": why for name, why in words.left_out.items()}
    buffer = "vision_model.embeddings.position_ids"
    left_out[f"vision_tower.{buffer}"] = eyes.left_out[buffer]
    found = NameTable(
        rows,
        twins={} if extra else second,
        copies=second if extra else {},
        left_out=left_out,
        changes=changes,
    )
    if any(name.startswith("model.") for name in names):
        found = found.respelled(in_memory)
    if names and not any("vision_tower.vision_model." in name for name in names):
        found = found.respelled(lambda name: name.replace("tower.vision_model.", "tower.", 1))
    return found


# ---- settings ------------------------------------------------------------------------------------


def read_config(values: Mapping[str, Any], source: str) -> PrefixConfig:
    """Return our settings for a LlavaForConditionalGeneration's config.json.

    What we cannot compute is a CheckpointError. Absent settings are those of transformers' LlavaConfig.
    """
    record = Record(values, source)
    record.allow("model_type", "llava")
    record.allow("quantization_config", None)
    record.allow("projector_hidden_act", "gelu")
    record.allow("multimodal_projector_bias", True)
    text = record.inner("text_config") or Record({}, f"{source}, text_config")
    vision = record.inner("vision_config")
    given = {key: value for key, value in text.values.items() if value is not None}
    tied = any(part.truth("tie_word_embeddings", False) for part in (record, text))
    decoder = llama.read_config(
        {**_LLAMA, "model_type": "llama", **given, "tie_word_embeddings": tied}, text.source
    )
    eyes = clip.read_config(
        {"model_type": "clip_vision_model", **(_CLIP if vision is None else vision.values)},
        f"{source}, vision_config",
    )
    strategy = record.allow("vision_feature_select_strategy", "default", "full")
    settings = {
        "decoder": decoder.model_dump(),
        "encoder": eyes.model_dump(),
        "projector": {
            "taps": _read_taps(record, eyes.depth),
            **{"kind": "mlp", "norm": False, "cls": strategy == "full"},
        },
        "extra_tokens": 0,
        "place_token": _place_token(record, decoder.vocab),
    }
    return from_record(PrefixConfig, settings, source)


def _read_taps(record: Record, depth: int) -> tuple[str, ...]:
    """Return taps for numbers of hidden states: 0 is what enters the first block, -1 the last one."""
    read = record.values.get("vision_feature_layer", -2)
    layers = read if isinstance(read, list) else [read]
    states = [*(f"block.{block}" for block in range(depth)), "last"]
    if not layers or not all(type(i) is int and -len(states) <= i < len(states) for i in layers):
        raise CheckpointError(
            f'{record.source}: "vision_feature_layer" is {read!r}, which names no layer of {depth}.'
        )
    return tuple(states[layer] for layer in layers)


def _place_token(record: Record, vocab: int) -> int:
    token = record.values.get("image_token_index", record.values.get("image_token_id", 32000))
    if type(token) is not int or not 0 <= token < vocab:
        raise CheckpointError(
            f'{record.source}: "image_token_index" is {token!r}, not a token of the {vocab} there are.'
        )
    return token


def write_config(
    config: PrefixConfig, dtype: torch.dtype, ids: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config.json of a LlavaForConditionalGeneration, readable by transformers 4 and 5.

    ids  as for `llama.write_config`

    Settings that such a model has not are a UserError. Tokens behind the vocabulary become part of it.
    """
    eyes, extra = _eyes_of(config), config.extra_tokens
    states = [*(f"block.{block}" for block in range(eyes.depth)), "last"]
    layers = [states.index(tap) - len(states) for tap in config.projector.taps]
    tied = config.decoder.tied and not extra
    sizes = {"vocab": config.decoder.vocab + extra, "tied": tied}
    text = llama.write_config(config.decoder.model_copy(update=sizes), dtype, ids)
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_seq_length": config.places(),
        "image_token_index": config.image_token,
        "multimodal_projector_bias": True,
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": tied,
        "torch_dtype": text["torch_dtype"],
        "vision_config": clip.write_config(eyes, dtype),
        "vision_feature_layer": layers[0] if len(layers) == 1 else layers,
        "vision_feature_select_strategy": "full" if config.projector.cls else "default",
    }


def _eyes_of(config: PrefixConfig) -> ViTConfig:
    """Return the eyes' settings of a model that LLaVA's layout can hold; else UserError."""
    eyes, projector = config.encoder, config.projector
    clips = isinstance(eyes, ViTConfig) and (eyes.cls, eyes.pre_norm, eyes.patch_bias)
    wanted = {
        "encoder": clips == (True, True, False),
        "projector": (projector.kind, projector.norm, projector.squares) == ("mlp", False, 1),
        "projector.taps": "final" not in projector.taps,
    }
    for setting, met in wanted.items():
        if not met:
            raise UserError(
                f"A LLaVA folder cannot hold this model: its {setting} is not that of LLaVA-1.5."
            )
    return cast(ViTConfig, eyes)
