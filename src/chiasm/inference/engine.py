"""Prompts to answers: one pass over the prompts, then a token per row and pass until all are done.

    prompts ─ pad ─► [a a a .]  read   ┌► choose ─► stop? ─► rows that ended leave the cache
                     [b b b b] ──────► │                └──► model(new token of each row) ─┐
                     [c . . .]  logits └──────────────────────────◄────────────────────────┘

Rows are padded at the right and know their own lengths: the next token of row a stands behind its
third one, and what a row answers does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.base.vision import Vision
from chiasm.inference.sampling import Chooser, Sampling, choose
from chiasm.inference.utterance import Utterance
from chiasm.inputs.batch import Batch, PixelsOf, pad
from chiasm.inputs.chat import Rendered
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.nn import Cache

Reason = Literal["stop", "length"]


class Model(Protocol):
    """What the engine needs of a model: the house's one call signature, a head and a cache."""

    def __call__(
        self, tokens: Tensor, *, vision: Vision | None = None, cache: Cache | None = None
    ) -> Tensor: ...

    def head(self, features: Tensor) -> Tensor: ...

    def cache(self, rows: int, capacity: int) -> Cache: ...

    def parameters(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    ids: list[int]
    """Its tokens, without the one that ended it."""
    reason: Reason
    """"stop": it had finished, or met a stop text; "length": it was cut."""
    text: str
    """The text of `ids`, up to a stop text."""


@dataclass
class Row:
    """An answer that is being given."""

    place: int
    """Where the caller's list holds its prompt."""
    chooser: Chooser
    utterance: Utterance
    room: int
    """Tokens that it may have."""
    ids: list[int] = field(default_factory=list)
    reason: Reason | None = None
    piece: str = ""
    """Text that the newest token made certain."""

    def take(self, token: int, stop_ids: frozenset[int]) -> bool:
        """Count a token; return whether it belongs to the answer."""
        if token in stop_ids:
            self.reason = "stop"
            return False
        self.ids.append(token)
        self.piece = self.utterance.push(token)
        if self.utterance.stopped:
            self.reason = "stop"
        elif len(self.ids) == self.room:
            self.reason = "length"
        return True

    def answer(self) -> Answer:
        """Return the finished answer."""
        assert self.reason is not None
        self.utterance.finish()
        return Answer(self.ids, self.reason, self.utterance.text)


class Engine:
    """Lets a model answer; the model may be any of ours, packed by `prepack` or not.

    stop_ids   tokens that end an answer
    context    most tokens that prompt and answer may have together
    tokenizer  makes text of tokens
    """

    def __init__(
        self, model: Model, stop_ids: frozenset[int], context: int, tokenizer: Tokenizer
    ) -> None:
        self.model, self.stop_ids, self.context = model, stop_ids, context
        self.tokenizer = tokenizer
        self.device = next(iter(model.parameters())).device

    def generate(
        self,
        prompts: Sequence[Rendered],
        pixels_of: PixelsOf,
        sampling: Sampling,
        on_token: Callable[[int, int], None] | None = None,
        batch: int = 32,
    ) -> list[Answer]:
        """Return the answers to prompts, in their order.

        At most `batch` are answered at once: those about the same pictures and videos together, so that
        each is encoded once, else those of equal length, so that little is padded.
        `on_token(place, token)` is called as tokens come. Raises UserError for a prompt that leaves
        no room for an answer.
        """
        for prompt in prompts:
            self.check(prompt)
        answers: dict[int, Answer] = {}
        for lot in lots(prompts, batch):
            rows = [self.row(sampling, len(prompts[place].ids), place) for place in lot]
            chosen = [prompts[place] for place in lot]
            most = max(len(p.ids) + row.room for p, row in zip(chosen, rows, strict=True))
            cache = self.model.cache(len(lot), most)
            logits = self.read(cache, pad(chosen, pixels_of))
            for row, token in self.speak(cache, logits, rows):
                if on_token is not None:
                    on_token(row.place, token)
            answers |= {row.place: row.answer() for row in rows}
        return [answers[place] for place in range(len(prompts))]

    def stream(self, prompt: Rendered, pixels_of: PixelsOf, sampling: Sampling) -> Iterator[int]:
        """Yield the tokens of one answer as they come; errors as `generate`."""
        self.check(prompt)
        row = self.row(sampling, len(prompt.ids))
        cache = self.model.cache(1, len(prompt.ids) + row.room)
        logits = self.read(cache, pad([prompt], pixels_of))
        for _, token in self.speak(cache, logits, [row]):
            yield token

    def check(self, prompt: Rendered) -> None:
        """Raise UserError for a prompt that fills the context."""
        if len(prompt.ids) >= self.context:
            raise UserError(
                f"The conversation is {len(prompt.ids)} tokens long, but this model can hold "
                f"{self.context}, its answer included: shorten it, or start a new one."
            )

    def row(self, sampling: Sampling, held: int, place: int = 0) -> Row:
        """Return an answer yet to be given, to a prompt of `held` tokens."""
        utterance = Utterance(self.tokenizer, sampling.stop)
        room = min(sampling.max_tokens, self.context - held)
        return Row(place, Chooser(sampling), utterance, room)

    @torch.inference_mode()
    def read(self, cache: Cache, batch: Batch) -> Tensor:
        """Let the model read what follows in each row of the cache; return logits [rows, vocab].

        Only the head at each row's last token is computed.
        """
        batch = batch.to(self.device)
        if batch.lengths is None:
            raise ValueError("the engine reads padded batches, not packed ones")
        features = self.model(batch.tokens, vision=batch.vision, cache=cache)
        cache.advance(batch.lengths)
        last = features[torch.arange(len(features), device=self.device), batch.lengths - 1]
        return self.model.head(last)

    @torch.inference_mode()
    def speak(self, cache: Cache, logits: Tensor, rows: list[Row]) -> Iterator[tuple[Row, int]]:
        """Yield each row's tokens as they come, until all rows have a reason to end.

        The last token of an answer is not run through the model: the cache holds those before it.
        """
        while rows:
            tokens = choose(logits, [row.chooser for row in rows])
            for row, token in zip(rows, tokens, strict=True):
                if row.take(token, self.stop_ids):
                    yield row, token
            going = [i for i, row in enumerate(rows) if row.reason is None]
            if not going:
                return
            if len(going) < len(rows):
                rows, tokens = [rows[i] for i in going], [tokens[i] for i in going]
                cache.keep(torch.tensor(going, device=self.device))
            new = torch.tensor(tokens, device=self.device)[:, None]
            features = self.model(new, cache=cache)
            cache.advance(1)
            logits = self.model.head(features[:, -1])


def lots(prompts: Sequence[Rendered], size: int) -> Iterator[list[int]]:
    """Yield places of prompts, `size` at a time: who shows the same side by side, then by length."""
    shown = [prompt.keys for prompt in prompts]
    longest: dict[tuple[str, ...], int] = {}
    for keys, prompt in zip(shown, prompts, strict=True):
        longest[keys] = max(longest.get(keys, 0), len(prompt.ids))
    # Prompts without pictures are not held together by having none.
    leading = [longest[k] if k else len(p.ids) for k, p in zip(shown, prompts, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: (leading[i], shown[i], len(prompts[i].ids)))
    for start in range(0, len(order), size):
        yield order[start : start + size]
