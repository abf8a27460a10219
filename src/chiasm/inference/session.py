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

from chiasm.inference.engine import Engine, Row
from chiasm.inference.sampling import Sampling
from chiasm.inputs.batch import PixelsOf, pad
from chiasm.inputs.chat import Rendered, Renderer, Span
from chiasm.inputs.message import Message, Shown, Text
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
        self._cache.rewind(held)
        memories = (self._cache.pictures, self._cache.clips)
        for memory, span in zip(memories, _seen_by(prompt, held), strict=True):
            memory.rewind(span[1], span)
        self._read = replace(prompt, ids=list(prompt.ids))
        return self._cache, behind(prompt, held)


def agreement(old: Rendered, new: Rendered) -> int:
    """How many tokens of `new` can be taken from a cache of `old`; at least one is left to read.

    Tokens agree when they are the same and see the same pictures and videos.
    """
    same = (_alike(old.pictures, new.pictures), _alike(old.clips, new.clips))
    held = 0
    for t in range(min(len(old.ids), len(new.ids) - 1)):
        # What the model said itself sees what the prompt's last token saw.
        sees = old.sees(t)
        known = all(span[1] <= count for span, count in zip(sees, same, strict=True))
        if old.ids[t] != new.ids[t] or sees != new.sees(t) or not known:
            break
        held += 1
    return held


def _alike(old: Sequence[Shown], new: Sequence[Shown]) -> int:
    """How many pictures, or videos, two conversations have in common from their first one on."""
    pairs = zip(old, new, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a.key != b.key), min(len(old), len(new)))


def _seen_by(prompt: Rendered, held: int) -> tuple[Span, Span]:
    """Pictures and videos that the last of the first `held` tokens sees."""
    return prompt.sees(held - 1) if held else ((0, 0), (0, 0))


def behind(prompt: Rendered, held: int) -> Rendered:
    """Return what stands behind the first `held` tokens; it counts pictures from the first new one.

    So it does videos. Who sees a new picture and old ones sees them from a negative number on.
    """
    (_, pictures), (_, clips) = _seen_by(prompt, held)
    return Rendered(
        prompt.ids[held:],
        prompt.trained[held:],
        prompt.pictures[pictures:],
        _counted_from(pictures, prompt.seen[held:]),
        prompt.clips[clips:],
        _counted_from(clips, prompt.watched[held:]),
    )


def _counted_from(old: int, spans: Sequence[Span]) -> list[Span]:
    # Who sees none of the new ones is said to see none: the cache knows what the newest token saw.
    return [(a - old, b - old) if b > max(a, old) else (0, 0) for a, b in spans]
