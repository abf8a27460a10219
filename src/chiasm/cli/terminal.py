"""A conversation in the terminal, or with a program that writes lines into a pipe."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.log import say
from chiasm.cli.talk import Talk
from chiasm.inputs.message import Picture

HELP = """/image PATH   show a picture, still or moving, with the next message
/reset        forget the conversation
/quit         leave (or Ctrl-D)
Ctrl-C        stop an answer"""
COMMANDS = ("/image", "/reset", "/quit", "/help")


def converse(talk: Talk, with_eyes: Callable[[], Talk | None]) -> int:
    """Talk until the input ends; `with_eyes` gives a model that sees when this one does not.

    Answers go to stdout as they come, everything else to stderr. What is wrong with one message is
    said, and the conversation goes on.
    """
    person = sys.stdin.isatty()
    if person:
        with suppress(ImportError):  # line editing, where Python was built with it
            import readline  # noqa: F401
        say(f"You are talking to {talk.name}. /help lists the commands; Ctrl-D leaves.")
    for line in _lines(person):
        try:
            if line == "/quit":
                break
            if line.startswith("/"):
                talk = _command(talk, line, with_eyes)
            elif line:
                answer(talk, line)
        except UserError as error:
            say(f"{error}")
    return 0


def _lines(person: bool) -> Iterator[str]:
    """What is typed, line by line; a Ctrl-C at the prompt only clears the line."""
    while True:
        try:
            yield (input("> ") if person else input()).strip()
        except EOFError:
            if person:
                print()
            return
        except KeyboardInterrupt:
            if not person:
                raise
            say("\n(Ctrl-D or /quit leaves)")


def _command(talk: Talk, line: str, with_eyes: Callable[[], Talk | None]) -> Talk:
    name, _, rest = line.partition(" ")
    if name == "/image":
        return _show(talk, rest.strip().strip("'\""), with_eyes)
    if name == "/reset":
        talk.session.reset()
        talk.pictures.clear()
        say("Forgotten.")
    elif name == "/help":
        say(HELP)
    else:
        raise UserError(f"There is no command {name}.{did_you_mean(name, COMMANDS)} See /help.")
    return talk


def _show(talk: Talk, path: str, with_eyes: Callable[[], Talk | None]) -> Talk:
    """Let a picture wait for the next message; wake a model with eyes if this one has none."""
    if not path:
        raise UserError("Which picture? /image PATH")
    picture = Picture(path=os.path.expanduser(path))
    picture.read()
    if not talk.sees:
        other = with_eyes()
        if other is None:
            raise UserError(f"{talk.name} has no eyes; start again with a --model that sees.")
        say(f"{talk.name} has no eyes, so you are now talking to {other.name}.")
        other.session.history = list(talk.session.history)
        talk = other
    talk.pictures.append(talk.look(picture))  # what is wrong with it is said now
    say(f"{picture.name} is shown with your next message.")
    return talk


def answer(talk: Talk, question: str) -> None:
    """Print the answer as it comes; Ctrl-C ends it early, and what was said stays said."""
    pieces = talk.session.ask(talk.messages(question), talk.sampling)
    with interruption() as stopped:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
            if stopped():
                assert isinstance(pieces, Generator)
                pieces.close()
                sys.stdout.write(" …")
                break
    talk.pictures.clear()
    print(flush=True)


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question, so that no pass is cut in half; a second one is itself."""
    came = False

    def note(number: int, frame: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)
