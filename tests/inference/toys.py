"""What the tests of this room share: models in fp64, prompts, and answers worked out the slow way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chiasm.inference.engine import Engine
from chiasm.inputs.batch import pad
from chiasm.inputs.chat import Rendered
from chiasm.inputs.message import Picture, Video
from chiasm.testing import (
    VOCAB,
    toy_crossed,
    toy_decoder,
    toy_picture,
    toy_pixels,
    toy_prefix,
    toy_rendered,
    toy_tokenizer,
    toy_video,
    toy_video_config,
)


def toy_watching(**changes: Any) -> Any:
    """A cross-attention model with eyes for pictures and videos."""
    return toy_crossed(video=toy_video_config(), **changes)


KINDS = {
    "crossed": toy_crossed,
    "video": toy_watching,
    "prefix": toy_prefix,
    "decoder": toy_decoder,
}
SEEING = ("crossed", "video", "prefix")
ENDS = frozenset(range(0, VOCAB, 11))
"""Many tokens end an answer, so that rows of a batch end at different times."""


def model_of(kind: str, **changes: Any) -> Any:
    """A toy model in fp64: two ways to compute the same token never disagree about it."""
    return KINDS[kind](**changes).double().eval()


def engine_of(model: Any, context: int = 200, stop_ids: frozenset[int] = ENDS) -> Engine:
    return Engine(model, stop_ids, context, toy_tokenizer())


def shown_as(model: Any, number: int) -> Picture | Video:
    """The picture of a number; to a model with eyes for videos, odd numbers are videos."""
    watches = getattr(model.config, "video_token", None) is not None
    return toy_video(number) if watches and number % 2 else toy_picture(number)


def prompt_of(model: Any, seed: int, numbers: Sequence[int] = (), tokens: int = 9) -> Rendered:
    """Random tokens, with what these numbers show at random places."""
    shown = [shown_as(model, number) for number in numbers]
    pictures = [one for one in shown if isinstance(one, Picture)]
    videos = [one for one in shown if isinstance(one, Video)]
    places = model.config.places() if pictures else 1
    return toy_rendered(seed, pictures, videos, tokens=tokens, places=places)


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
                clips = None if vision.clips is None else longer(vision.clips)
                vision = longer(replace(vision, clips=clips))
    return said


def longer(record: Any) -> Any:
    """Vision or Clips of one token more, which sees what the newest one saw."""
    return replace(record, spans=torch.cat((record.spans, record.spans[:, -1:]), dim=1))


def never(picture: Any) -> Tensor:
    raise AssertionError("no picture was to be read")
