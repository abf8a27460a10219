"""Pictures and videos with what somebody wrote about them, as they came: what curation begins with.

folders, lists, Parquet, tar, pages, collections ──► PairSource ── [i] ──► Pair
                                                                   └─ or BadSample, MediaError
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chiasm.data.rows import CAPTION_PROMPT
from chiasm.inputs.message import Message, Sample, Shown, Text


@dataclass(frozen=True)
class Pair:
    """A picture or a video, and one text about it."""

    key: str
    """Names it for ever, and alone within its source: "openmoji/1F600", "holidays/beach/3.jpg"."""
    caption: str
    shown: Shown
    source: str
    """The collection or folder that it comes from."""
    licence: str = ""
    """SPDX identifier of the picture's licence, or the source's own words; empty when unknown."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else the source tells: "concept" (never to be split between train and test), "keywords",
    "page", "author" ..."""


class PairSource(Protocol):
    """A sequence of pairs, cheap to open; `source[i]` reads one, the same one every time.

    Raises BadSample when record i cannot be used, MediaError when its file cannot be read: never
    another record in its place. A picture in a file may be given by its path alone: nothing is decoded.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...


def captioned(shown: Shown, caption: str, key: str) -> Sample:
    """Return the conversation in which a user shows something and is told the caption."""
    asked = Message("user", (shown, Text(CAPTION_PROMPT)))
    return Sample((asked, Message("assistant", (Text(caption),))), key)
