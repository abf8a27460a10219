"""Which command was meant, and what its end means to the shell."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from chiasm import __version__
from chiasm.base.errors import UserError, did_you_mean

WRONG_INPUT, INTERRUPTED, UNREAD = 2, 130, 141
"""Exit codes: the input was wrong; Ctrl-C; nobody reads on (the last two as a shell counts signals)."""

SILENCED = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What libraries would report about us, or draw over our own progress; the user's choice wins."""


@dataclass(frozen=True)
class Command:
    """A command: the file and function that do it, and what the help says."""

    home: str
    does: str
    example: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "pull": Command("pull", "fetch the built-in model, eyes and benchmark", "chiasm pull"),
        "curate": Command(
            "curate", "make clean training data, with receipts", "chiasm curate FOLDER --out clean"
        ),
        "train": Command("train", "teach a language model to see", "chiasm train first_light"),
        "chat": Command(
            "chat", "ask about pictures, or just talk", 'chiasm chat cat.png "What is it?"'
        ),
        "eval": Command(
            "measure", "measure answers to held-out questions", "chiasm eval --limit 500"
        ),
        "render": Command(
            "render", "draw pictures with questions", "chiasm render scenes --count 1000"
        ),
        "dialogue": Command(
            "dialogue",
            "make conversations and comparisons",
            "chiasm dialogue write FOLDER --out talks",
        ),
        "inspect": Command("inspect", "show parts, sizes and memory", "chiasm inspect first_light"),
        "swap": Command(
            "swap",
            "put another language model under trained adapters",
            "chiasm swap MODEL LANGUAGE_MODEL NEW_FOLDER",
        ),
        "export": Command("export", "write a model for other programs", "chiasm export MODEL OUT"),
        "convert": Command(
            "convert",
            "write a model with smaller weights",
            "chiasm convert MODEL small --quantise int8",
        ),
        "check": Command(
            "check", "prove that text is left unchanged", "chiasm check text-identity"
        ),
        "doctor": Command("doctor", "look at this machine and installation", "chiasm doctor"),
    }
)


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words of a command line (sys.argv by default) ask for; return the exit code.

    0 done, 1 a check failed or a fault of ours, 2 wrong input, 130 Ctrl-C, 141 nobody reads on.
    """
    for name, value in SILENCED.items():
        os.environ.setdefault(name, value)
    try:
        code = dispatch(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
        return code
    except UserError as error:
        return _end(f"chiasm: {error}", WRONG_INPUT)
    except KeyboardInterrupt:
        return _end("chiasm: stopped by Ctrl-C.", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except SystemExit as done:  # help was shown, or nobody reads our lines any more
        return done.code if isinstance(done.code, int) else 0
    except Exception:
        traceback.print_exc()
        return _end("chiasm: this is a fault of ours; please report it with the lines above.", 1)


def dispatch(words: list[str]) -> int:
    """Call the command that the first word names with the others."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"chiasm {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        raise UserError(
            f'There is no command "{name}".{did_you_mean(name, COMMANDS)} '
            f"There are {', '.join(COMMANDS)}; chiasm --help says what they do."
        )
    command: Callable[[list[str]], int] = import_module(f"chiasm.cli.{COMMANDS[name].home}").main
    return command(words[1:])


def overview() -> str:
    """Return the first page of help: what Chiasm is, and every command with an example."""
    wide = max(len(command.example) for command in COMMANDS.values())
    rows = (f"  {command.example:<{wide}}   {command.does}" for command in COMMANDS.values())
    return "\n".join(
        [
            f"Chiasm {__version__} gives language models eyes.",
            "",
            *rows,
            "",
            "Each explains itself: chiasm COMMAND --help. A new user runs them in this order.",
        ]
    )


def _end(text: str, code: int) -> int:
    """Say the last line on stderr, unless nobody listens there either."""
    try:
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code
