"""`chiasm dialogue`: conversations and comparisons to align a model with."""

from __future__ import annotations

import json as json_
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli.arguments import Flag, Words, read
from chiasm.data.dialogue.templates import TemplateSettings

if TYPE_CHECKING:
    from chiasm.recipes.dialogue import Outcome

ABOUT = """Make data to align a model with: conversations as shards, comparisons as preferences.

Examples:
  chiasm dialogue import talks.jsonl --out talks      people's conversations and comparisons, checked
  chiasm dialogue template easy-vqa --out phrased     questions with short answers, phrased as people talk
  chiasm dialogue write holidays/ --out written       questions that a language model writes from captions
  chiasm dialogue perturb phrased --out bad.parquet   each right answer beside one made wrong by one change

Each explains itself: chiasm dialogue import --help. What cannot be used is counted with its reason; a command
that was stopped goes on where it was."""
Place: TypeAlias = Annotated[Path, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
Limit: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
Kind: TypeAlias = Literal["number", "colour", "object", "direction", "negation"]


@dataclass(frozen=True)
class Import:
    """What can be said to `chiasm dialogue import`."""

    names: Words = ()
    """A .json, .jsonl or .parquet file of conversations or comparisons."""
    out: Place = Path()
    """The folder that is made, or gone on with."""
    licence: str = ""
    """SPDX identifier to write into the shards."""
    json: Flag = False
    """Print what came of it as JSON for programs."""


@dataclass(frozen=True)
class Template:
    """What can be said to `chiasm dialogue template`."""

    settings: Annotated[TemplateSettings, tyro.conf.arg(name="")]
    """How questions are phrased."""
    names: Words = ()
    """easy-vqa, a folder of pictures with questions, or Parquet."""
    out: Place = Path()
    """The folder that is made, or gone on with."""
    limit: Limit = None
    """Most records to read."""
    licence: str = ""
    """SPDX identifier to write into the shards."""
    json: Flag = False
    """Print what came of it as JSON for programs."""


@dataclass(frozen=True)
class Write:
    """What can be said to `chiasm dialogue write`."""

    names: Words = ()
    """Pictures with captions: a folder, a list, Parquet, tar, or data:NAME."""
    out: Place = Path()
    """The folder that is made, or gone on with."""
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "smollm2-135m-instruct"
    """The language model that writes: a built-in name or a folder."""
    count: int = 3
    """Questions asked for each caption."""
    limit: Limit = None
    """Most captions to read."""
    json: Flag = False
    """Print what came of it as JSON for programs."""


@dataclass(frozen=True)
class Perturb:
    """What can be said to `chiasm dialogue perturb`."""

    names: Words = ()
    """Conversations: a folder of shards, or a .parquet file."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = Path()
    """The .parquet file that is made."""
    kinds: tuple[Kind, ...] = ("number", "colour", "object", "direction", "negation")
    """Kinds of changes, drawn for each answer among those that fit."""
    seed: int = 0
    """Another seed makes other changes."""
    json: Flag = False
    """Print what came of it as JSON for programs."""


def main(words: list[str]) -> int:
    """Make what the first word names."""
    if not words or words[0] in ("-h", "--help"):
        print(ABOUT)
        return 0
    verb = words[0]
    if verb not in VERBS:
        raise UserError(
            f'chiasm dialogue cannot "{verb}".{did_you_mean(verb, VERBS)} It can {", ".join(VERBS)}.'
        )
    return VERBS[verb](words[1:])


def _import(words: list[str]) -> int:
    options = read("chiasm dialogue import", words, Import(), ABOUT)
    name = _named(options, "import FILE --out FOLDER")
    from chiasm.recipes.dialogue import import_file

    return _tell(import_file(Path(name), options.out, options.licence), "rows", options.json)


def _template(words: list[str]) -> int:
    options = read("chiasm dialogue template", words, Template(TemplateSettings()), ABOUT)
    name = _named(options, "template SOURCE --out FOLDER")
    from chiasm.base.log import say
    from chiasm.recipes.dialogue import from_templates

    given = (options.settings, options.limit, options.licence, say)
    return _tell(from_templates(name, options.out, *given), "records", options.json)


def _write(words: list[str]) -> int:
    options = read("chiasm dialogue write", words, Write(), ABOUT)
    name = _named(options, "write SOURCE --out FOLDER")
    if options.count < 1:
        raise UserError(f"--count is {options.count}, but must be at least 1.")
    from chiasm.base.log import say
    from chiasm.data.dialogue.written import WrittenSettings
    from chiasm.recipes.dialogue import write_with

    given = (options.model, WrittenSettings(count=options.count), options.limit, say)
    outcome = write_with(name, options.out, *given, lambda done: say(f"{done:,} captions read"))
    return _tell(outcome, "captions", options.json)


def _perturb(words: list[str]) -> int:
    options = read("chiasm dialogue perturb", words, Perturb(), ABOUT)
    name = _named(options, "perturb SHARDS --out FILE")
    if not options.kinds:
        raise UserError("Name at least one kind of changes behind --kinds.")
    from chiasm.recipes.dialogue import perturb_shards

    outcome = perturb_shards(name, options.out, options.kinds, options.seed)
    return _tell(outcome, "conversations", options.json)


VERBS: dict[str, Callable[[list[str]], int]] = {
    "import": _import,
    "template": _template,
    "write": _write,
    "perturb": _perturb,
}


def _named(options: Import | Template | Write | Perturb, usage: str) -> str:
    """Return what is to be read, when that and the place of the result are named."""
    if len(options.names) != 1 or options.out == Path():
        raise UserError(f"Say what to read and where to write: chiasm dialogue {usage}")
    limit = getattr(options, "limit", None)
    if limit is not None and limit < 1:
        raise UserError(f"--limit is {limit}, but must be at least 1.")
    if options.json:
        from chiasm.base.log import keep_stdout_clean

        keep_stdout_clean()
    return options.names[0]


def _tell(outcome: Outcome, what: str, json: bool) -> int:
    from chiasm.base.log import say
    from chiasm.recipes.dialogue import REASONS

    if json:
        print(json_.dumps(outcome.record(), indent=2))
        return 0
    tally = outcome.tally
    made = "preferences" if not outcome.manifest else "conversations"
    say(f"{tally.read:,} {what} gave {tally.made:,} {made}, in {outcome.place}.")
    for name, count in outcome.counts.items():
        say(f"{count:7,}  {name}")
    if tally.refused:
        say("Not used:")
    for reason, count in tally.refused.most_common():
        say(f"{count:7,}  {reason}: {tally.examples.get(reason) or REASONS.get(reason, '')}")
    if outcome.manifest:
        say(f"Manifest hash: {outcome.manifest}")
    return 0
