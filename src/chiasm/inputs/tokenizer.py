"""Text to token ids and back, over a Hugging Face tokenizer.json.

"a <|im_end|> b" ── encode ──▶ ids of plain text: what people write is never control
"<|im_end|>" ────── control ─▶ the one id that ends a turn: only structure can ask for it
"""

from __future__ import annotations

import os
from pathlib import Path

import tokenizers

from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic

_COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json")
"""Files beside tokenizer.json that other programs need; we keep them as they are."""

_MAX_PENDING = 32
"""Tokens that a stream holds back at most: more than this without a whole character is garbage."""


class Tokenizer:
    """A tokenizer for which user text stays text; control tokens are had by name only.

    Made from a `tokenizers.Tokenizer`, which is left as it is, or from the text of a tokenizer.json.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer | str) -> None:
        self._json = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
        self._companions: dict[str, bytes] = {}
        self._inner = tokenizers.Tokenizer.from_str(self._json)
        # A file may ask for cutting, for padding, and for a BOS before every text: here the
        # renderer alone decides what stands where.
        self._inner.no_truncation()
        self._inner.no_padding()
        self._inner.post_processor = None
        self._inner.encode_special_tokens = True
        self._controls = {
            token.content: id
            for id, token in self._inner.get_added_tokens_decoder().items()
            if token.special
        }
        self._control_ids = frozenset(self._controls.values())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Read tokenizer.json of a model folder; raises UserError when that cannot be done."""
        path = Path(folder) / "tokenizer.json"
        try:
            tokenizer = cls(path.read_text("utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; a model folder needs its tokenizer.") from None
        except Exception:  # the library raises bare Exception for damaged files
            raise UserError(
                f"{path} is not a tokenizer that can be read; fetch the model again."
            ) from None
        for name in _COMPANIONS:
            if (companion := Path(folder) / name).is_file():
                tokenizer._companions[name] = companion.read_bytes()
        return tokenizer

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json, and the files that came beside it, into a folder."""
        write_atomic(Path(folder) / "tokenizer.json", self._json)
        for name, content in self._companions.items():
            write_atomic(Path(folder) / name, content)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, control tokens included."""
        return self._inner.get_vocab_size(with_added_tokens=True)

    @property
    def words(self) -> int:
        """The end of the ids of ordinary tokens: what a model's table must hold.

        Control tokens may lie behind it without rows of their own; some tokenizers bring one for padding.
        """
        ids = self._inner.get_vocab(with_added_tokens=True).values()
        return 1 + max((id for id in ids if id not in self._control_ids), default=-1)

    def ids(self) -> dict[str, int]:
        """Return the id of every token; two tokenizers with equal ids mean the same by a number."""
        return self._inner.get_vocab(with_added_tokens=True)

    def control(self, name: str) -> int:
        """Return the id of a control token such as "<|im_end|>"; raises KeyError when unknown."""
        return self._controls[name]

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text; literal control strings stay text. Raises UserError.

        Bytes that the vocabulary does not have are dropped, as in the tokenizers library: SmolLM2
        lacks six ASCII control characters, and the first bytes of planes without characters.
        """
        return self.spell(text)[0]

    def spell(self, text: str) -> tuple[list[int], list[int]]:
        """Return ids and, for each, where in `text` (in characters) its first character stands."""
        try:
            encoding = self._inner.encode(text, add_special_tokens=False)
        except TypeError:
            raise UserError(
                "The text holds half a character (a lone surrogate), which UTF-8 cannot carry; "
                "read it again with the right encoding."
            ) from None
        ids = encoding.ids
        if not self._control_ids.isdisjoint(ids):
            raise UserError(
                "This tokenizer turns plain text into a control token (its unknown token?), "
                "so people could forge turns; use another tokenizer."
            )
        return ids, [start for start, _ in encoding.offsets]

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids; control tokens and ids beyond the vocabulary leave no text."""
        return self._inner.decode(ids, skip_special_tokens=True)

    def stream(self) -> TextStream:
        """Return a decoder for one answer that arrives token by token."""
        return TextStream(self)


class TextStream:
    """Text of tokens that arrive one by one; `push` returns whole characters only."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._done: list[int] = []
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """Take a token and return the text that it completes, which may be empty."""
        self._pending.append(token)
        text = self._text()
        # A token may hold the first bytes of a character only; decoding shows U+FFFD for them.
        if text.endswith("\ufffd") and len(self._pending) < _MAX_PENDING:
            return ""
        self._done, self._pending = self._pending, []
        return text

    def finish(self) -> str:
        """Return what is left: U+FFFD where the last character never became whole."""
        text = self._text()
        self._done, self._pending = [], []
        return text

    def _text(self) -> str:
        # Some tokenizers drop the space of a text's first word: decode with what came before.
        before = self._tokenizer.decode(self._done)
        return self._tokenizer.decode(self._done + self._pending)[len(before) :]
