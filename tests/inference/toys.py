"""What the tests of this room share: models in fp64, prompts, and answers worked out the slow way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chiasm.base.vision import Vision
from chiasm.inference.engine import Engine
from chiasm.inputs.batch import pad
from chiasm.inputs.chat import Rendered
from chiasm.testing import (
    VOCAB,
    toy_crossed,
    toy_decoder,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_tokenizer,
)

KINDS = {"crossed": toy_crossed, "prefix": toy_prefix, "decoder": toy_decoder}
SEEING = ("crossed", "prefix")
ENDS = frozenset(range(0, VOCAB, 11))
"""Many tokens end an answer, so that rows of a batch end at different times."""


def model_of(kind: str, **changes: Any) -> Any:
    """A toy model in fp64: two ways to compute the same token never disagree about it."""
    return KINDS[kind](**changes).double().eval()


def engine_of(model: Any, context: int = 200, stop_ids: frozenset[int] = ENDS) -> Engine:
    return Engine(model, stop_ids, context, toy_tokenizer())


def prompt_of(model: Any, seed: int, pictures: Sequence[int] = (), tokens: int = 9) -> Rendered:
    """Random tokens, with the pictures of these numbers at random places."""
    config = model.config
    places = config.places() if pictures else 1
    return toy_rendered(seed, [toy_picture(n) for n in pictures], tokens=tokens, places=places)


def answer_without_cache(model: Any, prompt: Rendered, most: int) -> list[int]:
    """Greedy answer by running the whole text again for every token, alone and unpadded."""
    batch = pad([prompt], toy_pixels)
    tokens, vision, said = batch.tokens, batch.vision, []
    with torch.no_grad():
        while len(said) < most:
            token = int(model.head(model(tokens, vision=vision)[:, -1]).argmax())
            if token in ENDS:
                break
            said.append(token)
            tokens = torch.cat((tokens, torch.tensor([[token]])), dim=1)
            if vision is not None:
                spans = torch.cat((vision.spans, vision.spans[:, -1:]), dim=1)
                vision = Vision(spans, vision.pixels)
    return said


def never(picture: Any) -> Tensor:
    raise AssertionError("no picture was to be read")
