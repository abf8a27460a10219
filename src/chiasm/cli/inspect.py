"""`chiasm inspect`: parts, sizes, memory and FLOPs of a model or a recipe."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read
from chiasm.recipes.book import RECIPES, recipe

if TYPE_CHECKING:
    from chiasm.models.footprint import Training
    from chiasm.recipes.estimate import Sight
    from chiasm.recipes.report import Report

ABOUT = """Show what a model or a recipe consists of, and what it costs, before anything runs.

Examples:
  chiasm inspect first_light               a recipe (or a .yaml file): what will learn
  chiasm inspect runs/first_light          what a run ended with
  chiasm inspect smollm2-135m-instruct     a built-in part
  chiasm inspect llama-3.2-90b-vision --gpus 64
                                           a known model, by its sizes alone (docs/zoo.md lists them)
  chiasm inspect --decoder llama-3.1-8b --encoder siglip-so400m-patch14-384 --fusion prefix
                                           any language model with any eyes

FLOPs are two for each multiplication with its addition, of the forward pass alone."""

Name: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
Count: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm inspect`."""

    names: Words = ()
    """A recipe, a YAML file, a run's folder, a model folder, a built-in part or a known model."""
    decoder: Name = None
    """Instead of a name: the language model of a new composition."""
    encoder: Name = None
    """Its eyes."""
    fusion: Literal["crossed", "prefix"] = "crossed"
    """How they are joined: crosses before every fourth block, or pictures in the text."""
    recipe: Name = None
    """The recipe whose table says who learns; else all but the language model."""
    gpus: int = 1
    """How many devices learn together."""
    tokens: Count = None
    """How long the text is that costs are told for; 2,048 where the model holds as much."""
    known: Flag = False
    """Instead of a name: list all known models in one table."""
    tensors: Flag = False
    """List where each tensor comes from."""
    json: Flag = False
    """Print everything as JSON for programs."""


def main(words: list[str]) -> int:
    """Describe what the words name."""
    options = read("chiasm inspect", words, Options(), ABOUT)
    _check(options)
    from chiasm.base.log import keep_stdout_clean

    keep_stdout_clean()
    if options.known:
        from chiasm.recipes.gallery import gallery

        print("\n".join(gallery()))
        return 0
    report = _report(options)
    if options.json:
        print(json_.dumps(report.record(), indent=2))
    else:
        print("\n".join(lines(report)))
        if options.tensors:
            print(
                "\n".join(["", *(f"{key}  <-  {origin}" for key, origin in report.origins.items())])
            )
    return 0


def _check(options: Options) -> None:
    """Raise UserError unless the options name one thing, and count from one."""
    pair = (options.decoder is not None, options.encoder is not None)
    if len(options.names) + options.known + all(pair) != 1 or any(pair) != all(pair):
        raise UserError(
            "Name one model or recipe: chiasm inspect first_light; or both --decoder and --encoder; "
            "or --known, to see what there is."
        )
    for option, number in (("--gpus", options.gpus), ("--tokens", options.tokens)):
        if number is not None and number < 1:
            raise UserError(f"{option} is {number}, but must be at least 1.")


def _report(options: Options) -> Report:
    from chiasm.base.log import say
    from chiasm.recipes.estimate import Question
    from chiasm.recipes.report import of_model, of_pair, of_recipe

    asked = Question(options.gpus, options.tokens)
    if options.decoder is not None and options.encoder is not None:
        names = (options.decoder, options.encoder, options.fusion)
        return of_pair(*names, asked, say, options.recipe)
    name = options.names[0]
    if name in RECIPES or name.endswith((".yaml", ".yml")):
        return of_recipe(recipe(name), asked, say, options.recipe)
    return of_model(name, asked, say, options.recipe)


# ---- in words ----------------------------------------------------------------------------------


def lines(report: Report) -> list[str]:
    """Return the report in words."""
    where = "computed in {} on this machine" if report.origins else "sizes alone, in {}"
    found = [f"{report.name} ({report.kind}), {where.format(report.dtype)}", ""]
    rows = [["part", "parameters", "learn", ""]]
    for part in report.portions:
        source = f"from {part.source}" if part.source not in ("", "new") else part.source
        rows.append([part.name, f"{part.parameters:,}", f"{part.learns:,}", source])
        if part.name in ("encoder", report.kind):
            large = (
                (n, count) for n, count in part.pieces.items() if count > part.parameters // 500
            )
            rows += [[f"  {name}", f"{count:,}", "", ""] for name, count in large]
    if len(report.portions) > 1:
        learns = sum(part.learns for part in report.portions)
        rows.append(["all", f"{report.parameters:,}", f"{learns:,}", ""])
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    for name, *numbers, source in rows:
        cells = [f"{name:<{wide[0]}}", *map("{:>{}}".format, numbers, wide[1:]), source]
        found.append("  ".join(["", *cells]).rstrip())
    return [*found, "", *_layouts(report), *_costs(report)]


def _layouts(report: Report) -> Iterator[str]:
    if report.encoder_by_tables:
        told = report.encoder_by_tables
        yield (
            f"the eyes        {told['shapes']:,} parameters as transformers stores their tile tables, "
            f"{told['grid']:,} as Meta does"
        )


def _costs(report: Report) -> Iterator[str]:
    for sight in report.pictures:
        yield _picture(sight, len(report.pictures) > 1)
    if (clip := report.video) is not None:
        yield (
            f"a video         {clip.frames} frames, {clip.vectors} vectors; takes 1 token of the text, "
            f"{_size(clip.bytes)} of memory and {_flops(clip.flops)}"
        )
    if report.bytes_per_1k_tokens is not None:
        yield f"1,000 tokens    {_size(report.bytes_per_1k_tokens)} of memory"
    if (text := report.text) is not None:
        seeing = "{}, {} with a picture" if text.prefill_seeing_flops is not None else "{}"
        read_ = seeing.format(*map(_flops, (text.prefill_flops, text.prefill_seeing_flops or 0)))
        said = seeing.format(*map(_flops, (text.decode_flops, text.decode_seeing_flops or 0)))
        yield f"{text.tokens:,} tokens".ljust(16) + f"to read: {read_}"
        yield "a word".ljust(16) + f"after them: {said}"
    if report.context is not None:
        yield f"at most         {report.context:,} tokens in a conversation"
    yield from _memory(report)


def _picture(sight: Sight, tiled: bool) -> str:
    takes = _flops(sight.flops)
    if sight.places:
        tokens = f"{sight.places:,} token{'s' if sight.places > 1 else ''} of the text"
        takes = f"{tokens}, {_size(sight.bytes)} of memory and {takes}"
    tiles = f"{sight.tiles} tile{'s' if sight.tiles > 1 else ''} of " if tiled else ""
    return (
        f"a picture       {tiles}{sight.size} x {sight.size} pixels, {sight.vectors:,} vectors; "
        f"takes {takes}"
    )


def _memory(report: Report) -> Iterator[str]:
    learning, serving = report.learning, report.serving
    shown = [f"{learning.tokens:,} tokens"] if learning.tokens else []
    if learning.tiles:
        shown.append(f"a picture of {learning.tiles} tile{'s' if learning.tiles > 1 else ''}")
    each = f"each of {learning.gpus:,} GPUs" if learning.gpus > 1 else "one device"
    yield (
        f"to learn        {learning.table}, {' and '.join(shown)} at once: {each} holds "
        f"{_size(learning.kept.total)}"
    )
    yield "".ljust(16) + _told(learning.kept)
    yield "".ljust(16) + (
        f"{_size(learning.recomputed.total)} when blocks are computed again on the way back "
        f"(activations {_size(learning.recomputed.activations)})"
    )
    told = ", ".join(f"{_size(count)} as {kind}" for kind, count in serving.weights.items())
    yield f"to run          weights {told}"
    if serving.tokens:
        yield "".ljust(16) + f"and {_size(serving.conversation)} for {serving.tokens:,} tokens"


def _told(training: Training) -> str:
    parts = {k: count for k, count in training.record().items() if k != "total" and count}
    return ", ".join(f"{name} {_size(count)}" for name, count in parts.items())


def _size(count: int) -> str:
    return _scaled(count, "B", "bytes")


def _flops(count: int) -> str:
    return _scaled(count, "FLOPs", "FLOPs")


def _scaled(count: int, unit: str, plain: str) -> str:
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {prefix}{unit}"
    return f"{count} {plain}"
