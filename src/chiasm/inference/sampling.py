"""From logits to a token: greedy, or drawn at random under limits."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from chiasm.base.config import Settings

_MOST = 1024
"""Candidates that nearly always hold the mass of `top_p`; the whole vocabulary is sorted only if not."""


class Sampling(Settings):
    """How an answer's tokens are chosen, and where it ends."""

    temperature: float = Field(default=0.0, ge=0.0)
    """Logits are divided by it before drawing; 0 takes the most likely token every time."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the fewest likely tokens that hold this share of the probability."""
    top_k: int = Field(default=0, ge=0)
    """Draw from this many most likely tokens; 0 for all."""
    max_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """The same seed gives the same answer, whatever else is in the batch; without one, each differs."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the answer; they are not part of it."""


class Chooser:
    """One answer's choice of tokens, with its own source of chance."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._source = torch.Generator().manual_seed(seed)

    @property
    def greedy(self) -> bool:
        """Whether no chance is involved."""
        return self.sampling.temperature == 0.0

    def draw(self, logits: Tensor) -> int:
        """Return a token for logits [vocab]."""
        if self.greedy:
            return int(logits.argmax())
        logits = logits.double() / self.sampling.temperature
        weights, tokens = likeliest(logits, self.sampling.top_k, self.sampling.top_p)
        heap = weights.cumsum(0)
        # One number between 0 and 1 per token: the next draw does not depend on how this one fell.
        chance = torch.rand((), generator=self._source, dtype=torch.float64).to(heap.device)
        place = torch.searchsorted(heap, chance * heap[-1], right=True)
        return int(tokens[place.clamp(max=len(tokens) - 1)])


def choose(logits: Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """Return a token for each row of logits [rows, vocab]."""
    if all(chooser.greedy for chooser in choosers):
        return logits.argmax(-1).tolist()
    return [chooser.draw(row) for chooser, row in zip(choosers, logits, strict=True)]


def likeliest(logits: Tensor, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Return weights and token ids that may be drawn from logits [vocab]: top_k first, then top_p of it."""
    vocab = len(logits)
    weights = (logits - logits.max()).exp()
    if not 0 < top_k < vocab and top_p == 1.0:
        return weights, torch.arange(vocab, device=logits.device)
    count = min(top_k or _MOST, vocab)
    kept, tokens = weights.topk(count)
    total = weights.sum() if top_k == 0 else kept.sum()
    if top_k == 0 and kept.sum() < top_p * total:
        kept, tokens = weights.sort(descending=True)
    # A token stays when those before it do not yet hold enough: the likeliest one always does.
    stay = kept.cumsum(0) - kept < top_p * total
    return kept[stay], tokens[stay]
