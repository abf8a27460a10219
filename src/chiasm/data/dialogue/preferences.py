"""Preferences: a prompt, a better answer and a worse one, and how they came about.

Preference ─► rows {messages, images, videos, chosen, rejected │ key, origin, changed_*}
           ◄─ checked: both answer the same prompt, and they differ
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic
from chiasm.data.dialogue.perturb import perturb
from chiasm.data.parquet import SCHEMA, encoded
from chiasm.data.rows import BadSample, from_messages, to_row
from chiasm.inputs.message import Message, Part, Sample, Text

COLUMNS = {
    "chosen": SCHEMA.field("messages").type,
    "rejected": SCHEMA.field("messages").type,
    "key": pa.string(),
    "origin": pa.string(),
    "changed_kind": pa.string(),
    "changed_from": pa.string(),
    "changed_to": pa.string(),
}


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt."""

    prompt: tuple[Message, ...]
    """Ends with what the user says."""
    chosen: str
    """The better answer."""
    rejected: str
    """The worse one."""
    key: str
    origin: str
    """"perturbed", or who compared: "human", "reward" ..."""
    changed: Mapping[str, str] = field(default_factory=dict)
    """What was changed to make the worse answer: kind, from, to; empty when it was not made so."""


@dataclass
class Made:
    """Preferences, and how many answers gave none."""

    preferences: list[Preference]
    unchanged: Counter[str]
    """"no_answer": the sample has none; "nothing_to_change": no rule applies to it."""


def perturbed(samples: Iterable[Sample], seed: int = 0, kinds: Sequence[str] = ()) -> Made:
    """Make a worse answer for the last answer of each sample, by one change of its words.

    The change depends on the seed and the sample's key alone. `kinds` are keys of perturb.FINDERS; all
    by default.
    """
    made = Made([], Counter())
    for sample in samples:
        *prompt, last = sample.messages
        if last.role != "assistant" or not (answer := _said(last.parts)):
            made.unchanged["no_answer"] += 1
            continue
        change = perturb(answer, Random(f"{seed}/{sample.key}"), kinds)
        if change is None:
            made.unchanged["nothing_to_change"] += 1
            continue
        what = {"kind": change.kind, "from": change.before, "to": change.after}
        made.preferences.append(
            Preference(tuple(prompt), answer, change.text, sample.key, "perturbed", what)
        )
    return made


def _said(parts: Iterable[Part]) -> str:
    return " ".join(part.text for part in parts if isinstance(part, Text))


def write_preferences(path: Path, preferences: Iterable[Preference]) -> int:
    """Write preferences into one Parquet file that is whole or absent; returns how many.

    Raises MediaError for a picture that cannot be read, and then writes nothing.
    """
    schema = pa.schema({**{f.name: f.type for f in SCHEMA}, **COLUMNS})
    count, data = encoded(map(_row, preferences), schema)
    write_atomic(Path(path), data)
    return count


def _row(preference: Preference) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]

    return {
        **to_row(Sample(preference.prompt, preference.key)),
        "chosen": said(preference.chosen),
        "rejected": said(preference.rejected),
        "key": preference.key,
        "origin": preference.origin,
        **{f"changed_{name}": preference.changed.get(name) for name in ("kind", "from", "to")},
    }


def read_preferences(path: Path) -> Iterator[Preference]:
    """Yield the preferences of a Parquet file; raises UserError for the file, BadSample for a row."""
    path = Path(path)
    try:
        with pq.ParquetFile(path) as file:
            if lost := {"messages", "chosen", "rejected"} - set(file.schema_arrow.names):
                raise UserError(f"{path} has no column {', '.join(sorted(lost))}: no preferences.")
            number = 0
            for batch in file.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    yield from_row(row, path.parent, f"{path}, row {number}")
                    number += 1
    except (pa.ArrowException, OSError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"{path} cannot be read as a Parquet file ({told}).") from None


def from_row(row: Mapping[str, Any], folder: Path, where: str) -> Preference:
    """Return the preference of a row; `where` names it in a BadSample."""
    shown = {name: row[name] for name in ("messages", "images", "videos") if row.get(name)}
    sample = from_messages(shown, folder, str(row.get("key") or where), where)
    chosen, rejected = (_answer(row[name], where, name) for name in ("chosen", "rejected"))
    if sample.messages[-1].role != "user":
        raise BadSample("bad_turns", where, "the prompt must end with what the user says")
    if chosen.split() == rejected.split():
        raise BadSample("same_answers", where)
    changed = {
        name: row[f"changed_{name}"]
        for name in ("kind", "from", "to")
        if row.get(f"changed_{name}")
    }
    origin = str(row.get("origin") or "human")
    return Preference(sample.messages, chosen, rejected, sample.key, origin, changed)


def _answer(said: Any, where: str, name: str) -> str:
    """One answer, as a string or as a list of one assistant's message."""
    if isinstance(said, str):
        text = said
    else:
        messages = from_messages({"messages": said}, Path(), "", where).messages
        if len(messages) != 1 or messages[0].role != "assistant":
            raise BadSample("bad_turns", where, f'"{name}" must be one message of the assistant')
        text = _said(messages[0].parts)
    if not text.strip():
        raise BadSample("no_text", where, f'"{name}" is empty')
    return text
