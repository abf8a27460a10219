"""A model that is being talked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chiasm.inference.sampling import Sampling
from chiasm.inference.session import Session
from chiasm.inputs.message import Message, Part, Picture, Shown, Text
from chiasm.recipes.answering import engine_of
from chiasm.recipes.loading import load


@dataclass
class Talk:
    """A loaded model, how it speaks, and the pictures and videos that wait for the next question."""

    name: str
    session: Session
    sampling: Sampling
    system: str
    sees: bool
    """Whether the model has eyes."""
    look: Callable[[Picture], Shown]
    """Gives what the model can see of a file; raises a UserError for one that cannot be used."""
    pictures: list[Shown] = field(default_factory=list)

    def messages(self, question: str) -> list[Message]:
        """The messages of the next turn: waiting pictures before the question."""
        first = self.system and not self.session.history
        told = [Message("system", (Text(self.system),))] if first else []
        parts: tuple[Part, ...] = (*self.pictures, Text(question))
        return [*told, Message("user", parts)]


def begin(name: str, sampling: Sampling, system: str) -> Talk:
    """Load a model and begin a conversation with it."""
    model, processor = load(name)
    session = Session(engine_of(model, processor), processor.renderer, processor.pixels_of)
    sees = processor.transform is not None

    def look(picture: Picture) -> Shown:
        shown = processor.shown(picture)
        processor.pixels_of(shown)
        return shown

    return Talk(name, session, sampling, system, sees, look)
