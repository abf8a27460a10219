"""Records of several sources as one long row, each read, checked and decoded, or refused with a reason.

position 0 … n-1 │ n … n+m-1 │        the sources one behind the other
                    │
                    ├─► read      the pair and its bytes   BadSample, MediaError ─► Refused("read")
                    └─► decode    pixels, in a limited process       MediaError ─► Refused("decode")
"""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.data.curation.recipe import Origin, Recipe, origin
from chiasm.data.curation.step import Item, Pixels
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.rows import REASONS as ROW_REASONS
from chiasm.data.rows import BadSample
from chiasm.inputs.media import REASONS as MEDIA_REASONS
from chiasm.inputs.media import ImageDecoder, MediaError
from chiasm.inputs.message import Picture, Video

Opener = Callable[[str], PairSource]
"""What opens a source by its name in the settings."""

READ, DECODE = "read", "decode"
"""What the ledger calls the two things that happen before the first step."""
REASONS = {
    **{
        reason: told.format(name="The file", detail="the limit")
        for reason, told in MEDIA_REASONS.items()
    },
    **ROW_REASONS,
    "frame_list": "a video given as a list of frames cannot be written into a shard",
    "refused": "the source cannot give this record",
    "frame_sizes": "the frames of a video are of different sizes",
}
"""Why a record is refused before any step, in one sentence each."""


class Refused(Exception):
    """A record that cannot be used: the arguments are the part, the reason and a note."""

    def __init__(self, part: str, reason: str, note: str = "") -> None:
        super().__init__(part, reason, note)
        self.part, self.reason, self.note = part, reason, note


@dataclass(frozen=True)
class Read:
    """A pair with its bytes in memory."""

    pair: Pair
    sha256: str
    """Of the picture's or video's bytes."""
    came: str
    """SHA-256 of all that the source gave: another one there shows that the source has changed."""


class Reader:
    """All records of a recipe's sources, by position."""

    def __init__(self, recipe: Recipe, opener: Opener) -> None:
        """Open the sources; raises UserError when there is none, or one cannot be opened."""
        if not recipe.sources:
            raise UserError("Name what to curate: chiasm curate SOURCE... --out FOLDER")
        self.recipe = recipe
        self.sources = [opener(name) for name in recipe.sources]
        self.ends = list(accumulate(len(source) for source in self.sources))
        self._decoder = ImageDecoder(recipe.limits.limits())

    def __len__(self) -> int:
        return self.ends[-1]

    def close(self) -> None:
        """End the decoder's process."""
        self._decoder.close()

    def origins(self) -> list[Origin]:
        """Tell what each source is known by."""
        return [
            origin(name, source)
            for name, source in zip(self.recipe.sources, self.sources, strict=True)
        ]

    def place(self, position: int) -> tuple[PairSource, int]:
        """Return the source in which a position lies, and the record's number there."""
        which = bisect_right(self.ends, position)
        return self.sources[which], position - (self.ends[which - 1] if which else 0)

    def where(self, position: int) -> str:
        """Name a record that may have no key: "holidays#12"."""
        source, number = self.place(position)
        return f"{source.name}#{number}"

    def read(self, position: int) -> Read:
        """Read a record, or raise Refused."""
        source, number = self.place(position)
        try:
            pair = source[number]
            file = pair.shown.source if isinstance(pair.shown, Video) else pair.shown
            if not isinstance(file, Picture):
                raise Refused(READ, "frame_list")
            held = Picture(data=file.read(), path=file.path and Path(file.path).name)
        except (BadSample, MediaError) as error:
            raise Refused(READ, error.reason, _short(error)) from None
        except UserError as error:
            raise Refused(READ, "refused", _short(error)) from None
        shown = Video(held) if isinstance(pair.shown, Video) else held
        pair = replace(pair, shown=shown)
        words = [pair.key, pair.caption, pair.source, pair.licence, _notes(pair)]
        try:
            told = json.dumps(words, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Refused(READ, "bad_text") from None
        return Read(pair, held.key, sha256(told + held.key.encode()).hexdigest())

    def decode(self, item: Item) -> None:
        """Give an item its frames, or raise Refused."""
        shown = item.pair.shown
        try:
            if isinstance(shown, Video):
                item.frames, item.times, item.seconds = self._clip(shown)
            else:
                item.frames = (self._decoder.decode(shown.read(), shown.name),)
        except MediaError as error:
            raise Refused(DECODE, error.reason, _short(error)) from None

    def _clip(self, video: Video) -> tuple[tuple[Pixels, ...], tuple[float, ...], float]:
        """Chosen frames, when each is shown, and how long the whole is."""
        data = video.cover.read()
        durations = self._decoder.durations(data, video.name)
        chosen = self.recipe.frames.chosen(durations)
        lasts = [duration or 100 for duration in durations]
        ends = list(accumulate(lasts))
        times = tuple((ends[number] - lasts[number]) / 1000 for number in chosen)
        return tuple(self._decoder.frames(data, chosen, video.name)), times, ends[-1] / 1000


def concept(read: Read) -> str:
    """What may not be split between train and test: the concept, else the very picture."""
    return read.pair.notes.get("concept") or f"sha256:{read.sha256}"


def notes(pair: Pair) -> str | None:
    """What else the source tells, as JSON; None when it tells nothing."""
    return _notes(pair) if pair.notes else None


def _notes(pair: Pair) -> str:
    return json.dumps(dict(pair.notes), sort_keys=True, ensure_ascii=False)


def _short(error: Exception, most: int = 200) -> str:
    text = str(error).encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def changed(pair: Pair, data: bytes) -> Pair:
    """Return a pair whose picture has other bytes, since a step changed it."""
    name = pair.shown.path
    return replace(
        pair, shown=Picture(data=data, path=name and str(Path(name).with_suffix(".png")))
    )


def encoded(frame: Pixels) -> bytes:
    """Return pixels as a PNG, which loses nothing."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()
