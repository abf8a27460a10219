"""`chiasm chat`: one question, a conversation, or answers about sample pictures."""

from __future__ import annotations

import json as json_
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read
from chiasm.cli.choose import seeing_model

if TYPE_CHECKING:
    from chiasm.cli.talk import Talk
    from chiasm.inputs.message import Picture

ABOUT = """Ask about pictures, or just talk.

Examples:
  chiasm chat "What is the capital of France?"
  chiasm chat circle.png "What shape is in the picture?"
  chiasm chat circle.png                 a conversation about a picture
  chiasm chat clip.mp4 "What happens?"   a video, where the model has eyes for videos; else its first frame
  chiasm chat                            a conversation; /help lists its commands
  chiasm chat --samples                  answers about pictures that the model was not trained on

Without --model, text goes to SmolLM2 as it is, and pictures to the newest finished run in runs/."""

PICTURES = (".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
"""Names of files that we read."""
NO_QUESTION = (".avif", ".heic", ".jxl", ".pdf", ".svg", ".tif", ".tiff")
"""Names of files that nobody asks as a question, though we do not read them."""
_PATHS = ("./", "../", "/", "~/")


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm chat`."""

    words: Words = ()
    """Pictures (JPEG, PNG, WebP, GIF, BMP), videos (MP4, MOV, WebM, MKV, AVI), one question in quotes."""
    model: Annotated[str, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = ""
    """A run's folder, a model folder, or a built-in name."""
    max_tokens: int = 256
    """Longest answer, in tokens."""
    temperature: float = 0.0
    """How much chance is in an answer; 0 takes the most likely word every time."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """The same seed gives the same answer again."""
    system: Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")] = ""
    """What the model is told before the conversation."""
    samples: Flag = False
    """Answer questions about sample pictures of easy-vqa."""
    json: Flag = False
    """Print the answer as JSON for programs."""


def main(words: list[str]) -> int:
    """Answer one question, or hold a conversation."""
    options = read("chiasm chat", words, Options(), ABOUT)
    paths, question = sort(options.words)
    from chiasm.base.log import keep_stdout_clean

    keep_stdout_clean()  # stdout is for answers
    if options.samples:
        if options.words:
            raise UserError(
                "--samples brings its own pictures and questions; give none, or leave it out."
            )
        from chiasm.cli.samples import show

        return show(seeing_model(options.model), options.json)
    if options.json and not question:
        raise UserError(
            '--json answers one question: give it in quotes, chiasm chat "Why?" --json.'
        )
    pictures = [_picture(path) for path in paths]
    talk = _begin(options, seeing=bool(pictures))
    # What is wrong with one of them is said before anything else happens.
    talk.pictures = [talk.look(picture) for picture in pictures]
    if question:
        return _answer_once(talk, question, options.json)
    from chiasm.cli.terminal import converse

    return converse(talk, lambda: None if options.model else _begin(options, seeing=True))


def sort(words: Sequence[str]) -> tuple[list[str], str]:
    """Return which words are pictures, and the question ("" when there is none)."""
    if any(not word.strip() for word in words):
        raise UserError("The question is empty; say something.")
    pictures = [word for word in words if _is_path(word)]
    questions = [word for word in words if not _is_path(word)]
    if len(questions) > 1:
        raise UserError(
            f'"{questions[0]}" and "{questions[1]}" are neither pictures nor one question; '
            'put the question in quotes: chiasm chat cat.png "What is it?"'
        )
    return pictures, "".join(questions).strip()


def _is_path(word: str) -> bool:
    """Whether a word is meant as a file: there is one, or it looks like a path and not a sentence."""
    looks = word.lower().endswith((*PICTURES, *VIDEOS, *NO_QUESTION)) or word.startswith(_PATHS)
    return os.path.exists(word) or (looks and word.strip().count(" ") <= 3)


def _picture(path: str) -> Picture:
    """Open a picture before a model is loaded: a wrong path should not cost seconds."""
    from chiasm.inputs.message import Picture

    picture = Picture(path=os.path.expanduser(path))
    picture.read()
    return picture


def _begin(options: Options, seeing: bool) -> Talk:
    """Load the model that is meant; `seeing`, one that can look at pictures."""
    from chiasm.cli.talk import begin
    from chiasm.inference.sampling import Sampling
    from chiasm.recipes.loading import LANGUAGE_MODEL

    record: dict[str, Any] = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    sampling = from_record(Sampling, record | {"seed": options.seed}, "chat")
    name = seeing_model(options.model) if seeing else options.model or LANGUAGE_MODEL
    talk = begin(name, sampling, options.system)
    if seeing and not talk.sees:
        raise UserError(
            f"{name} has no eyes, so it cannot look at pictures: leave --model out to use your own "
            "run, or name a model that sees."
        )
    return talk


def _answer_once(talk: Talk, question: str, as_json: bool) -> int:
    began = time.monotonic()
    pieces = []
    for piece in talk.session.ask(talk.messages(question), talk.sampling):
        pieces.append(piece)
        if not as_json:
            sys.stdout.write(piece)
            sys.stdout.flush()
    if as_json:
        told = {
            "question": question,
            "pictures": [str(Path(shown.path or "")) for shown in talk.pictures],
            "answer": "".join(pieces),
            "model": talk.name,
            "seconds": round(time.monotonic() - began, 3),
        }
        print(json_.dumps(told, ensure_ascii=False, indent=2))
    else:
        print()
    return 0
