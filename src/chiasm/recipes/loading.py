"""A model and its processor, from wherever models lie, and back onto the disk."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from chiasm.base.device import pick_device, pick_dtype
from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.log import say as say_aloud
from chiasm.checkpoint.builtin import PARTS
from chiasm.checkpoint.composed import load_model, part_home, save_model
from chiasm.checkpoint.folder import load_decoder
from chiasm.checkpoint.weights import read_json
from chiasm.inputs.chat_format import ChatFormat
from chiasm.inputs.processor import Processor
from chiasm.inputs.tiles import load_transform
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.recipes.answering import Model
from chiasm.recipes.parts import Assembled, Say
from chiasm.recipes.settings import Run

LANGUAGE_MODEL = "smollm2-135m-instruct"
"""What speaks when no model is named and there is nothing to look at."""


def load(
    name: str | Path, device: str = "auto", dtype: str = "auto", say: Say = say_aloud
) -> tuple[Model, Processor]:
    """Load a model and the processor that feeds it.

    name  a run's folder, a model folder of ours, a transformers-layout Llama folder or GGUF file's
          folder, or a built-in name; a model without eyes gets a processor that refuses pictures

    Weights are on `device` in `dtype`. Raises UserError when there is no such model.
    """
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    model: Model
    home = home_of(str(name), say)
    if _is_ours(home):
        model, processor = _load_composed(home, kind, say)
    else:
        model = load_decoder(home, kind)[0]
        processor = Processor(Tokenizer.load(home), ChatFormat.load(home))
    return model.eval().to(place), processor


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
    if name in PARTS or path.exists():
        return part_home(name, say)
    raise UserError(
        f'There is neither a model folder nor a built-in model called "{name}".'
        f"{did_you_mean(name, PARTS)} Built in is {LANGUAGE_MODEL}; "
        "one with eyes is made by: chiasm train first_light"
    )


def _is_ours(home: Path) -> bool:
    config = home / "config.json"
    return config.is_file() and str(read_json(config).get("model_type")).startswith("chiasm_")


def _load_composed(home: Path, dtype: torch.dtype, say: Say) -> tuple[Model, Processor]:
    loaded = load_model(home, dtype, say=say)
    transform = load_transform(home)
    config = loaded.model.config
    processor = Processor(
        Tokenizer.load(home),
        ChatFormat.load(home),
        transform,
        image_token=config.image_token,
        places=partial(config.places, transform.size),
        default_system=loaded.config.get("system"),
    )
    return loaded.model, processor


def save_trained(assembled: Assembled, run: Run, path: Path, facts: dict[str, Any]) -> None:
    """Write what a run ended with: the parts that did not learn are referred to, the others carried."""
    frozen = {
        name: getattr(run.model, name)
        for name in ("decoder", "encoder")
        if not any(p.requires_grad for p in getattr(assembled.model, name).parameters())
    }
    with tempfile.TemporaryDirectory() as folder:
        assembled.processor.save(Path(folder))
        files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
    save_model(
        assembled.model,
        path,
        config={"system": run.model.system, **facts},
        files=files,
        parts=frozen,
        dtype=torch.bfloat16,
    )
