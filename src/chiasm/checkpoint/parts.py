"""Parts of models, wherever they lie: a language model or eyes of their own, or those inside a vision LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from chiasm.checkpoint.folder import Opened, load_decoder, load_vit, open_decoder, open_vit
from chiasm.checkpoint.fused import is_fused, open_fused
from chiasm.checkpoint.names import Placed
from chiasm.checkpoint.weights import Provenance, load_strict
from chiasm.models import Decoder
from chiasm.models.eyes import Eyes, eyes

Part: TypeAlias = Literal["decoder", "encoder"]


def open_part(path: Path | str, part: Part) -> Opened[Any]:
    """Open a language model ("decoder") or eyes ("encoder"), alone or within a vision LLM's folder."""
    if not is_fused(path):
        return open_decoder(path) if part == "decoder" else open_vit(path)
    whole, start = open_fused(path), f"{part}."
    inside = {name.removeprefix(start): name for name in whole.tensors if name.startswith(start)}
    origins = {name: whole.provenance.tensors[full] for name, full in inside.items()}
    source = f"{whole.provenance.source}, its {part}"
    return Opened(
        getattr(whole.config, part), Placed(whole.tensors, inside), Provenance(source, origins)
    )


def load_part(
    path: Path | str, part: Part, dtype: torch.dtype = torch.float32
) -> tuple[Decoder | Eyes, Provenance]:
    """Load what `open_part` opens, its weights as `dtype`; strict both ways."""
    if not is_fused(path):
        return load_decoder(path, dtype) if part == "decoder" else load_vit(path, dtype)
    opened = open_part(path, part)
    with torch.device("meta"):
        built = Decoder(opened.config) if part == "decoder" else eyes(opened.config)
    load_strict(built, opened.tensors, opened.provenance.tensors, dtype)
    return built, opened.provenance
