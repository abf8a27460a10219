"""Other people's collections as pairs: each layout that the world uses, read as it lies.

    folder   a.jpg + a.txt, a.json        beside.py ──┐
    list     CSV, TSV, JSONL              lists.py  ──┤
    Parquet  image + caption, our shards  tables.py ──┤                    ┌─► Pair
    tar      WebDataset shards            tar.py ─► webdataset.py ─► PairSource[i]
    Arrow    datasets' save_to_disk       arrow.py  ──┤                    └─► BadSample(reason)
    pages    HTML with <img alt="...">    pages.py  ──┘

`pairs("path")` recognises which one it is. Opening reads headers, footers and the places of lines; a
record is read when it is asked for. What never happens here: a picture fetched from an address, a file
read outside the folder that was given, an archive unpacked, a record put in another's place, a record
lost without a word: what damage took is one record that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.data.pairing.opening import pairs

_HOME = {"pairs": "opening"}

__all__ = ["pairs"]

__getattr__ = lazily(__name__, _HOME)
