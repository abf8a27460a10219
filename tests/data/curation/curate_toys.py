"""A curation of toys in a process of its own: python curate_toys.py OUT WORKERS ENGINE RECORDS STEPS."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.data.curation.pipeline_toys import (
    AloneSettings,
    BrightSettings,
    LengthSettings,
    ShoutSettings,
    ToyRecipe,
    toy,
    toy_tools,
)

from chiasm.data.curation.pipeline import curate


def recipe(
    workers: int = 1, engine: str = "local", records: int = 240, steps: int = 4
) -> ToyRecipe:
    """Every kind of stage: by record, over the whole, by record again."""
    return ToyRecipe(
        sources=(f"toy:a:{records}:0.2:1", f"toy:b:{records // 2}:0.1:2"),
        steps=(
            LengthSettings(),
            BrightSettings(turn=True),
            AloneSettings(needs=("level",)),
            ShoutSettings(),
        )[:steps],
        workers=workers,
        engine=engine,  # type: ignore[arg-type]
        shard_records=16,
        rows=25,
        test_share=0.3,
    )


def finished_pieces(out: Path) -> dict[str, int]:
    """Pieces of stages by record that are done, and when each was written."""
    found = (out / "work").glob("*/*.json")
    return {
        str(p): p.with_suffix(".parquet").stat().st_mtime_ns for p in found if p.parent.name < "9"
    }


def main() -> None:
    out, workers, engine, records, steps = sys.argv[1:]
    wanted = recipe(int(workers), engine, int(records), int(steps))
    print(curate(wanted, Path(out), toy, toy_tools).manifest)


if __name__ == "__main__":
    main()
