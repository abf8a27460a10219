"""Cross-attention: the language model stays as it is, and looks at pictures between its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.base.vision import Clips, Vision
from chiasm.models.compat import answer_as, leaking
from chiasm.models.decoder import Decoder, DecoderConfig
from chiasm.models.eyes import Eyes, EyesConfig, eyes
from chiasm.models.perceiver import Aggregator
from chiasm.models.projector import Projector, ProjectorConfig
from chiasm.models.sight import embed, starts_of, tiles_of, vectors_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.video import VideoConfig, watch
from chiasm.nn import Cache, CrossBlock, FlamingoCrossBlock, GatedCrossBlock, Look
from chiasm.nn.masks import look
from chiasm.nn.memory import Pairs

FLAMINGO = (8, 64)
"""Heads of Flamingo's crosses, and the width of one (open_flamingo)."""


class CrossedConfig(Settings):
    """A language model, eyes, and the crosses between them."""

    kind: Literal["crossed"] = "crossed"
    """Which architecture this is."""
    decoder: DecoderConfig
    """The language model."""
    encoder: EyesConfig
    """The eyes."""
    projector: ProjectorConfig = ProjectorConfig()
    """From the eyes' width to the language model's."""
    crosses: int = 8
    """How many cross blocks, spread over the depth by Meta's schedule."""
    before: tuple[int, ...] | None = None
    """The 0-based blocks that they stand before, where that is another schedule than Meta's."""
    cross: Literal["llama", "flamingo"] = "llama"
    """Whose cross blocks: Llama 3.2's have the decoder's shape, Flamingo's 8 heads of 64 and a GELU."""
    video: VideoConfig | None = None
    """Eyes for videos beside those for pictures; None = pictures only."""
    extra_tokens: int = 8
    """Rows added behind the vocabulary for new tokens; the first marks a picture's place, the second a
    video's."""
    attend: Literal["last", "only_last", "all_previous"] = "last"
    """Which pictures a token sees: those of the last run (Llama 3.2), the last one alone (Flamingo), or
    all before it."""
    compat: Literal["meta", "hf"] = "meta"
    """Whose numbers: Meta's, or those of transformers with all that it does otherwise (docs/compat.md)."""

    @property
    def image_token(self) -> int:
        """Id of the token that marks a picture's place in the text."""
        return self.decoder.vocab

    @property
    def video_token(self) -> int | None:
        """Id of the token that marks a video's place in the text; None without eyes for videos."""
        return None if self.video is None else self.decoder.vocab + 1

    @property
    def schedule(self) -> tuple[int, ...]:
        """The 0-based blocks that a cross stands before, in order."""
        return self.before or fusion_schedule(self.decoder.depth, self.crosses)

    @pydantic.model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.compat == "hf" and not isinstance(self.encoder, TiledViTConfig):
            raise ValueError("compat hf is for Llama 3.2's eyes, over tiles")
        if self.before is None:
            fusion_schedule(self.decoder.depth, self.crosses)
        elif len(self.before) != self.crosses or self.crosses < 1:
            raise ValueError(f"before names {len(self.before)} blocks for {self.crosses} crosses")
        elif list(self.before) != sorted({i for i in self.before if 0 <= i < self.decoder.depth}):
            raise ValueError(
                f"before must name blocks from 0 to {self.decoder.depth - 1} in rising order"
            )
        if self.video is not None:
            fusion_schedule(self.crosses, self.video.count(self.crosses))
            if self.extra_tokens < 2:
                raise ValueError(
                    "videos need extra_tokens of 2 or more: the second marks their places"
                )
        return self

    def places(self, image_size: int | None = None, tiles: int = 1) -> int:
        """Tokens that a picture of `tiles` tiles takes in the text: one, whatever it is made of."""
        return 1


def fusion_schedule(depth: int, crosses: int) -> tuple[int, ...]:
    """Return the 0-based blocks that a cross stands before: every ⌈depth / crosses⌉-th, from the last.

    Meta's rule (llama-models, `fusion_schedule`): counted from the end, so 32 blocks with 8 crosses
    give 3, 7, … 31. When the stride overshoots, fewer crosses than asked for fit: ValueError.
    """
    if crosses < 1:
        raise ValueError(f"a model takes at least one of its crosses, not {crosses}")
    stride = -(-depth // crosses)
    chosen = tuple(reversed(range(depth)[::-1][::stride][:crosses]))
    if len(chosen) != crosses:
        raise ValueError(
            f"{depth} blocks take {len(chosen)} crosses at stride {stride}, not {crosses}"
        )
    return chosen


class Crossed(nn.Module):
    """Llama 3.2 Vision's architecture over any decoder and encoder (Llama 3 herd of models, 7.2)."""

    def __init__(
        self, config: CrossedConfig, decoder: Decoder | None = None, encoder: Eyes | None = None
    ) -> None:
        """Join a decoder and an encoder that are already built, or build new ones in their stead."""
        super().__init__()
        self.config = c = config
        d = c.decoder
        self.decoder = Decoder(d) if decoder is None else decoder
        self.encoder = eyes(c.encoder) if encoder is None else encoder
        self.projector = Projector(c.projector, c.encoder.width, d.width, c.encoder.lead)
        self.schedule = c.schedule
        self.crosses = nn.ModuleList(_cross(c) for _ in self.schedule)
        self.extra = nn.Embedding(c.extra_tokens, d.width)
        nn.init.normal_(self.extra.weight, std=d.width**-0.5)
        answer_as(self, c.compat)
        if c.video is not None:
            chosen = fusion_schedule(c.crosses, c.video.count(c.crosses))
            self.video_schedule = tuple(self.schedule[i] for i in chosen)
            self.video_crosses = nn.ModuleList(_cross(c) for _ in chosen)
            self.aggregator = Aggregator(c.video.aggregator, d.width)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        vision: Vision | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return features [B, T, width]; as `Decoder`, and tokens look at the pictures of `vision`.

        With a cache, pictures are encoded once and remembered; later tokens of a row go on seeing what
        its newest token saw.
        """
        before: dict[int, list[Callable[[Tensor], Tensor]]] = {}
        if self.config.video is not None:
            seen = self._clips(vision.clips if vision is not None else None, cache, tokens)
            _stand_before(before, self.video_schedule, self.video_crosses, *seen)
        elif vision is not None and vision.clips is not None:
            raise ValueError("this model has no eyes for videos: its configuration's video is None")
        seen = self._pictures(vision, cache, tokens)
        _stand_before(before, self.schedule, self.crosses, *seen)
        return self.decoder.run(embed(self, tokens), positions, segments, cache, before)

    def head(self, features: Tensor) -> Tensor:
        """Return logits [..., vocab]: the language model's own head."""
        return self.decoder.head(features)

    def cache(self, rows: int, capacity: int) -> Cache:
        """Return an empty memory for `rows` conversations of up to `capacity` tokens."""
        return self.decoder.cache(rows, capacity)

    def _pictures(
        self, vision: Vision | None, cache: Cache | None, tokens: Tensor
    ) -> tuple[Pairs, Look | None]:
        """Keys and values of all pictures for each cross, and which tokens look at which."""
        if vision is None:
            return ([], None) if cache is None else cache.pictures.standing(tokens.shape[1])
        spans, starts = vision.spans, starts_of(tiles_of(vision))
        pairs: Pairs = []
        if bool((spans[..., 1] > spans[..., 0]).any()):
            if self.config.compat == "hf":
                pairs, everyone, own = leaking(self, vision)
                if cache is not None:
                    cache.pictures.add([(k[:own], v[:own]) for k, v in pairs], starts, spans)
                return pairs, everyone
            seen = vectors_of(self, vision)
            pairs = [cross.attn.memory(seen) for cross in self.crosses]
        if cache is not None:
            return cache.pictures.add(pairs, starts, spans)
        return pairs, (look(spans.flatten(0, 1), starts) if pairs else None)

    def _clips(
        self, clips: Clips | None, cache: Cache | None, tokens: Tensor
    ) -> tuple[Pairs, Look | None]:
        """The same for videos, whose units are effective frames."""
        if clips is None:
            return ([], None) if cache is None else cache.clips.standing(tokens.shape[1])
        spans, pairs = clips.spans, []
        starts = starts_of(torch.zeros_like(clips.frames))
        if bool((spans[..., 1] > spans[..., 0]).any()):
            merged, counts = watch(self, clips)
            pairs, starts = (
                [cross.attn.memory(merged) for cross in self.video_crosses],
                starts_of(counts),
            )
        if cache is not None:
            return cache.clips.add(pairs, starts, spans)
        return pairs, (look(spans.flatten(0, 1), starts) if pairs else None)


def _cross(config: CrossedConfig) -> CrossBlock:
    d = config.decoder
    if config.cross == "flamingo":
        return FlamingoCrossBlock(d.width, *FLAMINGO, 4 * d.width, 1e-5)
    return GatedCrossBlock(d.width, d.heads, d.kv_heads, d.head_width, d.hidden, d.norm_eps)


def _stand_before(
    before: dict[int, list[Callable[[Tensor], Tensor]]],
    schedule: Sequence[int],
    crosses: nn.ModuleList,
    pairs: Pairs,
    look: Look | None,
) -> None:
    """Put crosses before the decoder's blocks, behind those that stand there already."""
    if look is not None:
        for layer, cross, memory in zip(schedule, crosses, pairs, strict=True):
            before.setdefault(layer, []).append(partial(cross, memory=memory, look=look))
