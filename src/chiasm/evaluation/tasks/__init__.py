"""Tasks that come with the house, one file each: a public benchmark, its kinds and its baselines.

    train source ──► prior ─┐
    test source ────────────┴─► easy_vqa(train, test) ──► Task

May enter: what a benchmark is (how to ask, how to score, what a guess would give). Must stay
outside: where its files lie and how they are fetched; sources are passed in.
"""

from chiasm.evaluation.tasks.easy_vqa import easy_vqa
from chiasm.evaluation.tasks.rendered import rendered

__all__ = ["easy_vqa", "rendered"]
