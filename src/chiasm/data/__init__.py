"""Samples in the plural: where they come from, and which of them a training step sees.

    easy_vqa ─┐                                    loader.py
    folder ───┼─► sources.py ─► Records ─► order, rotation ─► rendered ─► packed batches
    parquet ──┘   rows.py         │                               └─► refused, with reasons
                  parquet.py      └─► evaluation asks each of them once

May enter: `base`, `inputs`, and functions that are passed in (a captioner, a scorer). What never
happens here: a sample put in another's place, a sample cut to fit, a picture fetched or decoded by
a source, an order that depends on anything but the seed and the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.data.loader import PackingLoader
    from chiasm.data.settings import LoadSettings
    from chiasm.data.sources import (
        BadSample,
        Source,
        easy_vqa,
        folder,
        parquet,
        write_parquet,
    )

_HOME = {
    # where samples come from
    **dict.fromkeys(
        ("BadSample", "Source", "easy_vqa", "folder", "parquet", "write_parquet"), "sources"
    ),
    # what a step sees
    "LoadSettings": "settings",
    "PackingLoader": "loader",
}

__all__ = [
    "BadSample",
    "LoadSettings",
    "PackingLoader",
    "Source",
    "easy_vqa",
    "folder",
    "parquet",
    "write_parquet",
]


__getattr__ = lazily(__name__, _HOME)
