"""Unified embedding: pictures become tokens that stand in the text (LLaVA)."""

from __future__ import annotations

from typing import Literal, Self

import pydantic
import torch
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.base.vision import Vision
from chiasm.models.decoder import Decoder, DecoderConfig
from chiasm.models.eyes import Eyes, EyesConfig, eyes
from chiasm.models.projector import Projector, ProjectorConfig
from chiasm.models.sight import embed, starts_of, tiles_of, vectors_of
from chiasm.nn import Cache


class PrefixConfig(Settings):
    """A language model, eyes, and the projector between them."""

    kind: Literal["prefix"] = "prefix"
    """Which architecture this is."""
    decoder: DecoderConfig
    """The language model."""
    encoder: EyesConfig
    """The eyes."""
    projector: ProjectorConfig = ProjectorConfig(kind="mlp", cls=False)
    """From the eyes' width to the language model's."""
    extra_tokens: int = 8
    """Rows added behind the vocabulary for new tokens; the first one marks a picture's places."""
    place_token: int | None = None
    """The token of the vocabulary that marks a picture's places instead (LLaVA-1.5: 32000)."""

    @property
    def image_token(self) -> int:
        """Id of the token that marks a picture's places in the text."""
        return self.decoder.vocab if self.place_token is None else self.place_token

    @property
    def video_token(self) -> None:
        """None: this architecture has no eyes for videos."""
        return None

    @pydantic.model_validator(mode="after")
    def _has_place_token(self) -> Self:
        if self.image_token >= self.decoder.vocab + self.extra_tokens:
            raise ValueError(f"there is no token {self.image_token} to mark a picture's places")
        return self

    def places(self, image_size: int | None = None, tiles: int = 1) -> int:
        """Tokens that a picture of `tiles` tiles, each `image_size` wide, takes in the text."""
        return tiles * self.projector.places(self.encoder.places(image_size), self.encoder.lead)


class Prefix(nn.Module):
    """LLaVA's architecture over any decoder and encoder (Liu et al. 2023)."""

    def __init__(
        self, config: PrefixConfig, decoder: Decoder | None = None, encoder: Eyes | None = None
    ) -> None:
        """Join a decoder and an encoder that are already built, or build new ones in their stead."""
        super().__init__()
        self.config = c = config
        self.decoder = Decoder(c.decoder) if decoder is None else decoder
        self.encoder = eyes(c.encoder) if encoder is None else encoder
        self.taps = c.projector.taps
        self.projector = Projector(c.projector, c.encoder.width, c.decoder.width, c.encoder.lead)
        self.extra = nn.Embedding(c.extra_tokens, c.decoder.width)
        nn.init.normal_(self.extra.weight, std=c.decoder.width**-0.5)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        vision: Vision | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return features [B, T, width]; as `Decoder`, with picture vectors in the pictures' places.

        Raises ValueError when the number of places differs from the number of picture vectors.
        """
        if vision is not None and vision.clips is not None:
            raise ValueError("this model has no eyes for videos")
        x, places = embed(self, tokens), tokens == self.config.image_token
        if vision is not None and vision.pictures:
            x = self._insert(x, places, vision)
        elif bool(places.any()):
            raise ValueError(
                f"the text holds {int(places.sum())} picture places, but no picture came"
            )
        return self.decoder.run(x, positions, segments, cache)

    def head(self, features: Tensor) -> Tensor:
        """Return logits [..., vocab]: the language model's own head."""
        return self.decoder.head(features)

    def cache(self, rows: int, capacity: int) -> Cache:
        """Return an empty memory for `rows` conversations of up to `capacity` tokens."""
        return self.decoder.cache(rows, capacity)

    def _insert(self, x: Tensor, places: Tensor, vision: Vision) -> Tensor:
        """Put vectors into their places; the last picture that a place sees is the one it stands for."""
        vectors = vectors_of(self, vision).to(x.dtype)
        starts = (starts_of(tiles_of(vision)) * vectors.shape[1]).tolist()
        owners = (vision.spans[places][:, 1] - 1).tolist()
        chosen, at = [], 0
        # A picture that several samples show is encoded once and stands in each of them.
        while at < len(owners) and owners[at] >= 0:
            first, end = starts[owners[at]], starts[owners[at] + 1]
            if owners[at : at + end - first] != [owners[at]] * (end - first):
                break
            chosen.append(torch.arange(first, end))
            at += end - first
        if at < len(owners) or set(owners) != set(range(len(starts) - 1)):
            raise ValueError(
                f"the text holds {len(owners)} picture places, but {len(starts) - 1} pictures of "
                f"{starts[-1]} vectors in all were given, or the spans do not say which picture stands "
                "where"
            )
        rows = vectors.flatten(0, 1)[torch.cat(chosen).to(x.device)]
        return x.masked_scatter(places[..., None].expand_as(x), rows)
