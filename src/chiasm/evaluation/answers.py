"""The engine as an answerer of many questions: what they have in common is read once.

    ▣a "what?"     ┐                    ┌ "what?"      ─► circle
    ▣a "is it red?"├─► read ▣a ▣b once ─┤ "is it red?" ─► no      each question reads on from a copy
    ▣b "what?"     ┘                    └ "what?"      ─► square  of what its picture left in the cache

With a unified embedding, where a picture is dozens of tokens, most of a benchmark's work is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from chiasm.evaluation.runner import Answer
from chiasm.evaluation.task import Prompt
from chiasm.inference.engine import Engine, lots
from chiasm.inference.sampling import Sampling
from chiasm.inference.session import behind
from chiasm.inputs.batch import PixelsOf, pad
from chiasm.inputs.chat import Rendered
from chiasm.inputs.processor import Processor

Beginning: TypeAlias = tuple[tuple[int, ...], tuple[str, ...]]
"""Token ids up to a prompt's last picture or video, and the keys of all that it shows."""


def answers(
    engine: Engine, processor: Processor, *, max_tokens: int = 32, batch: int = 64
) -> Answer:
    """Return the answerer that lets an engine speak: greedily, so a prompt has one answer.

    A prompt that was answered before is not run again: with blank pictures, a benchmark of 9,673
    questions has 107 different prompts. `batch`: the most prompts in one pass of the model. Raises
    UserError for a prompt that fills the model's context, MediaError for a picture.
    """
    sampling = Sampling(max_tokens=max_tokens)
    marks = processor.renderer.marks
    known: dict[tuple[tuple[int, ...], tuple[str, ...]], str] = {}

    def answer(prompts: Sequence[Prompt]) -> list[str]:
        rendered = [processor.prompt(prompt) for prompt in prompts]
        keys = [(tuple(one.ids), one.keys) for one in rendered]
        new = {key: one for key, one in zip(keys, rendered, strict=True) if key not in known}
        names, asked = list(new), list(new.values())
        for one in asked:
            engine.check(one)
        for lot in lots(asked, batch):
            chosen = [asked[place] for place in lot]
            said = _lot(engine, chosen, marks, processor.pixels_of, sampling)
            known.update(zip((names[place] for place in lot), said, strict=True))
        return [known[key] for key in keys]

    return answer


def _lot(
    engine: Engine,
    prompts: Sequence[Rendered],
    marks: frozenset[int],
    pixels_of: PixelsOf,
    sampling: Sampling,
) -> list[str]:
    rows = [engine.row(sampling, len(prompt.ids), place) for place, prompt in enumerate(prompts)]
    room = max(row.room for row in rows)
    cache, logits = read_once(engine, prompts, marks, pixels_of, room)
    for _ in engine.speak(cache, logits, list(rows)):
        pass
    return [row.answer().text for row in rows]


def read_once(
    engine: Engine,
    prompts: Sequence[Rendered],
    marks: frozenset[int],
    pixels_of: PixelsOf,
    room: int,
) -> tuple[Any, Tensor]:
    """Read prompts, and what several have in common up to their last picture or video only once.

    marks  ids that mark places of pictures and videos

    Returns the cache, a row per prompt with room for `room` more tokens, and logits [rows, vocab].
    The answers are those of reading every prompt whole; rounding differs as it does between any two
    sizes of a batch.
    """
    cuts = [_behind_pictures(prompt, marks) for prompt in prompts]
    rests = [behind(prompt, cut) for prompt, cut in zip(prompts, cuts, strict=True)]
    # Padding is read too, so the longest rest needs its room behind the longest beginning.
    capacity = max(cuts) + max(len(rest.ids) for rest in rests) + room
    beginnings: dict[Beginning, int] = {}
    owners = [
        beginnings.setdefault((tuple(prompt.ids[:cut]), prompt.keys), len(beginnings))
        for prompt, cut in zip(prompts, cuts, strict=True)
    ]
    if len(beginnings) == len(prompts) or min(cuts) == 0:
        cache = engine.model.cache(len(prompts), capacity)
        return cache, engine.read(cache, pad(prompts, pixels_of))
    firsts = [owners.index(number) for number in range(len(beginnings))]
    cache = engine.model.cache(len(beginnings), capacity)
    engine.read(cache, pad([prompts[i].until(cuts[i]) for i in firsts], pixels_of))
    cache.keep(torch.tensor(owners, device=engine.device))
    return cache, engine.read(cache, pad(rests, pixels_of))


def _behind_pictures(prompt: Rendered, marks: frozenset[int]) -> int:
    """How many tokens stand up to and with the last place of a picture or video; 0 without any."""
    places = [place for place, token in enumerate(prompt.ids) if token in marks]
    return places[-1] + 1 if places else 0
