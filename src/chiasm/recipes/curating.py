"""What curation is made of: sources by their names, and the models that its steps ask.

    "data:openmoji" ─► a collection of the cache        model ──────────► both towers ─► embeddings
    a path ──────────► pairs(path)                      built-in eyes ──► embeddings of pictures alone
                                                        writer ─────────► captions

Both functions are called in every process of a curation; a model is loaded when a step first asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chiasm.base.errors import UserError
from chiasm.data.curation.recipe import Recipe
from chiasm.data.curation.records import encoded
from chiasm.data.curation.step import Pixels, Tools
from chiasm.data.pairing.opening import pairs
from chiasm.data.pairs import PairSource
from chiasm.data.rows import CAPTION_PROMPT
from chiasm.inputs.message import Message, Picture, Text

if TYPE_CHECKING:
    from torch import Tensor

EYES = "clip-vit-base-patch16"
"""The built-in eyes, which embed pictures where no two-tower model is named."""
COLLECTION = "data:"
"""Begins the name of a collection."""

WORDS = 64
"""Most tokens of a caption that a model writes."""

Vectors = NDArray[np.float32]


def open_source(name: str) -> PairSource:
    """Open a source by its name in a recipe: "data:NAME", or a path."""
    if name.startswith(COLLECTION):
        from chiasm.data.collections.table import collection

        return collection(name.removeprefix(COLLECTION))
    return pairs(name)


def tools(recipe: Recipe) -> Tools:
    """Return the models that a recipe's steps may ask; raises UserError when a folder is no model."""
    kinds = {step.kind for step in recipe.steps}
    writer, towers = recipe.writer, recipe.model
    for folder in filter(None, (writer, towers)):
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder of a model; check the path.")
    found = Tools(
        embed_pictures=_eyes,
        read_text=_reader() if kinds & {"reading", "clip"} else None,
        describe=None if writer is None else lambda pictures: _writer(writer)(pictures),
    )
    if towers is None:
        return found
    return replace(
        found,
        embed_pictures=lambda pictures: _towers(towers)[0](pictures),
        embed_texts=lambda texts: _towers(towers)[1](texts),
    )


def _reader() -> Callable[[Pixels], str] | None:
    from chiasm.data.curation.ocr import rapid_reader

    return rapid_reader()


# ---- pictures and texts to vectors -------------------------------------------------------------


def _eyes(pictures: Sequence[Pixels]) -> Vectors:
    """Embed pictures by the built-in eyes: their CLS vectors."""
    return _built_in()(pictures)


@cache
def _built_in() -> Callable[[Sequence[Pixels]], Vectors]:
    import torch

    from chiasm.checkpoint.builtin import pull
    from chiasm.checkpoint.folder import load_vit
    from chiasm.inputs.image import Transform

    home = pull(EYES)
    model, _ = load_vit(home, torch.float32)
    transform = Transform.load(home)

    def embed(pictures: Sequence[Pixels]) -> Vectors:
        with _computing():
            pixels = torch.cat([transform.pixels(picture)[0] for picture in pictures])
            return _unit(model(pixels)["final"][:, 0])

    return embed


@cache
def _towers(
    folder: Path,
) -> tuple[Callable[[Sequence[Pixels]], Vectors], Callable[[Sequence[str]], Vectors]]:
    import torch

    from chiasm.checkpoint.towers import load_dual
    from chiasm.inputs.image import Transform

    model, _ = load_dual(folder, torch.float32)
    transform = Transform.load(folder)
    spell = _speller(folder, model.config.text)

    def see(pictures: Sequence[Pixels]) -> Vectors:
        with _computing():
            pixels = torch.cat([transform.pixels(picture)[0] for picture in pictures])
            return _unit(model.encode_image(pixels))

    def say(texts: Sequence[str]) -> Vectors:
        with _computing():
            return _unit(torch.cat([model.encode_text(torch.tensor([spell(t)])) for t in texts]))

    return see, say


def _speller(folder: Path, config: Any) -> Callable[[str], list[int]]:
    """Return a function from a text to the tokens that a text tower was trained on."""
    import tokenizers

    path = folder / "tokenizer.json"
    try:
        words = tokenizers.Tokenizer.from_file(str(path))
    except Exception:  # the library raises bare Exception
        raise UserError(f"{path} cannot be read; a two-tower model needs its tokenizer.") from None
    words.encode_special_tokens = True  # what a caption spells is never control
    words.enable_truncation(config.context)
    if config.causal:
        words.no_padding()  # a causal tower does not see what stands behind the end
    else:
        padding = words.padding or {"pad_id": 1}
        words.enable_padding(length=config.context, pad_id=padding["pad_id"])

    def spell(text: str) -> list[int]:
        ids: list[int] = words.encode(text).ids
        return ids

    return spell


@cache
def _writer(folder: Path) -> Callable[[Sequence[Pixels]], list[str]]:
    """Let a model with eyes say what pictures show."""
    from chiasm.recipes.answering import answerer
    from chiasm.recipes.loading import load

    model, processor = load(folder, dtype="float32")
    answer = answerer(model, processor, max_tokens=WORDS)

    def describe(pictures: Sequence[Pixels]) -> list[str]:
        with _computing():
            asked = [
                [Message("user", (Picture(data=encoded(picture)), Text(CAPTION_PROMPT)))]
                for picture in pictures
            ]
            return answer(asked)

    return describe


@contextmanager
def _computing() -> Iterator[None]:
    """One thread and no gradients: the last digit may not depend on how many processors there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def _unit(vectors: Tensor) -> Vectors:
    from torch.nn import functional as F

    found: Vectors = F.normalize(vectors.float(), dim=-1).numpy()
    return found
