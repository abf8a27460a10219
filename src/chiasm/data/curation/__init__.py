"""Pictures and words in, clean and diverse training data out, every dropped record with its reason.

    PairSource ─► shards of items ─► steps, one by one ─► table of facts ─► whole steps ─► shards
                                       │ language, caption,   │ duplicates,
                                       │ picture, alignment   │ diversity
                                       └────────► ledger: n_in == n_kept + Σ n_dropped[reason]

May enter: `base`, `inputs`, sources of pairs, and functions that are passed in (Tools). What never
happens here: a record that disappears without a reason, an order that depends on the engine.
"""

from __future__ import annotations
