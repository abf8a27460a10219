"""A curation of toys in a process of its own: python curate_toys.py OUT WORKERS ENGINE [RECORDS]."""

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


def recipe(workers: int = 1, engine: str = "local", records: int = 240) -> ToyRecipe:
    """Every kind of stage: by record, over the whole, by record again."""
    return ToyRecipe(
        sources=(f"toy:a:{records}:0.2:1", f"toy:b:{records // 2}:0.1:2"),
        steps=(
            LengthSettings(),
            BrightSettings(turn=True),
            AloneSettings(needs=("level",)),
            ShoutSettings(),
        ),
        workers=workers,
        engine=engine,  # type: ignore[arg-type]
        shard_records=16,
        rows=25,
        test_share=0.3,
    )


def main() -> None:
    out, workers, engine, *records = sys.argv[1:]
    wanted = recipe(int(workers), engine, *map(int, records))
    print(curate(wanted, Path(out), toy, toy_tools).manifest)


if __name__ == "__main__":
    main()
