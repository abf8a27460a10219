"""Any number of vectors to a fixed number: the Perceiver, Flamingo's resampler, and Llama 3's aggregator.

frames end to end    ▤▤▤ ▤▤       counts [3, 2]      Resampler   ─► [2, latents, width]
                     ▤▤ ▤|▤▤      merge 2            Aggregator  ─► [3, latents, width], counts [2, 1]

Frames of all clips lie end to end [F, V, width] beside their counts, as in `base.vision.Clips`; nothing
is padded. A picture is a clip of one frame.
"""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from chiasm.base.config import Settings
from chiasm.nn import LatentBlock, LayerNorm, VisionBlock


class ResamplerConfig(Settings):
    """Sizes of a resampler; the defaults are open_flamingo's."""

    latents: Annotated[int, Field(ge=1)] = 64
    """How many vectors leave, whatever enters."""
    depth: int = 6
    """Number of blocks."""
    heads: int = 8
    """Attention heads of a block."""
    head_width: int = 64
    """Width of a head; all heads together may be narrower than the vectors."""
    hidden: int | None = None
    """Inner width of the feed-forward network; None = four times the vectors' width."""
    frames: Annotated[int, Field(ge=1)] = 8
    """Frames of a clip in training: rows of the time table, which stretches for longer clips."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""


class Resampler(nn.Module):
    """Learned latents read all vectors of a clip (Alayrac et al. 2022, section 3.1.1)."""

    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.config = c = config
        self.latents = nn.Parameter(torch.randn(c.latents, width) * width**-0.5)
        self.time = nn.Parameter(torch.randn(c.frames, width) * width**-0.5)
        hidden = 4 * width if c.hidden is None else c.hidden
        sizes = (width, c.heads, c.head_width, hidden, c.norm_eps)
        self.blocks = nn.ModuleList(
            LatentBlock(*sizes, source=width, joint=True, bias=False) for _ in range(c.depth)
        )
        self.norm = LayerNorm(width, c.norm_eps)

    def forward(self, x: Tensor, counts: Tensor | None = None, span: int = 1) -> Tensor:
        """Frames of N clips end to end [F, V, width] -> [N, latents, width].

        `counts` [N] int64, on the processor, says how many frames each clip has; without it every row
        is a clip of one frame. Clips of equal length are read together and none is padded, so no clip
        knows of another. Frames of clips shorter than `span` are timed as the first frames of a clip of
        that length. Raises ValueError when the counts do not add up to F, or one is not positive.
        """
        if counts is None:
            return self._read(x[:, None], span)
        sizes = _sizes(counts, x)
        clips = x.split(sizes)
        order = sorted(range(len(sizes)), key=sizes.__getitem__)
        read = [
            self._read(torch.stack([clips[clip] for clip in equal]), span)
            for _, equal in groupby(order, key=sizes.__getitem__)
        ]
        return torch.cat(read).index_select(0, torch.tensor(order, device=x.device).argsort())

    def _read(self, x: Tensor, span: int) -> Tensor:
        """[N, T, V, width] -> [N, latents, width]."""
        frames = x.shape[1]
        times = self.times(max(frames, span))[:frames, None]
        vectors = (x + times.to(x.dtype)).flatten(1, 2)
        latents = self.latents.to(x.dtype).expand(len(x), -1, -1)
        for block in self.blocks:
            latents = block(latents, vectors)
        return self.norm(latents)

    def times(self, frames: int) -> Tensor:
        """Return the time embeddings [frames, width] of a clip.

        A clip as long as those of training, or shorter, takes the first rows of the table. A longer one
        takes the table stretched over its length, linearly, ends on ends (Alayrac et al. 2022 read 30
        frames so after 8 in training).
        """
        return _stretched(self.time, frames)


def _stretched(table: Tensor, length: int) -> Tensor:
    """The first rows of a table [T, width], or all of it stretched to `length` rows when that is more."""
    if length <= len(table):
        return table[:length]
    wide = table.to(torch.promote_types(table.dtype, torch.float32)).T[None]
    new = F.interpolate(wide, size=length, mode="linear", align_corners=True)
    return new[0].T.to(table.dtype)


class AggregatorConfig(ResamplerConfig):
    """Sizes of the video aggregator; the defaults give the paper's 0.6 B at width 4096, 4.6 B at 8192.

    Those sums include the video crosses. Meta published neither the sizes nor the weights.
    """

    merge: Annotated[int, Field(ge=1)] = 32
    """Consecutive frames that become one: 16 in Llama 3's video pre-training, 32 afterwards."""
    depth: int = 3
    """Number of blocks."""
    heads: int = 16
    """Attention heads of a block."""
    hidden: int | None = 4096
    """Inner width of the feed-forward network; None = four times the vectors' width."""
    frames: Annotated[int, Field(ge=1)] = 16
    """Frames of a group in pre-training: rows of the time table, which stretches when `merge` grows."""
    effective: Annotated[int, Field(ge=1)] = 2
    """Effective frames of a clip in training (64 by 32): rows of their order table, which stretches."""

    def groups(self, counts: Tensor) -> list[int]:
        """Return the lengths of the groups that clips of `counts` [C] frames are cut into, end to end."""
        starts = (
            (count, start) for count in counts.tolist() for start in range(0, count, self.merge)
        )
        return [min(self.merge, count - start) for count, start in starts]


class Aggregator(nn.Module):
    """Merges consecutive frames of a video into one effective frame (Llama 3 herd of models, 7.2).

    It works at the language model's width, on frames that the projector has mapped already: only so
    does its size grow with the language model as the paper's does.
    """

    def __init__(self, config: AggregatorConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.resampler = Resampler(config, width)
        self.order = nn.Parameter(torch.randn(config.effective, width) * width**-0.5)

    def forward(self, frames: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of C clips end to end [F, V, width], counts [C] -> [E, latents, width], counts [C].

        A clip becomes ⌈its frames / merge⌉ effective frames; both counts are int64, on the processor.
        Groups run one after the other: beside the frames, one group's activations are held, never all.
        Raises ValueError when the counts do not add up to F, or one is not positive.
        """
        _sizes(counts, frames)
        groups = frames.split(self.config.groups(counts))
        effective = (counts + self.config.merge - 1) // self.config.merge
        return self.in_order(
            torch.cat([self.merge(group) for group in groups]), effective
        ), effective

    def merge(self, group: Tensor) -> Tensor:
        """Merge the frames of one group [f, V, width] into an effective frame [1, latents, width].

        A clip's last group may be shorter than the others: its frames are timed by their place in a
        whole group, because one step must mean the same time in every group. When learning, a group runs
        again on the way back, so that its activations need not be kept.
        """
        merged: Tensor = checkpoint(
            self.resampler,
            group,
            torch.tensor([len(group)]),
            self.config.merge,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing here draws random numbers
        )
        return merged

    def in_order(self, merged: Tensor, counts: Tensor) -> Tensor:
        """Say which of its clip each effective frame [E, latents, width] is; counts [C] of them.

        Cross-attention knows no places: without this, a clip's groups could be exchanged unseen.
        """
        places = torch.cat([_stretched(self.order, count) for count in counts.tolist()])
        return merged + places[:, None].to(merged.dtype)


def _sizes(counts: Tensor, frames: Tensor) -> list[int]:
    sizes: list[int] = counts.tolist()
    if min(sizes, default=0) < 1 or sum(sizes) != len(frames):
        raise ValueError(f"clips of {sizes} frames cannot be cut out of {len(frames)} frames")
    return sizes


class PerceiverConfig(Settings):
    """Sizes of a Perceiver; the defaults are those of its ImageNet model, of 45 million parameters."""

    latents: int = 512
    """How many vectors leave, whatever enters."""
    width: int = 1024
    """Width of the latents."""
    repeats: Annotated[int, Field(ge=1)] = 8
    """How often the latents read the inputs."""
    depth: int = 6
    """Self-attention blocks of the latents after each reading."""
    heads: int = 8
    """Attention heads among the latents."""
    cross_heads: int = 1
    """Attention heads of a reading, which together are as wide as the inputs."""
    hidden: int = 1024
    """Inner width of the feed-forward networks."""
    share: bool = True
    """All repeats have the same weights, but for the first reading, which keeps its own."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""


class Perceiver(nn.Module):
    """Latents read the inputs, think, and read again (Jaegle et al. 2021, section 3).

    Attention does not know places: where they matter, the inputs must carry them in their channels.
    """

    def __init__(self, config: PerceiverConfig, source: int) -> None:
        """Build for inputs of `source` channels, which the heads of a reading must divide."""
        super().__init__()
        self.config = c = config
        self.latents = nn.Parameter(torch.empty(c.latents, c.width))
        nn.init.trunc_normal_(self.latents, std=0.02)
        readers, thinkers = (min(c.repeats, 2), 1) if c.share else (c.repeats, c.repeats)
        sizes = (c.width, c.cross_heads, source // c.cross_heads, c.hidden, c.norm_eps)
        self.reads = nn.ModuleList(
            LatentBlock(*sizes, source=source, joint=False, bias=True) for _ in range(readers)
        )
        self.thoughts = nn.ModuleList(
            nn.Sequential(
                *(
                    VisionBlock(c.width, c.heads, c.hidden, "gelu", c.norm_eps)
                    for _ in range(c.depth)
                )
            )
            for _ in range(thinkers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Inputs [N, K, source] -> [N, latents, width]."""
        latents = self.latents.to(x.dtype).expand(len(x), -1, -1)
        for turn in range(self.config.repeats):
            latents = self.reads[min(turn, len(self.reads) - 1)](latents, x)
            latents = self.thoughts[min(turn, len(self.thoughts) - 1)](latents)
        return latents
