"""What became of every record: n_in == n_kept + Σ n_dropped[step][reason], for every shard and the whole.

work files ─► fates: every record once ─┬─► Account of each shard ─► ledger.json
                                        └─► receipts/dropped.parquet, each with its reason
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chiasm.base.files import write_atomic
from chiasm.data.curation import workfile
from chiasm.data.curation.records import DECODE, READ
from chiasm.data.curation.records import REASONS as READ_REASONS
from chiasm.data.curation.stage import Bench

DROPPED = ("position", "key", "caption", "source", "licence", "sha256", "step", "reason", "note")
"""Columns of the table of dropped records."""


@dataclass
class Account:
    """How many records came, stayed, and were dropped for which reason."""

    n_in: int = 0
    n_kept: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    """{step: {reason: how many}}."""

    @property
    def n_dropped(self) -> int:
        """How many records were dropped."""
        return sum(sum(reasons.values()) for reasons in self.dropped.values())

    def note(self, step: str, reason: str, count: int = 1) -> None:
        """Note dropped records, or kept ones where there is no reason."""
        if not reason:
            self.n_kept += count
            return
        reasons = self.dropped.setdefault(step, {})
        reasons[reason] = reasons.get(reason, 0) + count

    def add(self, other: Account) -> None:
        """Add another account."""
        self.n_in += other.n_in
        self.n_kept += other.n_kept
        for step, reasons in other.dropped.items():
            for reason, count in reasons.items():
                self.note(step, reason, count)

    def check(self, what: str) -> None:
        """Raise RuntimeError unless every record is accounted for."""
        if self.n_in != self.n_kept + self.n_dropped:
            raise RuntimeError(
                f"{what}: {self.n_in} records came, {self.n_kept} were kept, {self.n_dropped} dropped"
            )

    def record(self, order: Iterable[str]) -> dict[str, Any]:
        """Return JSON-able values, steps in the order of the recipe."""
        dropped = {
            step: dict(sorted(self.dropped[step].items())) for step in order if step in self.dropped
        }
        return {"n_in": self.n_in, "n_kept": self.n_kept, "n_dropped": dropped}


@dataclass
class Ledger:
    """The accounts of a curation."""

    steps: list[str]
    """Names of all steps, reading and decoding first."""
    reasons: dict[str, dict[str, str]]
    """{step: {reason: what it means}}, whether or not anything was dropped for it."""
    shards: list[Account] = field(default_factory=list)
    total: Account = field(default_factory=Account)

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            **self.total.record(self.steps),
            "reasons": {
                step: {reason: self.reasons[step][reason] for reason in sorted(found)}
                for step, found in self.total.dropped.items()
            },
            "shards": [shard.record(self.steps) for shard in self.shards],
        }


def empty(bench: Bench) -> Ledger:
    """Return a ledger without entries."""
    reasons: dict[str, dict[str, str]] = {READ: dict(READ_REASONS), DECODE: dict(READ_REASONS)}
    for name, step in zip(bench.names, bench.steps, strict=True):
        reasons[name] = dict(step.reasons)
    return Ledger([READ, DECODE, *bench.names], reasons)


def fates(bench: Bench) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield each shard's number with all its records as rows of a work file, with what became of each."""
    fallen = {
        stage.number: {
            row.pop("position"): row
            for row in workfile.read(bench.job.whole(stage.number)).to_pylist()
        }
        for stage in bench.stages
        if stage.whole
    }
    for shard in range(bench.shards):
        rows: dict[int, dict[str, Any]] = {}
        for stage in bench.stages:
            if stage.whole:
                for position in rows.keys() & fallen[stage.number].keys():
                    rows[position] |= fallen[stage.number][position]
            else:  # later stages know more, about what was still there
                found = workfile.read(bench.job.piece(stage.number, shard)).to_pylist()
                rows |= {row["position"]: row for row in found}
        yield shard, [rows[position] for position in sorted(rows)]


def enter(ledger: Ledger, came: int, rows: Iterable[dict[str, Any]]) -> None:
    """Write a shard into the ledger; raises RuntimeError when a record is missing."""
    account = Account(came)
    for row in rows:
        account.note(row["step"], row["reason"])
    account.check(f"shard {len(ledger.shards)}")
    ledger.shards.append(account)
    ledger.total.add(account)


def dropped_table(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return the Parquet file of dropped records."""
    schema = pa.schema({name: workfile.RECORD[name] for name in DROPPED})
    chosen = [{name: row[name] for name in DROPPED} for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(chosen, schema), buffer, compression="zstd")
    return buffer.getvalue()


def write_ledger(bench: Bench, ledger: Ledger, dropped: Iterable[dict[str, Any]]) -> None:
    """Write ledger.json and the table of dropped records."""
    write_atomic(bench.job.out / "receipts" / "dropped.parquet", dropped_table(dropped))
    text = json.dumps(ledger.record(), indent=1, ensure_ascii=False) + "\n"
    write_atomic(bench.job.out / "ledger.json", text)
