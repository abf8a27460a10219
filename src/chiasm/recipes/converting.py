"""A model folder, written again in another form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from chiasm.base.layers import INT4, INT8, LowBitTable
from chiasm.checkpoint.composed import load_model, save_model
from chiasm.checkpoint.folder import load_decoder, open_decoder, read_companions, save_decoder
from chiasm.models.changes import changes_of
from chiasm.nn import Linear, merge_lora, quantise
from chiasm.recipes.loading import home_of, is_ours
from chiasm.recipes.parts import Say

KINDS = {"int8": INT8, "int4": INT4}
_WRITTEN = ("model_type", "architectures", "format", "model", "parts", "changes")
"""What `save_model` says of a model by itself."""


def quantise_folder(
    name: str, out: Path, kind: Literal["int8", "int4"], only: Sequence[str], say: Say
) -> int:
    """Write the model that a name means with integers for its matrices; return how many layers.

    only  patterns of names of linear layers; all of them but the head when empty

    Adapters are merged first. A part of a composed model that stays as it was is referred to as before.
    """
    home = home_of(name, say)
    if is_ours(home):
        return _composed(home, out, kind, only, say)
    stored = open_decoder(home).tensors["embed.weight"].dtype
    decoder = load_decoder(home, stored)[0]
    done = quantise(decoder, _table(decoder, kind, only))
    save_decoder(decoder, out, read_companions(home))
    return len(done)


def _composed(
    home: Path, out: Path, kind: Literal["int8", "int4"], only: Sequence[str], say: Say
) -> int:
    loaded = load_model(home, say=say, merge=False)
    model, config = loaded.model, loaded.config
    adapted = changes_of(model).lora
    merge_lora(model)
    done = quantise(model, _table(model, kind, only))
    touched = {pattern.partition(".")[0] for pattern in (*done, *(row[0] for row in adapted))}
    save_model(
        model,
        out,
        config={key: value for key, value in config.items() if key not in _WRITTEN},
        files=read_companions(home),
        parts={p: r["source"] for p, r in config["parts"].items() if p not in touched},
        dtype=torch.bfloat16,
    )
    return len(done)


def _table(
    model: torch.nn.Module, kind: Literal["int8", "int4"], only: Sequence[str]
) -> LowBitTable:
    if only:
        return tuple((pattern, KINDS[kind]) for pattern in only)
    names = [name for name, layer in model.named_modules() if isinstance(layer, Linear)]
    heads = [name for name in names if name.rpartition(".")[2] == "unembed"]
    return (*((name, None) for name in heads), ("*", KINDS[kind]))
