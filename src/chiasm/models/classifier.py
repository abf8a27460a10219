"""What is in the picture: a vision transformer with one logit per class."""

from __future__ import annotations

from typing import Self

import pydantic
from torch import Tensor, nn

from chiasm.base.config import Settings
from chiasm.models.vit import ViT, ViTConfig
from chiasm.nn import Linear


class ClassifierConfig(Settings):
    """A vision transformer and the classes that it tells apart."""

    encoder: ViTConfig
    """The eyes; they need a CLS vector."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits."""

    @pydantic.model_validator(mode="after")
    def _can_answer(self) -> Self:
        if not self.encoder.cls:
            raise ValueError("a classifier reads the CLS vector, and this encoder has none")
        if not self.labels:
            raise ValueError("a classifier needs at least one label")
        return self


class Classifier(nn.Module):
    """Pixels to classes: a linear layer on CLS after the last norm (Dosovitskiy et al. 2020, eq. 4)."""

    def __init__(self, config: ClassifierConfig, encoder: ViT | None = None) -> None:
        """Put a head on an encoder that is already built, or on a new one.

        A new head is zero (section 3.2 of the paper): at first all classes are equally likely.
        """
        super().__init__()
        self.config = config
        self.encoder = ViT(config.encoder) if encoder is None else encoder
        self.head = Linear(config.encoder.width, len(config.labels))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [N, classes] of pictures [N, 3, H, W]."""
        return self.head(self.encoder(pixels)["final"][:, 0])
