"""A conversation that goes on: what was read once is not read again.

    turn 1   [system][user ▣ "what?"][assistant "a cat"]
    turn 2   [system][user ▣ "what?"][assistant "a cat"][user "and its colour?"][assistant …
             └──── same tokens, same pictures: cached ──┘└──── read now ────────┘

Every turn renders the whole conversation anew, finds how far the cache agrees with it, forgets the
rest and reads from there. So the result is that of reading everything, whatever way the answer's
text was cut into tokens when the model spoke it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chiasm.inference.engine import Engine, PixelsOf, Row
from chiasm.inference.sampling import Sampling
from chiasm.inputs.batch import pad
from chiasm.inputs.chat import Rendered, Renderer
from chiasm.inputs.message import Message, Text
from chiasm.nn import Cache

_STEP = 256
"""The cache grows by whole steps of this many tokens."""


class Session:
    """One conversation with a model; `history` holds what was said."""

    def __init__(self, engine: Engine, renderer: Renderer, pixels_of: PixelsOf) -> None:
        self.engine, self.renderer, self.pixels_of = engine, renderer, pixels_of
        self.history: list[Message] = []
        self._cache: Cache | None = None
        self._read = Rendered([], [], (), [])

    def ask(
        self, messages: Message | Sequence[Message], sampling: Sampling | None = None
    ) -> Iterator[str]:
        """Say something and return the answer, piece by piece, in whole characters.

        Question and answer enter `history` when the answer ends, or when the caller stops taking
        pieces: then with what was said until then. Raises UserError, before anything is read, when
        the conversation fills the model's context; the history is then as it was.
        """
        said = [messages] if isinstance(messages, Message) else list(messages)
        prompt = self.renderer.prompt([*self.history, *said])
        self.engine.check(prompt)
        row = self.engine.row(sampling or Sampling(), len(prompt.ids))
        return self._answer(said, prompt, row)

    def reset(self) -> None:
        """Forget the conversation."""
        self.history, self._cache = [], None
        self._read = Rendered([], [], (), [])

    def _answer(self, said: list[Message], prompt: Rendered, row: Row) -> Iterator[str]:
        try:
            yield from self._pieces(prompt, row)
        except Exception:
            self._cache = None  # it may hold half a pass
            raise
        finally:
            if (row.ids or row.reason) and self._cache is not None:
                answer = Message("assistant", (Text(row.utterance.text),))
                self.history += [*said, answer]

    def _pieces(self, prompt: Rendered, row: Row) -> Iterator[str]:
        cache, new = self._go_on(prompt, len(prompt.ids) + row.room)
        logits = self.engine.read(cache, pad([new], self.pixels_of))
        ids = self._read.ids
        for _, token in self.engine.speak(cache, logits, [row]):
            ids.append(token)
            if row.piece:
                yield row.piece
        if piece := row.utterance.finish():
            yield piece

    def _go_on(self, prompt: Rendered, capacity: int) -> tuple[Cache, Rendered]:
        """Bring the cache to where it agrees with a prompt; return it and what is left to read."""
        capacity = min(-(-capacity // _STEP) * _STEP, self.engine.context)
        if self._cache is None:
            self._cache = self.engine.model.cache(1, capacity)
        self._cache.grow(capacity)
        held = min(agreement(self._read, prompt), int(self._cache.lengths))
        span = prompt.seen[held - 1] if held else (0, 0)
        self._cache.rewind(held)
        self._cache.pictures.rewind(span[1], span)
        self._read = replace(prompt, ids=list(prompt.ids))
        return self._cache, behind(prompt, held)


def agreement(old: Rendered, new: Rendered) -> int:
    """How many tokens of `new` can be taken from a cache of `old`; at least one is left to read.

    Tokens agree when they are the same and see the same pictures.
    """
    same = 0
    for a, b in zip(old.pictures, new.pictures, strict=False):
        if a.key != b.key:
            break
        same += 1
    held = 0
    for t in range(min(len(old.ids), len(new.ids) - 1)):
        # What the model said itself sees what the prompt's last token saw.
        seen = old.seen[min(t, len(old.seen) - 1)]
        if old.ids[t] != new.ids[t] or seen != new.seen[t] or seen[1] > same:
            break
        held += 1
    return held


def behind(prompt: Rendered, held: int) -> Rendered:
    """Return what stands behind the first `held` tokens; it counts pictures from the first new one.

    Who sees a new picture and old ones sees them from a negative number on.
    """
    old = prompt.seen[held - 1][1] if held else 0
    # Who sees no new picture is said to see none: the cache knows what the newest token saw.
    seen = [(a - old, b - old) if b > max(a, old) else (0, 0) for a, b in prompt.seen[held:]]
    return Rendered(prompt.ids[held:], prompt.trained[held:], prompt.pictures[old:], seen)
