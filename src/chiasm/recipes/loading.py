"""A model and its processor, from wherever models lie, and back onto the disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import torch

from chiasm.base.config import as_record, from_record
from chiasm.base.device import pick_device, pick_dtype
from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import is_adapter
from chiasm.base.log import say as say_aloud
from chiasm.checkpoint.builtin import PARTS
from chiasm.checkpoint.composed import load_model, part_home, save_model
from chiasm.checkpoint.folder import load_decoder
from chiasm.checkpoint.fused import is_fused, load_fused
from chiasm.checkpoint.hub import is_hub_id
from chiasm.checkpoint.weights import read_json
from chiasm.inputs.chat_format import ChatFormat
from chiasm.inputs.processor import Processor
from chiasm.inputs.tiles import load_transform
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.inputs.video import FrameRule
from chiasm.models import Crossed, Decoder, Prefix
from chiasm.models.compat import answer_as
from chiasm.models.tiled import TiledViTConfig
from chiasm.recipes.answering import Model
from chiasm.recipes.parts import Assembled, Say, make_processor
from chiasm.recipes.settings import Run

LANGUAGE_MODEL = "smollm2-135m-instruct"
"""What speaks when no model is named and there is nothing to look at."""


def load(
    name: str | Path,
    device: str = "auto",
    dtype: str = "auto",
    say: Say = say_aloud,
    merge: bool = True,
    compat: Literal["meta", "hf"] = "meta",
) -> tuple[Model, Processor]:
    """Load a model and the processor that feeds it.

    name    a run's folder; a model folder of ours; a folder of transformers' for Llama, Mllama or LLaVA,
            or of Meta's; a GGUF file's folder; a built-in name; or a hub id (owner/model). A model
            without eyes gets a processor that refuses pictures
    merge   add adapters to the matrices they belong to; False keeps them apart, to train on
    compat  "hf" computes what transformers does with Llama 3.2 Vision, not what Meta does (docs/compat.md)

    Weights are on `device` in `dtype`. Raises UserError when there is no such model.
    """
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    model: Model
    home = home_of(str(name), say)
    if is_ours(home):
        model, processor = _load_composed(home, kind, say, merge)
    elif is_fused(home):
        model = load_fused(home, kind)[0]
        # No system message unless there is one: with pictures there was none in training.
        processor = make_processor(home, model.config, load_transform(home), None)
    else:
        model = load_decoder(home, kind)[0]
        processor = Processor(Tokenizer.load(home), ChatFormat.load(home))
    _refuse_strange_words(model, processor, home)
    if compat == "hf":
        _answer_as_transformers(model, str(name))
    return model.eval().to(place), processor


def _refuse_strange_words(model: Model, processor: Processor, home: Path) -> None:
    """A tokenizer with more tokens than the model has rows belongs to another model."""
    rows = model.config.vocab if isinstance(model, Decoder) else _rows(model)
    if processor.tokenizer.words > rows:
        raise UserError(
            f"The tokenizer in {home} has {processor.tokenizer.words:,} tokens, but the model only "
            f"{rows:,}: they are of different models. Put the model's own tokenizer.json there."
        )


def _rows(model: Crossed | Prefix) -> int:
    return model.config.decoder.vocab + model.config.extra_tokens


def _answer_as_transformers(model: Model, name: str) -> None:
    if not isinstance(model, Crossed) or not isinstance(model.config.encoder, TiledViTConfig):
        raise UserError(
            f"{name} is no Llama 3.2 Vision, so transformers has no other numbers for it: leave compat out."
        )
    answer_as(model, "hf")


def home_of(name: str, say: Say) -> Path:
    """The folder that a name means; a run's folder means the model that the run ended with."""
    path = Path(name)
    if (path / "run.json").is_file():
        if not (path / "model").is_dir():
            raise UserError(
                f"The run in {path} has not finished yet; go on with it by the chiasm train command "
                "that began it."
            )
        return path / "model"
    if name in PARTS or path.exists() or is_hub_id(name):
        return part_home(name, say)
    raise UserError(
        f'There is neither a model folder nor a built-in model called "{name}".'
        f"{did_you_mean(name, PARTS)} Built in is {LANGUAGE_MODEL}; "
        "one with eyes is made by: chiasm train first_light"
    )


def is_ours(home: Path) -> bool:
    """Whether a folder holds a model that Chiasm composed."""
    config = home / "config.json"
    return config.is_file() and str(read_json(config).get("model_type")).startswith("chiasm_")


def _load_composed(
    home: Path, dtype: torch.dtype, say: Say, merge: bool
) -> tuple[Model, Processor]:
    loaded = load_model(home, dtype, say=say, merge=merge)
    config, told = loaded.model.config, loaded.config
    # Folders of models without eyes for videos, and those written before there were any, name no frames.
    frames = from_record(FrameRule, told.get("frames") or {}, str(home / "config.json"))
    processor = make_processor(home, config, load_transform(home), told.get("system"), frames)
    return loaded.model, processor


def save_trained(assembled: Assembled, run: Run, path: Path, facts: dict[str, Any]) -> None:
    """Write what a run ended with: the parts that did not learn are referred to, the others carried.

    A part whose adapters alone learned is referred to as well, and its adapters are carried.
    """
    learned = [
        name
        for name, parameter in assembled.model.named_parameters()
        if parameter.requires_grad and not is_adapter(name)
    ]
    frozen = {
        part: getattr(run.model, part)
        for part in ("decoder", "encoder")
        if part not in run.model.new and not any(name.startswith(f"{part}.") for name in learned)
    }
    frames = assembled.processor.frames
    told = {} if frames is None else {"frames": as_record(frames)}
    with tempfile.TemporaryDirectory() as folder:
        assembled.processor.save(Path(folder))
        files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
    save_model(
        assembled.model,
        path,
        config={"system": run.model.system, **told, **facts},
        files=files,
        parts=frozen,
        dtype=torch.bfloat16,
    )
