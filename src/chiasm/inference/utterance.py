"""Tokens to text while they arrive: whole characters only, and nothing of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from chiasm.inputs.tokenizer import Tokenizer


class Utterance:
    """An answer's text as it grows.

    stop = ("\\n\\n",)     tokens  "Hi" "!\\n" "\\n" "There"
                          push    "Hi" "!"   ""   (stopped: the rest is not part of the answer)

    Text that may be the beginning of a stop text is held back until it is known.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.text = ""
        """Everything that `push` and `finish` returned."""
        self.stopped = False
        """Whether a stop text was met."""
        self._stream = tokenizer.stream()
        self._stop = tuple(stop)
        self._waiting = ""

    def push(self, token: int) -> str:
        """Take a token and return the text that is now certain, which may be empty."""
        if self.stopped:
            return ""
        return self._release(self._stream.push(token), final=False)

    def finish(self) -> str:
        """Return what was held back; the answer has ended."""
        return "" if self.stopped else self._release(self._stream.finish(), final=True)

    def _release(self, new: str, final: bool) -> str:
        waiting = self._waiting + new
        found = [at for stop in self._stop if (at := waiting.find(stop)) >= 0]
        if found:
            self.stopped, ready = True, min(found)
        elif final:
            ready = len(waiting)
        else:
            ready = len(waiting) - max((_begun(waiting, stop) for stop in self._stop), default=0)
        self._waiting = "" if self.stopped else waiting[ready:]
        self.text += waiting[:ready]
        return waiting[:ready]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
