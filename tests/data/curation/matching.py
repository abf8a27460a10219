"""A small two-tower model that knows coloured shapes, trained here in seconds, and captions to test it.

pairs(n) ─► (pixels, "a small red circle on grey")  ─► train ─► embed_pictures, embed_texts
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional as F

from chiasm.data.curation.step import Tools
from chiasm.models import DualConfig, DualEncoder, ImageTowerConfig, TextTowerConfig, ViTConfig

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 190, 60),
    "blue": (40, 70, 230),
    "yellow": (240, 220, 40),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "cross")
KINDS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
FORMS = ("a {} {}", "the {} {} in the picture", "{} {}", "a picture of a {} {}")
WORDS = sorted({w for form in FORMS for w in form.split()} - {"{}"} | {*COLOURS} | {*SHAPES})
END, SIZE = len(WORDS) + 1, 24


def drawn(colour: str, shape: str, rng: random.Random) -> NDArray[np.uint8]:
    """A shape somewhere on a grey ground."""
    grey = rng.randint(100, 160)
    image = Image.new("RGB", (SIZE, SIZE), (grey, grey, grey))
    draw, r = ImageDraw.Draw(image), rng.randint(5, 8)
    x, y = rng.randint(r, SIZE - 1 - r), rng.randint(r, SIZE - 1 - r)
    fill = COLOURS[colour]
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "square":
        draw.rectangle((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "triangle":
        draw.polygon(((x, y - r), (x - r, y + r), (x + r, y + r)), fill=fill)
    else:
        draw.rectangle((x - r, y - 1, x + r, y + 1), fill=fill)
        draw.rectangle((x - 1, y - r, x + 1, y + r), fill=fill)
    return np.asarray(image)


def said(colour: str, shape: str, rng: random.Random) -> str:
    return rng.choice(FORMS).format(colour, shape)


def planted(count: int, seed: int) -> list[tuple[NDArray[np.uint8], str, bool]]:
    """Pictures with captions, every third of another kind: (pixels, caption, whether it is wrong)."""
    found = []
    for i in range(count):
        rng = random.Random(f"{seed}/planted/{i}")
        kind = rng.choice(KINDS)
        wrong = i % 3 == 0
        told = rng.choice([other for other in KINDS if other != kind]) if wrong else kind
        found.append((drawn(*kind, rng), said(*told, rng), wrong))
    return found


def _pixels(pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _tokens(texts: Sequence[str]) -> torch.Tensor:
    rows = [[WORDS.index(word) for word in text.split()] + [END] for text in texts]
    return torch.tensor([row + [END] * (8 - len(row)) for row in rows])


@cache
def matching(steps: int = 220) -> Tools:
    """Train on shapes that are drawn anew for every step, and return the two towers."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 32, "depth": 2, "heads": 4, "hidden": 64}
    eyes = ViTConfig(image_size=SIZE, patch=4, **sizes)
    text = TextTowerConfig(vocab=END + 1, context=8, end_token=END, projection=24, **sizes)
    model = DualEncoder(DualConfig(image=ImageTowerConfig(encoder=eyes, projection=24), text=text))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        rng = random.Random(f"0/training/{step}")
        pictures = _pixels([drawn(*kind, rng) for kind in KINDS])
        texts = _tokens([said(*kind, rng) for kind in KINDS])
        logits = model.logits(model.encode_image(pictures), model.encode_text(texts))
        right = torch.arange(len(KINDS))
        loss = F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    model.eval()

    @torch.no_grad()
    def embed_pictures(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return F.normalize(model.encode_image(_pixels(pictures)), dim=-1).numpy()

    @torch.no_grad()
    def embed_texts(texts: Sequence[str]) -> NDArray[np.float32]:
        return F.normalize(model.encode_text(_tokens(texts)), dim=-1).numpy()

    return Tools(embed_pictures=embed_pictures, embed_texts=embed_texts)
