"""Conversations to align a model with: phrased by templates, written by a model, imported, compared.

    questions with answers ── templates.py ──┐
    captions ── written.py (an LLM, passed in)├─► Samples ── perturb.py ──► Preferences:
    people's files ── imported.py ───────────┘              one thing         chosen, rejected,
                          └─ comparisons ─────────────────► changed           what was changed

May enter: `base`, `inputs`, sources, and an LLM as a function. What never happens here: a rejected answer
that means the same as the chosen one, a file's row that disappears without a reason.
"""

from __future__ import annotations
