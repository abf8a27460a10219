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
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from chiasm.base.errors import UserError
from chiasm.inputs.chat_format import ChatFormat, Control, DefaultSystem, Piece, Words
from chiasm.inputs.message import Message, Part, Picture, Sample, Shown, Video
from chiasm.inputs.tokenizer import Tokenizer

Attend: TypeAlias = Literal["last", "only_last", "all_previous"]
"""Which pictures a token sees: the newest run of them, the newest one alone, all before it."""
Span: TypeAlias = tuple[int, int]
"""First picture or clip, and the one behind the last; equal ends = none."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as a model reads it; `ids`, `trained`, `seen` have one entry per token.

    So has `watched`, unless the conversation holds no video: then it may be empty.
    """

    ids: list[int]
    """Token ids."""
    trained: list[bool]
    """Whether the model learns to produce this token: the assistant's words and its end token."""
    pictures: tuple[Picture, ...]
    """The conversation's pictures, in their order."""
    seen: list[Span]
    """Pictures that each token sees."""
    clips: tuple[Video, ...] = ()
    """The conversation's videos, in their order."""
    watched: list[Span] = field(default_factory=list)
    """Videos that each token sees."""

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Its pictures, and then its videos."""
        return (*self.pictures, *self.clips)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all that it shows."""
        return tuple(one.key for one in self.shown)

    def sees(self, token: int) -> tuple[Span, Span]:
        """Pictures and videos that a token sees; what is said behind the last one sees what it saw."""
        seen, watched = (
            spans[min(token, len(spans) - 1)] if spans else (0, 0)
            for spans in (self.seen, self.watched)
        )
        return seen, watched

    def until(self, length: int) -> Rendered:
        """Return the first `length` tokens of it, with all its pictures and videos."""
        names = ("ids", "trained", "seen", "watched")
        return replace(self, **{name: getattr(self, name)[:length] for name in names})


class Renderer:
    """Turns conversations into ids, for training, evaluation, chat and server alike.

    A picture becomes `places(picture)` copies of `image_token`, where its part stands, and a video one
    `video_token`; nothing is written around them. Which pictures it and the tokens behind it see:

    "last"          the newest; pictures that follow each other without a token between them are seen
                    together by what follows, and each of them sees those before it (Meta's
                    `create_vision_mask`, llama-models)
    "only_last"     the newest alone, even of several that follow each other (Flamingo, section 2.3)
    "all_previous"  all that stand before, and itself

    Videos are seen by the same rule and counted apart: one does not end what is seen of pictures.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        format: ChatFormat,
        image_token: int,
        places: Callable[[Picture], int],
        default_system: DefaultSystem = "template",
        attend: Attend = "last",
        video_token: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.format = format
        self.image_token = image_token
        self.places = places
        self.default_system = default_system
        self.attend = attend
        self.video_token = video_token
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

    @property
    def marks(self) -> frozenset[int]:
        """Ids that mark places of pictures and videos."""
        video = () if self.video_token is None else (self.video_token,)
        return frozenset((self.image_token, *video))

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
        """Return parts for a base model to continue: no speakers, no end."""
        laying = _Laying(self)
        for piece in self.format.plain(parts):
            laying.add(piece)
        return laying.done()

    def _lay(self, messages: Sequence[Message], answer: bool) -> Rendered:
        laying = _Laying(self)
        for piece in self.format.pieces(messages, answer, self.default_system):
            laying.add(piece)
        return laying.done()


def no_eyes_for(video: Video) -> UserError:
    """Return what to say when a model that has no eyes for videos is shown one."""
    return UserError(
        f"{video.name} cannot be shown: this model has no eyes for videos; show it a picture, or use a "
        "model that was composed with eyes for videos."
    )


class _Laying:
    """A conversation on its way to ids; words wait until a token that is no text ends their run."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._words: list[Words] = []
        self._ids: list[int] = []
        self._trained: list[bool] = []
        self._seen: list[Span] = []
        self._watched: list[Span] = []
        self._pictures: list[Picture] = []
        self._clips: list[Video] = []
        self._span: Span = (0, 0)
        self._clip_span: Span = (0, 0)
        self._after: type[Piece] | None = None

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
        together = self._after is type(piece)
        if isinstance(piece, Video):
            if self._renderer.video_token is None:
                raise no_eyes_for(piece)
            self._clips.append(piece)
            self._clip_span = self._grown(self._clip_span, together)
            self._put([self._renderer.video_token], None)
        else:
            self._pictures.append(piece)
            self._span = self._grown(self._span, together)
            self._put([self._renderer.image_token] * self._renderer.places(piece), None)
        self._after = type(piece)

    def _grown(self, span: Span, together: bool) -> Span:
        """What is seen from the place of one more picture on; `together`, it follows another one."""
        first, new = span
        if self._renderer.attend == "all_previous":
            return 0, new + 1
        return first if self._renderer.attend == "last" and together else new, new + 1

    def done(self) -> Rendered:
        self._spell()
        watched = self._watched if self._clips else []
        shown = (tuple(self._pictures), self._seen, tuple(self._clips), watched)
        return Rendered(self._ids, self._trained, *shown)

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
        self._watched += [self._clip_span] * len(ids)
        self._after = None
