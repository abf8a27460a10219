"""Rendered samples, laid end to end: what a model is called with, and what it should have said.

    sample 0        sample 1    sample 2 (same picture as 0)
    ▣ w h a t ?  a  h i  b      ▣ w h e r e ?  c          tokens    [1, T]
    0 0 0 0 0 0 0   1 1  1      2 2 2 2 2 2 2  2          segments  no sample sees another
    0 1 2 3 4 5 6   0 1  2      0 1 2 3 4 5 6  7          positions counted in each sample
    · · · · · a ·   · b  ·      · · · · · · c  ·          targets   the next token, where trained

A picture that several samples hold stands once in the batch, and is encoded once. `pixels_of` gives
a picture's tiles [rows, columns, 3, S, S], or those of a video's frames [F, rows, columns, 3, S, S];
the batch lays the tiles of all pictures end to end, and apart from them those of all videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from chiasm.base.vision import Clips, Vision
from chiasm.inputs.chat import Rendered, Span
from chiasm.inputs.message import Picture, Shown, Video

IGNORED = -100
"""Target of a position whose next token is not learned."""
PixelsOf: TypeAlias = Callable[[Shown], Tensor]
"""Gives the tiles of a picture, or of a video's frames."""

S = TypeVar("S", Picture, Video)


@dataclass(frozen=True)
class Batch:
    """What a model is called with, and the targets that an objective reads."""

    tokens: Tensor
    """[B, T] int64."""
    positions: Tensor
    """[B, T] place of each token within its sample."""
    segments: Tensor | None
    """[B, T] which sample of the row; -1 is padding; None when each row is one sample."""
    targets: Tensor
    """[B, T] the token to predict at each place; IGNORED where nothing is learned."""
    vision: Vision | None
    """Pictures and videos; None when the batch holds none."""
    lengths: Tensor | None = None
    """[B] real tokens of each row, in batches of rows padded at the right."""

    def inputs(self) -> dict[str, Any]:
        """What the model takes: `model(**batch.inputs())`."""
        names = ("tokens", "positions", "segments", "vision")
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        names = ("tokens", "positions", "segments", "targets", "vision", "lengths")
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{k: v.to(device) for k, v in values.items() if v is not None})

    @property
    def pictures(self) -> int:
        """How many different pictures the batch holds, the frames of its videos among them."""
        if self.vision is None:
            return 0
        clips = self.vision.clips
        return self.vision.pictures + (0 if clips is None else int(clips.frames.sum()))


def pack(samples: Sequence[Rendered], pixels_of: PixelsOf) -> Batch:
    """Lay samples end to end in one row."""
    lengths = [len(sample.ids) for sample in samples]
    sizes = torch.tensor(lengths)
    return Batch(
        tokens=torch.tensor([[t for sample in samples for t in sample.ids]]),
        positions=torch.cat([torch.arange(n) for n in lengths])[None],
        segments=torch.arange(len(samples)).repeat_interleave(sizes)[None],
        targets=torch.tensor([[t for sample in samples for t in _targets(sample)]]),
        vision=_vision(samples, lambda spans: torch.cat(spans)[None], pixels_of),
    )


def pad(samples: Sequence[Rendered], pixels_of: PixelsOf) -> Batch:
    """Lay samples one under the other, padded at the right: one row each, for generation and parity.

    Padding repeats the row's last span, positions count on, and no real token sees it: it stands after.
    """
    longest = max(len(sample.ids) for sample in samples)
    rows = [sample.ids + [0] * (longest - len(sample.ids)) for sample in samples]
    targets = [_targets(s) + [IGNORED] * (longest - len(s.ids)) for s in samples]

    def laid(spans: list[Tensor]) -> Tensor:
        return torch.stack([torch.cat((s, s[-1:].expand(longest - len(s), 2))) for s in spans])

    return Batch(
        tokens=torch.tensor(rows),
        positions=torch.arange(longest).expand(len(rows), longest),
        segments=None,
        targets=torch.tensor(targets),
        vision=_vision(samples, laid, pixels_of),
        lengths=torch.tensor([len(sample.ids) for sample in samples]),
    )


def _gather(samples: Iterable[tuple[Sequence[S], list[Span]]]) -> tuple[list[S], list[Tensor]]:
    """The batch's flat list of what samples show, and each sample's spans counted in that list."""
    listed: list[S] = []
    first: dict[tuple[str, ...], int] = {}
    spans = []
    for shown, seen in samples:
        held = tuple(one.key for one in shown)
        start = first.get(held)
        if start is None:
            start = first[held] = len(listed)
            listed.extend(shown)
        spans.append(torch.tensor(seen, dtype=torch.long).view(-1, 2) + start)
    return listed, spans


def _targets(sample: Rendered) -> list[int]:
    """At each place the next token when the model learns to produce it."""
    pairs = zip(sample.ids[1:], sample.trained[1:], strict=True)
    return [token if trained else IGNORED for token, trained in pairs] + [IGNORED]


def _vision(
    samples: Sequence[Rendered], laid: Callable[[list[Tensor]], Tensor], pixels_of: PixelsOf
) -> Vision | None:
    """What a batch shows; `laid` makes one tensor of the samples' spans."""
    pictures, spans = _gather((sample.pictures, sample.seen) for sample in samples)
    clips = _clips(samples, laid, pixels_of)
    if not pictures and clips is None:
        return None
    tiled = [pixels_of(picture) for picture in pictures]
    return Vision(
        spans=laid(spans),
        pixels=torch.cat([tiles.flatten(0, 1) for tiles in tiled]) if tiled else None,
        grids=torch.tensor([tiles.shape[:2] for tiles in tiled]) if tiled else None,
        clips=clips,
    )


def _clips(
    samples: Sequence[Rendered], laid: Callable[[list[Tensor]], Tensor], pixels_of: PixelsOf
) -> Clips | None:
    nothing: Span = (0, 0)
    clips, spans = _gather((s.clips, s.watched or [nothing] * len(s.ids)) for s in samples)
    if not clips:
        return None
    tiled = [pixels_of(clip) for clip in clips]
    return Clips(
        spans=laid(spans),
        frames=torch.tensor([len(frames) for frames in tiled]),
        pixels=torch.cat([frames.flatten(0, 2) for frames in tiled]),
        grids=torch.tensor([frames.shape[1:3] for frames in tiled for _ in frames]),
    )
