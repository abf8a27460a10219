"""Data to align a model with, from whatever there is: each maker's rows as shards, or preferences as a file.

    people's files ── import ────┐                       _plan.json      what is being made
    questions ─────── template ──┼─► shards in a folder  _parts/00000.json read, used, refused by reason
    captions ──────── write ─────┘   └─ perturb ─► FILE  00000.parquet, _index.json

A part is finished when its record is written. The same command goes on behind the last finished part; a
finished folder is left as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from chiasm import __version__
from chiasm.base.errors import UserError
from chiasm.base.files import locked, sha256_file, sweep, write_atomic
from chiasm.data.dialogue.imported import imported
from chiasm.data.dialogue.perturb import FINDERS
from chiasm.data.dialogue.preferences import perturbed, write_preferences
from chiasm.data.dialogue.templates import TemplateSettings, templated
from chiasm.data.dialogue.written import REASONS as WRITTEN
from chiasm.data.dialogue.written import Ask, WrittenSettings, prompt, write
from chiasm.data.pairs import Pair
from chiasm.data.rows import REASONS as ROWS
from chiasm.data.rows import BadSample, to_row
from chiasm.data.shards import Row, Shard, begin, write_index, write_shard
from chiasm.data.sources import Source, parquet
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Message, Sample, Text
from chiasm.recipes.curating import open_source
from chiasm.recipes.materials import opened
from chiasm.recipes.parts import Say

Told = Callable[[int], object]
"""Called with how much is done."""

Speak = Callable[[str, Say, int], tuple[Ask, Callable[[str], bool]]]

WORDS = 32
"""Most tokens that a model writes for each question it is asked for."""
LOT = 64
"""Records, or captions, of a shard: what a kill costs."""
ROWS_OF_FILE = 256
"""Conversations of a shard of an imported file."""
PREFERENCES = "preferences.parquet"
LONG_CAPTION = "long_caption"
REASONS: Mapping[str, str] = {
    **ROWS,
    **WRITTEN,
    LONG_CAPTION: "the caption leaves the model no room for an answer",
    "no_answer": "the conversation does not end with an answer",
    "nothing_to_change": "no rule knows a change that makes the answer wrong",
}
"""Why something gave no row, in words; a picture's own faults speak for themselves."""


@dataclass
class Tally:
    """What came of a part, or of all of them."""

    read: int = 0
    """Rows, records or captions that were read."""
    made: int = 0
    """Conversations, or preferences."""
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """The first refused one of each reason, in words."""

    def refuse(self, error: BadSample | MediaError) -> None:
        """Count what cannot be used."""
        self.refused[error.reason] += 1
        self.examples.setdefault(error.reason, str(error))

    def add(self, other: Tally) -> None:
        """Count what came of another part."""
        self.read += other.read
        self.made += other.made
        self.refused += other.refused
        self.examples = {**other.examples, **self.examples}

    def record(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**vars(self), "refused": dict(self.refused)}

    def why(self) -> str:
        """Return the most frequent reason in words."""
        if not self.refused:
            return "there is nothing to read"
        reason, count = self.refused.most_common(1)[0]
        return f"{count:,} times {REASONS.get(reason, self.examples.get(reason, reason))}"


@dataclass(frozen=True)
class Outcome:
    """What lies where now."""

    place: Path
    tally: Tally
    manifest: str = ""
    """The manifest hash of shards; empty for a file of preferences."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What else was counted: rows used, preferences; changes by their kind."""

    def record(self) -> dict[str, Any]:
        """Return it as plain values."""
        counted = {"place": str(self.place), **self.tally.record(), **self.counts}
        return {**counted, "manifest": self.manifest} if self.manifest else counted


# ---- the four makers ---------------------------------------------------------------------------


def import_file(path: Path, out: Path, licence: str = "", told: Told = id) -> Outcome:
    """Bring people's conversations into shards, and their comparisons into OUT/preferences.parquet.

    Raises UserError when no row can be used.
    """
    found = imported(path)
    samples, preferences = found.samples, found.preferences
    made = {
        **_of("import", path.name, len(samples), licence),
        "sha256": sha256_file(path),
        "preferences": len(preferences),
    }

    def part(numbers: range) -> tuple[list[Row], Tally]:
        rows = [Row(samples[i], path.name, licence) for i in numbers]
        return rows, Tally(read=len(rows), made=len(rows))

    def beside() -> None:
        if preferences and not (out / PREFERENCES).exists():
            write_preferences(out / PREFERENCES, preferences)

    _, manifest = _build(out, made, _parts(len(samples), ROWS_OF_FILE), part, {}, told, beside)
    tally = Tally(found.rows, len(samples), found.refused, found.examples)
    return Outcome(out, tally, manifest, {"used": found.used, "preferences": len(preferences)})


def from_templates(
    name: str,
    out: Path,
    settings: TemplateSettings,
    limit: int | None,
    licence: str,
    say: Say,
    told: Told = id,
) -> Outcome:
    """Phrase the questions of a set by templates into shards; raises UserError when none fits."""
    source = templated(opened(name, say), settings)
    count = len(source) if limit is None else min(limit, len(source))
    made = {**_of("template", source.name, count, licence), **settings.model_dump(mode="json")}

    def part(numbers: range) -> tuple[list[Row], Tally]:
        tally, rows = Tally(read=len(numbers)), []
        for number in numbers:
            for sample in _samples(source, number, tally):
                rows.append(Row(sample, source.name, licence))
        tally.made = len(rows)
        return rows, tally

    tally, manifest = _build(out, made, _parts(count), part, {}, told)
    return Outcome(out, tally, manifest)


def write_with(
    name: str,
    out: Path,
    model: str,
    settings: WrittenSettings,
    limit: int | None,
    say: Say,
    told: Told = id,
    speak: Speak | None = None,
) -> Outcome:
    """Let a language model write questions from captions into shards; raises UserError when none is good.

    The model is loaded when the first caption is asked about: not for a finished folder. `speak` stands for
    `language_model`.
    """
    source = open_source(name)
    count = len(source) if limit is None else min(limit, len(source))
    plan = {**_of("write", source.name, count, ""), **settings.model_dump(mode="json")}
    plan["model"] = Path(model).resolve().name

    @cache
    def speaker() -> tuple[Ask, Callable[[str], bool]]:
        return (speak or language_model)(model, say, WORDS * settings.count)

    def part(numbers: range) -> tuple[list[Row], Tally]:
        ask, fits = speaker()
        tally = Tally(read=len(numbers))
        pairs = []
        for number in numbers:
            try:
                pair = source[number]
                to_row(Sample((Message("user", (pair.shown,)),), pair.key))
            except (BadSample, MediaError) as error:
                tally.refuse(error)
                continue
            if fits(prompt(pair.caption, settings.count)):
                pairs.append(pair)
            else:
                tally.refused[LONG_CAPTION] += 1
        return _written(pairs, ask, settings, tally), tally

    columns = {"caption": str, "concept": str}
    tally, manifest = _build(out, plan, _parts(count), part, columns, told)
    return Outcome(out, tally, manifest)


def perturb_shards(
    name: str, out: Path, kinds: Sequence[str], seed: int, told: Told = id
) -> Outcome:
    """Write preferences: the last answer of each conversation, and one made wrong by one change.

    Raises UserError when `out` exists, and when no answer can be changed.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new file.")
    source, tally = parquet(name), Tally()

    def samples() -> Iterator[Sample]:
        for number in range(len(source)):
            yield from _samples(source, number, tally)
            told(number + 1)

    made = perturbed(samples(), seed, kinds)
    tally.read, tally.made = len(source), len(made.preferences)
    tally.refused += made.unchanged
    if not made.preferences:
        raise UserError(f"None of the {len(source):,} answers can be changed: {tally.why()}.")
    write_preferences(out, made.preferences)
    changed = Counter(each.changed["kind"] for each in made.preferences)
    return Outcome(out, tally, "", {kind: changed[kind] for kind in kinds or FINDERS})


# ---- a language model --------------------------------------------------------------------------


def language_model(name: str, say: Say, tokens: int) -> tuple[Ask, Callable[[str], bool]]:
    """Return a function from prompts to greedy replies, and one that says whether a prompt fits."""
    from chiasm.recipes.answering import answerer
    from chiasm.recipes.loading import load

    model, processor = load(name, say=say)
    answer = answerer(model, processor, tokens)
    config: Any = model.config
    context = getattr(config, "decoder", config).context

    def conversation(text: str) -> tuple[Message, ...]:
        return (Message("user", (Text(text),)),)

    def ask(prompts: Sequence[str]) -> list[str]:
        return answer([conversation(text) for text in prompts])

    def fits(text: str) -> bool:
        return len(processor.prompt(conversation(text)).ids) < context

    return ask, fits


def _written(pairs: list[Pair], ask: Ask, settings: WrittenSettings, tally: Tally) -> list[Row]:
    found = write(pairs, ask, settings)
    tally.refused += found.refused
    tally.made = len(found.samples)
    of = {pair.key: pair for pair in pairs}
    rows = []
    for sample in found.samples:
        pair = of[sample.key.rpartition("/written/")[0]]
        facts = {"caption": pair.caption, "concept": pair.notes.get("concept")}
        rows.append(Row(sample, pair.source, pair.licence, facts))
    return rows


# ---- parts -------------------------------------------------------------------------------------


def _of(maker: str, source: str, count: int, licence: str) -> dict[str, Any]:
    """What decides the bytes, whoever makes them."""
    told = {"chiasm": __version__, "maker": maker, "source": source, "count": count}
    return {**told, "licence": licence}


def _parts(count: int, size: int = LOT) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _samples(source: Source, number: int, tally: Tally) -> tuple[Sample, ...]:
    """The samples of a record whose files can be read; none, and a reason counted, otherwise."""
    try:
        record = source[number]
        for sample in record:
            to_row(sample)
    except (BadSample, MediaError) as error:
        tally.refuse(error)
        return ()
    return record


def _build(
    folder: Path,
    made: Mapping[str, Any],
    parts: Sequence[range],
    make: Callable[[range], tuple[list[Row], Tally]],
    columns: Mapping[str, type],
    told: Told,
    beside: Callable[[], None] = lambda: None,
) -> tuple[Tally, str]:
    """Make what is missing of the parts, and return the sum of all and the manifest hash."""
    whole, shards = Tally(), []
    with locked(folder / "dialogue"):
        begin(folder, made)
        sweep(folder)
        for number, numbers in enumerate(parts):
            known = _kept(folder, number)
            if known is None:
                rows, tally = make(numbers)
                path = folder / f"{number:05}.parquet"
                known = tally, write_shard(path, rows, columns) if rows else None
                _keep(folder, number, *known)
            whole.add(known[0])
            shards += [known[1]] if known[1] else []
            told(numbers.stop)
        beside()
        if not whole.made and parts:
            raise UserError(f"Nothing of {made['source']} can be used: {whole.why()}.")
        return whole, write_index(folder, shards, made)


def _record(folder: Path, number: int) -> Path:
    return folder / "_parts" / f"{number:05}.json"


def _keep(folder: Path, number: int, tally: Tally, shard: Shard | None) -> None:
    record = {"tally": tally.record(), "shard": None if shard is None else asdict(shard)}
    write_atomic(_record(folder, number), json.dumps(record, indent=1, sort_keys=True) + "\n")


def _kept(folder: Path, number: int) -> tuple[Tally, Shard | None] | None:
    """What an earlier run finished; None for what is missing or damaged, which is made again."""
    try:
        record = json.loads(_record(folder, number).read_text("utf-8"))
        tally = Tally(**record["tally"])
        tally.refused = Counter(tally.refused)
        shard = None if record["shard"] is None else Shard(**record["shard"])
        if shard is None or sha256_file(folder / shard.file) == shard.sha256:
            return tally, shard
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return None
