"""What is left becomes shards: a plan of who goes where, and one file after another.

    what is left, in the order of the sources ─► plan: train │ test, by concept ─► 1,000 rows a file
                                                    out/train/00000.parquet …   out/test/…
                                                    out/_index.json names them all

Neither the number of processes nor the size of the pieces of work enters here: the same records give the
same files. Facts that are bytes (thumbs, embeddings) are working material, and stay behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chiasm.base.config import as_record
from chiasm.base.errors import UserError
from chiasm.base.files import sha256_file, write_atomic
from chiasm.data.curation import workfile
from chiasm.data.curation.recipe import what
from chiasm.data.curation.records import Refused, changed
from chiasm.data.curation.stage import Bench, Job, check_same, fact_types, standing
from chiasm.data.pairs import captioned
from chiasm.data.shards import Row, Shard, write_index, write_shard

SPLITS = ("train", "test")
NOTES = "notes"
"""Column of what else the source tells (author, page, concept), as JSON."""


def plan_file(job: Job) -> Path:
    """Where the plan lies."""
    return job.work / "plan.parquet"


def side(seed: int, share: float, concept: str) -> str:
    """Return "train" or "test" for a concept, the same for all its records."""
    if not share:
        return SPLITS[0]
    drawn = int.from_bytes(sha256(f"{seed}/test/{concept}".encode()).digest()[:8])
    return SPLITS[drawn < share * 2**64]


def make_plan(bench: Bench) -> dict[str, Any]:
    """Decide which record goes into which file, and return {split: how many files}, and the facts' types."""
    job = bench.job
    if (said := workfile.finished(plan_file(job))) is not None:
        return said
    last = max(stage.number for stage in bench.stages if not stage.whole)
    gone = set[int]()
    for stage in bench.stages[last + 1 :]:
        gone |= set(workfile.read(job.whole(stage.number), ["position"])["position"].to_pylist())
    rows, counts = [], dict.fromkeys(SPLITS, 0)
    for shard in range(bench.shards):
        table = workfile.read(job.piece(last, shard), ["position", "reason", "concept"])
        for row in table.filter(pc.equal(table["reason"], "")).to_pylist():
            if row["position"] not in gone:
                split = side(job.recipe.seed, job.recipe.test_share, row["concept"])
                file = counts[split] // job.recipe.rows
                rows.append({"position": row["position"], "split": split, "file": file})
                counts[split] += 1
    known = fact_types([job.piece(last, shard) for shard in range(bench.shards)])
    types = {name: kind for name, kind in known.items() if kind is not bytes}
    files = {split: -(-count // job.recipe.rows) for split, count in counts.items()}
    schema = pa.schema({"position": pa.int64(), "split": pa.string(), "file": pa.int64()})
    told = {"facts": workfile.spelled(types), "files": files, "kept": counts}
    return workfile.save(plan_file(job), pa.Table.from_pylist(rows, schema), told)


def write(bench: Bench, split: str, number: int) -> Shard:
    """Write one file of the result; a finished one is left as it is."""
    job = bench.job
    path = job.out / split / f"{number:05}.parquet"
    receipt = job.work / split / f"{number:05}.json"
    if (done := finished(path, receipt)) is not None:
        return done
    plan = workfile.read(plan_file(job))
    chosen = pc.and_(pc.equal(plan["split"], split), pc.equal(plan["file"], number))
    positions = set(plan.filter(chosen)["position"].to_pylist())
    types = workfile.types_in(workfile.finished(plan_file(job)) or {})
    pieces = sorted({position // job.recipe.shard_records for position in positions})
    rows = (
        _row(bench, row)
        for piece in pieces
        for row in standing(bench, len(bench.stages), piece)
        if row.position in positions
    )
    shard = write_shard(path, rows, {**types, NOTES: str})
    shard = replace(shard, file=f"{split}/{shard.file}")
    write_atomic(receipt, json.dumps(asdict(shard), sort_keys=True) + "\n")
    return shard


def finished(path: Path, receipt: Path) -> Shard | None:
    """Return what was said of a file that is as it was written; else None."""
    try:
        shard = Shard(**json.loads(receipt.read_text("utf-8")))
        return shard if shard.sha256 == sha256_file(path) else None
    except (OSError, ValueError, TypeError):
        return None


def _row(bench: Bench, row: Any) -> Row:
    """A row of the result; its bytes are read again."""
    try:
        read = bench.reader.read(row.position)
    except Refused as why:
        raise UserError(
            f"{bench.reader.where(row.position)} could be read when this curation began, and cannot now "
            f"({why.note or why.reason}): bring it back, or give a new folder with --out."
        ) from None
    check_same(bench, row, read)
    pair = read.pair if row.changed is None else changed(read.pair, row.changed)
    sample = captioned(pair.shown, row.caption, row.key)
    facts = {name: value for name, value in row.facts.items() if not isinstance(value, bytes)}
    return Row(sample, row.source, row.licence, {**facts, NOTES: row.notes})


def write_manifest(bench: Bench, shards: Sequence[Shard]) -> str:
    """Write the index of all shards and return its hash, that of the manifest.

    It lies above train and test, so that whoever reads all files of those folders finds Parquet alone.
    """
    return write_index(bench.job.out, shards, made_of(bench))


def made_of(bench: Bench) -> Mapping[str, Any]:
    """How the shards were made: all that decides about them."""
    origins = [as_record(each) for each in bench.reader.origins()]
    return {"recipe": what(bench.job.recipe), "sources": origins}
