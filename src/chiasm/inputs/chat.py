"""One renderer of conversations: messages to ids, what is learned, and who sees which picture.

    messages     user: ▣ "what?"                assistant: "a cat"
    pieces       <|im_start|> user⏎ ▣ what? <|im_end|> ⏎ <|im_start|> assistant⏎ a cat <|im_end|> ⏎
    trained      ·            ·     · ·     ·          · ·            ·          ● ●   ●          ·
    seen         –            –     0 0     0          0 0            0          0 0   0          0

Masks come from the pieces, never from searching text, and text is tokenised once: what stands
between two control tokens is one string for the tokenizer, so the ids are those that the model was
trained with (the same as tokenising what the model's jinja template writes). Llama 3's header ends
before its text begins, also where a message begins with a newline, as in Meta's own code.

A token that holds both the header's last newline and white space that begins an answer is not
trained: when the model speaks, the header has been given and that token cannot come. It exists only
where a format keeps white space around messages (ChatML does, Llama 3 does not).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chiasm.base.errors import UserError
from chiasm.inputs.chat_format import ChatFormat, Control, DefaultSystem, Piece, Words
from chiasm.inputs.message import Message, Part, Picture, Sample
from chiasm.inputs.tokenizer import Tokenizer

Attend: TypeAlias = Literal["last", "only_last", "all_previous"]
"""Which pictures a token sees: the newest run of them, the newest one alone, all before it."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as a model reads it; `ids`, `trained` and `seen` have one entry per token."""

    ids: list[int]
    """Token ids."""
    trained: list[bool]
    """Whether the model learns to produce this token: the assistant's words and its end token."""
    pictures: tuple[Picture, ...]
    """The conversation's pictures, in their order."""
    seen: list[tuple[int, int]]
    """Pictures that each token sees, as the span [first, behind the last); equal ends = none."""


class Renderer:
    """Turns conversations into ids, for training, evaluation, chat and server alike.

    A picture becomes `places(picture)` copies of `image_token`, where its part stands; nothing is
    written around it. Which pictures it and the tokens behind it see:

    "last"          the newest; pictures that follow each other without a token between them are seen
                    together by what follows, and each of them sees those before it (Meta's
                    `create_vision_mask`, llama-models)
    "only_last"     the newest alone, even of several that follow each other (Flamingo, section 2.3)
    "all_previous"  all that stand before, and itself
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        format: ChatFormat,
        image_token: int,
        places: Callable[[Picture], int],
        default_system: DefaultSystem = "template",
        attend: Attend = "last",
    ) -> None:
        self.tokenizer = tokenizer
        self.format = format
        self.image_token = image_token
        self.places = places
        self.default_system = default_system
        self.attend = attend
        try:
            self._ids = {name: tokenizer.control(name) for name in format.controls()}
        except KeyError as missing:
            raise UserError(
                f"The tokenizer has no control token {missing}, which the {format.name} chat "
                "format needs; tokenizer and chat template are of different models."
            ) from None

    @property
    def end(self) -> int:
        """Id of the token that ends a turn: where generation stops."""
        return self._ids[self.format.end]

    def render(self, sample: Sample) -> Rendered:
        """Return a sample for training; raises UserError when it has nothing to learn from."""
        rendered = self._lay(sample.messages, answer=False)
        if not any(rendered.trained):
            name = f"Sample {sample.key!r}" if sample.key else "A sample"
            raise UserError(
                f"{name} has no message of the assistant, so there is nothing to learn from it; "
                "add an answer or leave it out."
            )
        return rendered

    def prompt(self, messages: Sequence[Message]) -> Rendered:
        """Return a conversation that ends where the assistant is to speak."""
        return self._lay(messages, answer=True)

    def plain(self, parts: Sequence[Part]) -> Rendered:
        """Return text and pictures for a base model to continue: no speakers, no end."""
        laying = _Laying(self)
        for piece in self.format.plain(parts):
            laying.add(piece)
        return laying.done()

    def _lay(self, messages: Sequence[Message], answer: bool) -> Rendered:
        laying = _Laying(self)
        for piece in self.format.pieces(messages, answer, self.default_system):
            laying.add(piece)
        return laying.done()


class _Laying:
    """A conversation on its way to ids; words wait until a token that is no text ends their run."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._words: list[Words] = []
        self._ids: list[int] = []
        self._trained: list[bool] = []
        self._seen: list[tuple[int, int]] = []
        self._pictures: list[Picture] = []
        self._span = (0, 0)
        self._after_picture = False

    def add(self, piece: Piece) -> None:
        if isinstance(piece, Words):
            if piece.alone:
                self._spell()
            self._words.append(piece)
            if piece.alone:
                self._spell()
            return
        self._spell()
        if isinstance(piece, Control):
            self._put([self._renderer._ids[piece.name]], [piece.learned])
            return
        n = len(self._pictures)
        self._pictures.append(piece)
        self._span = (self._first_seen(n), n + 1)
        self._put([self._renderer.image_token] * self._renderer.places(piece), None)
        self._after_picture = True

    def _first_seen(self, new: int) -> int:
        """The first picture that is seen from the place of picture `new` on."""
        if self._renderer.attend == "all_previous":
            return 0
        together = self._renderer.attend == "last" and self._after_picture
        return self._span[0] if together else new

    def done(self) -> Rendered:
        self._spell()
        return Rendered(self._ids, self._trained, tuple(self._pictures), self._seen)

    def _spell(self) -> None:
        """Tokenise the waiting words as one string; a token belongs to the words it begins in."""
        ids, starts = self._renderer.tokenizer.spell("".join(w.text for w in self._words))
        learned = [w.learned for w in self._words for _ in w.text]
        self._words = []
        if ids:
            self._put(ids, [learned[start] for start in starts])

    def _put(self, ids: list[int], trained: list[bool] | None) -> None:
        self._ids += ids
        self._trained += trained or [False] * len(ids)
        self._seen += [self._span] * len(ids)
        self._after_picture = False
