"""Pictures and texts in one space: two towers whose ends are compared by their cosine.

pixels ─► ViT ────────► pool ─► project ─┐
                                         ├─► cosine * exp(logit_scale) + logit_bias ─► logits
tokens ─► TextTower ──► pool ─► project ─┘

CLIP    pool: CLS, the end token     project: a matrix on both sides      no bias on the logits
SigLIP  pool: a probe, the last      project: text only, with a bias      a bias on the logits
"""

from __future__ import annotations

import math
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chiasm.base.config import Settings
from chiasm.models.vit import ViT, ViTConfig
from chiasm.nn import AttentionPool, LayerNorm, Linear, VisionBlock
from chiasm.nn.attention import causal


class ImageTowerConfig(Settings):
    """Eyes, and how all they see becomes one vector."""

    encoder: ViTConfig
    """The eyes."""
    pool: Literal["cls", "probe"] = "cls"
    """Take the CLS vector (CLIP), or ask all vectors with a learned probe (SigLIP)."""
    projection: int | None = None
    """Width of the space shared with text, by a matrix without bias; None = no matrix."""

    @property
    def out(self) -> int:
        """Width of the vector that a picture becomes."""
        return self.encoder.width if self.projection is None else self.projection

    @pydantic.model_validator(mode="after")
    def _can_pool(self) -> Self:
        if self.pool == "cls" and not self.encoder.cls:
            raise ValueError('the encoder has no CLS vector; pool by "probe"')
        return self


class TextTowerConfig(Settings):
    """Sizes of a text encoder, and which of its vectors stands for the text."""

    vocab: int
    """Rows of the embedding table."""
    width: int
    """Width of the residual stream."""
    depth: int
    """Number of blocks."""
    heads: int
    """Attention heads of a block."""
    hidden: int
    """Inner width of the feed-forward network."""
    context: int
    """Longest text, in tokens."""
    activation: Literal["quick_gelu", "gelu", "gelu_tanh"] = "quick_gelu"
    """As in the eyes."""
    norm_eps: float = 1e-5
    """Added to the variance in every LayerNorm."""
    causal: bool = True
    """A token sees only those before it (CLIP), or all (SigLIP)."""
    pool: Literal["end", "highest", "last"] = "end"
    """Which vector stands for the text: that of the first end token, of the highest id, or the last."""
    end_token: int | None = None
    """Id that ends a text; needed to pool by "end"."""
    projection: int | None = None
    """Width of the space shared with pictures; None = no matrix."""
    projection_bias: bool = False
    """A bias beside that matrix (SigLIP)."""

    @property
    def out(self) -> int:
        """Width of the vector that a text becomes."""
        return self.width if self.projection is None else self.projection

    @pydantic.model_validator(mode="after")
    def _can_pool(self) -> Self:
        if (self.pool == "end") != (self.end_token is not None):
            raise ValueError('`end_token` is for pooling by "end", which needs it')
        return self


class DualConfig(Settings):
    """Two towers and how their ends are compared."""

    kind: Literal["dual"] = "dual"
    """Which model this is."""
    image: ImageTowerConfig
    """The tower that looks."""
    text: TextTowerConfig
    """The tower that reads."""
    logit_scale: float = math.log(1 / 0.07)
    """Logarithm of what a new model multiplies cosines by."""
    logit_bias: float | None = None
    """What a new model adds to the logits; None = nothing, and nothing is learned (CLIP)."""

    @pydantic.model_validator(mode="after")
    def _towers_meet(self) -> Self:
        if self.image.out != self.text.out:
            raise ValueError(
                f"pictures become vectors of {self.image.out} numbers and texts of {self.text.out}; "
                "set `projection`"
            )
        return self


class ImageTower(nn.Module):
    """Pixels to one vector per picture (Radford et al. 2021; Zhai et al. 2023)."""

    def __init__(self, config: ImageTowerConfig) -> None:
        super().__init__()
        self.config = c = config
        e = c.encoder
        self.encoder = ViT(e)
        pool = project = None
        if c.pool == "probe":
            pool = AttentionPool(e.width, e.heads, e.hidden, e.activation, e.norm_eps)
        if c.projection is not None:
            project = Linear(e.width, c.projection, bias=False)
        self.register_module("pool", pool)
        self.register_module("project", project)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [N, out] of pictures [N, 3, H, W], not normalised."""
        x = self.encoder(pixels)["final"]
        x = x[:, 0] if self.pool is None else self.pool(x)
        return x if self.project is None else self.project(x)


class TextTower(nn.Module):
    """Tokens to one vector per text (Radford et al. 2021, section 2.4; Zhai et al. 2023)."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.vocab, c.width)
        self.position = nn.Embedding(c.context, c.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.01)
        sizes = (c.width, c.heads, c.hidden, c.activation, c.norm_eps)
        self.blocks = nn.ModuleList(VisionBlock(*sizes) for _ in range(c.depth))
        self.norm = LayerNorm(c.width, c.norm_eps)
        project = None
        if c.projection is not None:
            project = Linear(c.width, c.projection, bias=c.projection_bias)
        self.register_module("project", project)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, out] of texts [B, T], not normalised.

        What stands behind the end token is not seen by a causal tower. A tower that is not causal was
        trained on texts padded to its context, and sees the padding: pad in the same way.

        Raises ValueError for a text longer than the context, or without an end token.
        """
        c, length = self.config, tokens.shape[1]
        if length > c.context:
            raise ValueError(f"{length} tokens are more than the {c.context} of this text tower")
        x = self.embed(tokens) + self.position.weight[:length].to(self.embed.weight.dtype)
        bias = causal(length, x) if c.causal else None
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x)
        x = x[torch.arange(len(x), device=x.device), self._place(tokens)]
        return x if self.project is None else self.project(x)

    def _place(self, tokens: Tensor) -> Tensor:
        """Where the vector stands that speaks for each text: [B]."""
        c = self.config
        if c.pool == "last":
            return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)
        if c.pool == "highest":
            return tokens.argmax(dim=1)
        ends = tokens == c.end_token
        if not bool(ends.any(dim=1).all()):
            raise ValueError(f"a text has no end token {c.end_token}; was it cut?")
        return ends.int().argmax(dim=1)


class DualEncoder(nn.Module):
    """CLIP and SigLIP: pictures and texts as vectors whose cosine tells whether they belong together."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = c = config
        self.image = ImageTower(c.image)
        self.text = TextTower(c.text)
        self.logit_scale = nn.Parameter(torch.tensor(c.logit_scale))
        bias = None if c.logit_bias is None else nn.Parameter(torch.tensor(c.logit_bias))
        self.register_parameter("logit_bias", bias)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return [N, out] of pictures [N, 3, H, W], not normalised."""
        return self.image(pixels)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return [B, out] of texts [B, T], not normalised; errors as in `TextTower`."""
        return self.text(tokens)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Compare what `encode_image` and `encode_text` gave: [N, out], [B, out] -> [N, B].

        Cosine times exp(logit_scale), plus logit_bias; computed in at least fp32, where a scale of 100
        leaves a step of 1e-5 and bf16 one of 0.5.
        """
        kind = torch.promote_types(images.dtype, torch.float32)
        images, texts = (F.normalize(side.to(kind), dim=-1) for side in (images, texts))
        logits = images @ texts.T * self.logit_scale.to(kind).exp()
        return logits if self.logit_bias is None else logits + self.logit_bias.to(kind)
