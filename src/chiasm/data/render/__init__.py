"""Pictures whose truth is known, drawn by the thousand: charts, tables, pages, scenes, clips.

    Random("seed/kind/number") ─► draw ─► Drawn: picture, truth, questions with checks ─► shards
                                   ▲
tables, texts, cut-outs, maps ─────┘

May enter: `base`, `inputs`, `data/collections`, libraries that draw. What never happens here: a question
whose answer was read off the picture instead of what was drawn, a picture that depends on the process
that draws it.
"""

from __future__ import annotations
