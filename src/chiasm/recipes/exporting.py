"""A model in other people's layouts: transformers', Meta's, llama.cpp's; and Meta's files into ours.

run, folder, built-in name ─┐               ┌─► transformers: LlamaForCausalLM, Mllama, LLaVA
params.json + *.pth ────────┴─► opened ─────┼─► meta: params.json and Meta's names
                                (lazily)    └─► gguf: a language model for llama.cpp
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from chiasm.base.errors import UserError
from chiasm.checkpoint.composed import load_model, save_model
from chiasm.checkpoint.folder import Opened, open_decoder, read_companions, save_decoder
from chiasm.checkpoint.fused import is_fused, load_fused, open_fused, save_fused
from chiasm.checkpoint.gguf_write import save_gguf
from chiasm.checkpoint.pth import open_published
from chiasm.checkpoint.tiktoken import tokenizer_files
from chiasm.checkpoint.weights import read_json
from chiasm.inputs.image import FILE as PICTURES
from chiasm.inputs.tiles import TileTransform
from chiasm.models import CrossedConfig, DecoderConfig
from chiasm.recipes.loading import home_of, is_ours
from chiasm.recipes.parts import Say

Layout: TypeAlias = Literal["transformers", "meta", "gguf"]
WORDS = "tokenizer.model"
"""Meta's tokenizer, beside its weights."""


def export(name: str, path: Path, layout: Layout, kind: str, say: Say) -> None:
    """Write the model that a name means in another layout, tensor for tensor.

    kind  format of a GGUF file's matrices: F32, F16, BF16, Q8_0, Q4_0, Q4_1, ...

    Raises UserError when the layout cannot hold the model.
    """
    home = home_of(name, say)
    opened, files = _open(home, say), _companions(home)
    if layout == "gguf":
        if not isinstance(opened, Opened) or not isinstance(opened.config, DecoderConfig):
            raise UserError(
                f"{name} has eyes, and llama.cpp's files hold none of its kind: export its language model "
                "alone, or choose --layout transformers."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_gguf(opened, path, kind, files, path.stem)
    elif layout == "transformers" and isinstance(opened.config, DecoderConfig):
        save_decoder(opened, path, files)
    else:
        save_fused(opened, path, layout, files)


def export_adapters(name: str, decoder: str, path: Path, say: Say) -> None:
    """Write what stands beside the language model: eyes, projector, crosses; the folder refers to the rest.

    decoder  the folder or built-in name of the language model, which must be the model's own, bit for
             bit; `swap` puts another one there

    Raises UserError when it is another, and for a model without eyes.
    """
    home = home_of(name, say)
    if is_ours(home):
        model: Any = load_model(home, torch.bfloat16, say=say).model
        record = read_json(home / "config.json")
    elif is_fused(home):
        model, record = load_fused(home, torch.bfloat16)[0], {}
    else:
        raise UserError(f"{name} has no eyes, so it has no adapters to write.")
    parts = {"decoder": decoder}
    if eyes := record.get("parts", {}).get("encoder", {}).get("source"):
        parts["encoder"] = eyes
    config = {"system": record.get("system")}
    save_model(model, path, config=config, files=read_companions(home), parts=parts)


def _open(home: Path, say: Say) -> Any:
    """Open lazily what can be; a model of ours, which may have parts elsewhere, is loaded."""
    if is_ours(home):
        return load_model(home, torch.bfloat16, say=say).model
    if is_fused(home):
        return open_fused(home)
    return open_decoder(home)


def _companions(home: Path) -> dict[str, bytes]:
    return read_companions(home) if home.is_dir() else {}


def from_meta(folder: Path, path: Path, instruct: bool) -> Mapping[str, int]:
    """Write Meta's params.json, consolidated.NN.pth and tokenizer.model as a folder of transformers'.

    instruct  the model was trained for conversations, so its folder gets a chat template

    Returns the numbers of tensors and of files. The pickles inside the .pth files are read as lists of
    tensors, in a process that can do nothing else (`checkpoint.pth`). Raises CheckpointError.
    """
    opened = open_published(folder)
    eyes = isinstance(opened.config, CrossedConfig)
    words = folder / WORDS
    if not words.is_file():
        raise UserError(f"{folder} has no {WORDS}; put Meta's tokenizer beside the weights.")
    files = tokenizer_files(words, vision=eyes, instruct=instruct)
    if eyes:
        files |= _pictures(opened.config)
        save_fused(opened, path, "transformers", files)
    else:
        save_decoder(opened, path, files)
    return {"tensors": len(opened.tensors), "files": len(list(folder.glob("consolidated.*.pth")))}


def _pictures(config: CrossedConfig) -> dict[str, bytes]:
    """How Meta prepares pictures for its eyes."""
    eyes: Any = config.encoder
    with tempfile.TemporaryDirectory() as folder:
        TileTransform(size=eyes.image_size, most=eyes.tiles).save(folder)
        return {PICTURES: Path(folder, PICTURES).read_bytes()}
