"""How model families write conversations down, and which of those ways a chat template is.

    ChatML    <|im_start|>user⏎Hello<|im_end|>⏎<|im_start|>assistant⏎
    Llama 3   <|begin_of_text|><|start_header_id|>user<|end_header_id|>⏎⏎Hello<|eot_id|>...

A format is a structure, not a template: it yields control tokens, words and what is shown one by one, so
that nobody ever has to search a written conversation for its parts. A model's own jinja template is
only used once, to find out which format it writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic
from chiasm.inputs.message import Message, Part, Shown, Text
from chiasm.inputs.template import render

DefaultSystem: TypeAlias = str | Literal["template"] | None
"""System message of a conversation without one: what the template does, none, or this text."""


@dataclass(frozen=True)
class Control:
    """A control token, by name."""

    name: str
    learned: bool = False


@dataclass(frozen=True)
class Words:
    """Plain text of a message, or of the format itself."""

    text: str
    learned: bool = False
    alone: bool = False
    """Whether they become tokens by themselves, not in one run with the words around them."""


Piece: TypeAlias = Control | Words | Shown


@dataclass(frozen=True)
class ChatFormat:
    """How a model family writes conversations down."""

    name: str
    """What people call it."""
    begin: tuple[str, ...]
    """Control tokens that stand once, before everything."""
    open: str
    """Control token before the speaker's role."""
    close: str | None
    """Control token after the role."""
    after_role: str
    """Text between the header and what is said."""
    end: str
    """Control token that ends a turn: the last one that the model learns to say."""
    after_end: str
    """Text after a turn."""
    stripped: tuple[str, ...] = ()
    """Roles whose words lose the white space around them."""
    system: str | None = None
    """What the system says when the conversation has no system message; None = nothing."""
    system_with_pictures: bool = True
    """Whether `system` also stands in conversations that hold pictures or videos."""
    preamble: str = ""
    """What stands before the system's words, whoever wrote them."""
    alone: bool = False
    """Whether the text after the role becomes tokens by itself, whatever is said next."""
    source: str = field(default="", repr=False, compare=False)
    """The jinja template that this format was recognised from."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ChatFormat:
        """Recognise the format of a model folder's chat template; raises UserError."""
        config = _tokenizer_config(Path(folder))
        path = Path(folder) / "chat_template.jinja"
        source = _read(path) or config.get("chat_template")
        if not isinstance(source, str):
            raise UserError(
                f"{path} does not exist: this model was not taught to converse. "
                "Use its instruct version."
            )
        return recognise(source, _named_tokens(config))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write chat_template.jinja into a folder."""
        write_atomic(Path(folder) / "chat_template.jinja", self.source)

    def controls(self) -> tuple[str, ...]:
        """Names of the control tokens that this format uses."""
        return (*self.begin, self.open, *([self.close] if self.close else []), self.end)

    def pieces(
        self,
        messages: Sequence[Message],
        answer: bool,
        default_system: DefaultSystem = "template",
    ) -> Iterator[Piece]:
        """Yield a conversation piece by piece; with `answer` it ends where the model speaks."""
        for name in self.begin:
            yield Control(name)
        for role, parts in self._turns(messages, default_system):
            learned = role == "assistant"
            yield from self._header(role)
            for part in parts:
                yield Words(part.text, learned) if isinstance(part, Text) else part
            yield Control(self.end, learned)
            yield Words(self.after_end)
        if answer:
            yield from self._header("assistant")

    def plain(self, parts: Sequence[Part]) -> Iterator[Piece]:
        """Yield parts that a model is to continue, without speakers: base models."""
        for name in self.begin:
            yield Control(name)
        for part in parts:
            yield Words(part.text) if isinstance(part, Text) else part

    def _header(self, role: str) -> Iterator[Piece]:
        yield Control(self.open)
        yield Words(role)
        if self.close:
            yield Control(self.close)
        yield Words(self.after_role, alone=self.alone)

    def _turns(
        self, messages: Sequence[Message], default_system: DefaultSystem
    ) -> Iterator[tuple[str, tuple[Part, ...]]]:
        """Yield who speaks and what, the system's words in their place."""
        turns = [(message.role, self._said(message)) for message in messages]
        system: tuple[Part, ...] | None = None
        if turns and turns[0][0] == "system":
            system = turns.pop(0)[1]
        elif default_system != "template":
            if default_system is not None:
                system = self._said(Message("system", (Text(default_system),)))
        elif self.system is not None:
            pictures = any(isinstance(part, Shown) for _, parts in turns for part in parts)
            if self.system_with_pictures or not pictures:
                system = (Text(self.system),)
        if system is not None:
            yield "system", (Text(self.preamble), *system)
        yield from turns

    def _said(self, message: Message) -> tuple[Part, ...]:
        """A message's parts, neighbouring texts joined, without outer white space if so written."""
        parts: list[Part] = []
        for part in message.parts:
            before = parts[-1] if parts else None
            if isinstance(part, Text) and isinstance(before, Text):
                parts[-1] = Text(before.text + part.text)
            else:
                parts.append(part)
        if message.role in self.stripped:
            for place, strip in ((0, str.lstrip), (-1, str.rstrip)):
                if parts and isinstance(edge := parts[place], Text):
                    parts[place] = Text(strip(edge.text))
        return tuple(parts)


# ── which format a template writes ───────────────────────────────────────────────────────────────

CHATML = ChatFormat("ChatML", (), "<|im_start|>", None, "\n", "<|im_end|>", "\n")
LLAMA3 = ChatFormat(
    "Llama 3",
    ("<|begin_of_text|>",),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "\n\n",
    "<|eot_id|>",
    "",
    alone=True,  # a message that begins with a newline must not melt into the header's (Meta's code)
)
_STRIPPED = ((), ("system", "user", "assistant"), ("system",))

_SMOLLM2 = replace(
    CHATML,
    system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
)
# Templates that were recognised before: no process is started for them.
_KNOWN = {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788": _SMOLLM2}
_verdicts: dict[str, ChatFormat] = {}

_MARK = "\0"
_BRIEF = "Be brief."
_ODD = '  {{ x }} <b>&amp;</b> "it\'s" </think> é 漢字 🙂\n\t'
_PROBES: tuple[tuple[tuple[tuple[str, str], ...], bool], ...] = (
    ((("user", "Who?"),), True),
    ((("system", _BRIEF), ("user", "Who?")), True),
    ((("user", "Who?"),), False),
    ((("system", _BRIEF), ("user", "Who?"), ("assistant", "I.")), False),
    ((("user", "Who?"), ("assistant", "I."), ("user", "You?"), ("assistant", "Me.")), False),
    ((("user", "Who?"), ("assistant", "I."), ("user", "You?")), True),
    ((("system", "\n a "), ("user", "\n b "), ("assistant", "\n c "), ("user", " d")), True),
    ((("user", _ODD), ("assistant", _ODD), ("user", _ODD)), True),
    ((("system", _ODD), ("user", ""), ("assistant", ""), ("user", "?")), True),
)
_PICTURE_PROBE = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}
]


def recognise(source: str, tokens: dict[str, str]) -> ChatFormat:
    """Return the format that a jinja chat template writes; raises UserError when we know none.

    Candidates are compared with what the template renders, in a sandbox under limits, for probe
    conversations: the format returned writes each of them letter for letter. `tokens` are the
    tokenizer's named tokens (`bos_token`, ...), which templates may use.
    """
    key = sha256(source.encode()).hexdigest()
    if key in _KNOWN:
        return replace(_KNOWN[key], source=source)
    key += json.dumps(tokens, sort_keys=True)
    if key not in _verdicts:
        _verdicts[key] = replace(_probe(source, tokens), source=source)
    return _verdicts[key]


def _probe(source: str, tokens: dict[str, str]) -> ChatFormat:
    conversations = [
        {
            "messages": [{"role": role, "content": text} for role, text in turns],
            "add_generation_prompt": answer,
        }
        for turns, answer in _PROBES
    ]
    pictured = {"messages": _PICTURE_PROBE, "add_generation_prompt": True}
    *texts, with_picture = render(source, [*conversations, pictured], tokens)
    for family in (CHATML, LLAMA3):
        for stripped in _STRIPPED:
            chat = _with_system_of(replace(family, stripped=stripped), texts)
            if chat and all(
                _write(chat, turns, answer) == text
                for (turns, answer), text in zip(_PROBES, texts, strict=True)
            ):
                quiet = chat.system is not None and _is_quiet(chat, with_picture)
                return replace(chat, system_with_pictures=not quiet)
    raise UserError(
        "The model's chat template writes neither ChatML nor Llama 3's format, which are those "
        "that Chiasm knows; use another model."
    )


def _with_system_of(chat: ChatFormat, texts: Sequence[str | None]) -> ChatFormat | None:
    """Read the default system message and the preamble off the first two probes."""
    alone, given = texts[0], texts[1]
    if alone is None or given is None:
        return None
    # What stands around the system's words, taken from a message that stands for them.
    around = _write(chat, (("system", _MARK), *_PROBES[0][0]), True).split(_MARK)
    words = _between(given, *around)
    if words is None or not words.endswith(_BRIEF):
        return None
    chat = replace(chat, preamble=words.removesuffix(_BRIEF))
    if alone == _write(chat, *_PROBES[0]):
        return chat
    words = _between(alone, *around)
    if words is None or not words.startswith(chat.preamble):
        return None
    return replace(chat, system=words.removeprefix(chat.preamble))


def _is_quiet(chat: ChatFormat, text: str | None) -> bool:
    """Whether the template drops the default system message when there is a picture."""
    if text is None:
        return False  # it knows no pictures
    without = _write(replace(chat, system=None), (("user", _MARK + "Who?"),), True)
    return _between(text, *without.split(_MARK)) is not None


def _between(text: str, before: str, after: str) -> str | None:
    fits = text.startswith(before) and text.endswith(after) and len(text) >= len(before + after)
    return text[len(before) : len(text) - len(after)] if fits else None


def _write(chat: ChatFormat, turns: Sequence[tuple[str, str]], answer: bool) -> str:
    messages = [Message(role, (Text(text),)) for role, text in turns]
    pieces = chat.pieces(messages, answer)
    return "".join(
        p.name if isinstance(p, Control) else p.text for p in pieces if not isinstance(p, Shown)
    )


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        config = json.loads(_read(path) or "{}")
    except ValueError:
        raise UserError(f"{path} is not valid JSON; fetch the model again.") from None
    return config if isinstance(config, dict) else {}


def _read(path: Path) -> str | None:
    """A file's text, or None when there is no such file."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path} cannot be read as text; fetch the model again.") from None


def _named_tokens(config: dict[str, Any]) -> dict[str, str]:
    """The tokens that templates call by name; each is a string, or a record that holds one."""
    named = {name: value for name, value in config.items() if name.endswith("_token")}
    texts = {n: v.get("content") if isinstance(v, dict) else v for n, v in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
