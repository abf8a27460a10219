"""Pictures and words in, clean and diverse training data out, every dropped record with its reason.

    PairSource ─► shards of items ─► steps, one by one ─► table of facts ─► whole steps ─► shards
                                       │ language, caption,   │ duplicates,
                                       │ picture, alignment   │ diversity
                                       └────────► ledger: n_in == n_kept + Σ n_dropped[reason]

    book.py      every kind of step               recipe.py    settings, stages
    records.py   read, decode, refuse             stage.py     one piece of work, its files
    engine.py    Daft, on one machine or many     pipeline.py  the straight line, resumed after a kill
    output.py    shards and their index           ledger.py, receipts.py, page.py   what became of all

May enter: `base`, `inputs`, sources of pairs, and functions that are passed in (Tools). What never
happens here: a record that disappears without a reason, an order that depends on the engine.
"""

from __future__ import annotations
