"""`chiasm swap`: another language model under trained adapters, with scores before and after."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read

if TYPE_CHECKING:
    from chiasm.recipes.swap import Swapped

ABOUT = """Put another language model of equal shape under a model's trained adapters.

Example:
  chiasm swap runs/first_light my-finetuned-smollm2 first_light_tuned

Words: the model with eyes, the language model that comes in, the new folder. Shapes and tokenizers are
compared first. Both models are then measured: how likely plain sentences are, and how many questions
about pictures are answered right; without pictures the new model must be its new language model, bit
for bit."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm swap`."""

    names: Words = ()
    """The model with eyes, the language model that comes in, the new model's folder."""
    questions: int = 200
    """Questions of easy-vqa that are asked before and after."""
    json: Flag = False
    """Print the scores as JSON for programs."""


def main(words: list[str]) -> int:
    """Swap the language models that the words name."""
    options = read("chiasm swap", words, Options(), ABOUT)
    if len(options.names) != 3:
        raise UserError("Name three: chiasm swap MODEL LANGUAGE_MODEL NEW_FOLDER")
    if options.questions < 1:
        raise UserError(f"--questions is {options.questions}, but must be at least 1.")
    model, decoder, target = options.names
    if Path(target).exists():
        raise UserError(f"{target} exists already; name a new folder.")
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    from chiasm.recipes.swap import swap

    done = swap(model, decoder, Path(target), options.questions, say)
    if options.json:
        print(json_.dumps(done.record(), indent=2))
    else:
        print("\n".join(lines(done)))
        say(f"Wrote {target}.")
    return 0 if all(finding.ok for finding in done.identity) else 1


def lines(done: Swapped) -> list[str]:
    """Return the scores in words."""
    rows = [f"{'':<38}{'before':>9}{'after':>9}"]
    for key, name in (
        ("text", "log-probability of a token of text"),
        ("right", "right answers about pictures"),
        ("blank", "the same, pictures blank"),
    ):
        rows.append(f"{name:<38}{getattr(done.before, key):>9.4f}{getattr(done.after, key):>9.4f}")
    ok = all(finding.ok for finding in done.identity)
    said = "is" if ok else "IS NOT"
    return [*rows, "", f"Without pictures it {said} its new language model, bit for bit."]
