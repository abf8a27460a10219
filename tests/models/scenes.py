"""Random models of every architecture, and random batches that show them pictures and videos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from chiasm.base.vision import Clips, Vision
from chiasm.models import (
    AggregatorConfig,
    Crossed,
    CrossedConfig,
    Prefix,
    PrefixConfig,
    ProjectorConfig,
    ResamplerConfig,
    compose,
)
from chiasm.models.tiled import TiledViTConfig, shapes_of
from chiasm.models.video import VideoConfig
from chiasm.testing import open_gates, toy_decoder_config, toy_vit_config

SIDE = 8
"""Of a tile, in pixels; patches of 4."""
KINDS = ("crossed", "crossed tiles", "flamingo", "video", "prefix", "prefix tiles")


def model_of(kind: str, seed: int, **decoder: Any) -> Crossed | Prefix:
    """A model in fp64 whose gates are open."""
    words = toy_decoder_config(vocab=40, **{"depth": 4, "width": 12, "head_width": 4} | decoder)
    tiled = TiledViTConfig(
        image_size=SIDE, patch=4, width=8, depth=2, gated=1, heads=2, hidden=12, tiles=4
    )
    plain = toy_vit_config(image_size=SIDE, patch=4, width=8, depth=2, hidden=12)
    eyes: Any = tiled if "tiles" in kind or kind == "video" else plain
    read: dict[str, Any] = {"taps": ("block.1", "final")}
    config: CrossedConfig | PrefixConfig
    if kind.startswith("prefix"):
        projector = ProjectorConfig(kind="mlp", cls=False, **read)
        config = PrefixConfig(decoder=words, encoder=eyes, projector=projector, extra_tokens=3)
    elif kind == "flamingo":
        sizes = ResamplerConfig(latents=3, depth=1, heads=2, head_width=4)
        projector = ProjectorConfig(kind="resampler", resampler=sizes, **read)
        config = CrossedConfig(
            decoder=words,
            encoder=eyes,
            projector=projector,
            crosses=4,
            cross="flamingo",
            extra_tokens=3,
        )
    else:
        merging = AggregatorConfig(
            latents=3, depth=1, heads=2, head_width=4, hidden=8, merge=3, frames=2
        )
        config = CrossedConfig(
            decoder=words,
            encoder=eyes,
            projector=ProjectorConfig(**read),
            crosses=4,
            extra_tokens=3,
            video=VideoConfig(aggregator=merging, every=2) if kind == "video" else None,
        )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return open_gates(compose(config).double().eval(), seed)


@dataclass(frozen=True)
class Scene:
    """A batch of padded rows; what it shows is drawn from `seed`."""

    tokens: Tensor
    vision: Vision | None
    owners: list[int]
    """Which row shows each picture."""
    places: list[int]
    """Where in its row each picture stands."""

    def with_pixels(self, pixels: Tensor) -> Scene:
        """The same scene, showing something else."""
        return replace(self, vision=replace(self.vision, pixels=pixels))


@st.composite
def scenes(draw: st.DrawFn, kind: str, rows: int = 2) -> Scene:
    """Rows of words, pictures ("p", one or several tiles) and clips ("v")."""
    events = "wwwp" + ("v" if kind == "video" else "")
    length = 0 if kind.startswith("prefix") else draw(st.integers(3, 8))
    lines = [
        draw(st.lists(st.sampled_from(events), min_size=length or 2, max_size=length or 5))
        for _ in range(rows)
    ]
    shapes = [(1, 1)] if "tiles" not in kind and kind != "video" else list(shapes_of(4))
    source = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    return build(
        kind, lines, lambda: draw(st.sampled_from(shapes)), lambda: draw(st.integers(1, 7)), source
    )


def build(
    kind: str, lines: list[list[str]], shape: Any, frames: Any, source: torch.Generator
) -> Scene:
    """Lay out rows of events; each token sees the last run of pictures, and the last clip."""
    ids, seen, watched, grids, counts, owners, places = [], [], [], [], [], [], []
    each = 4 if kind.startswith("prefix") else 0  # places of a tile
    for row, line in enumerate(lines):
        span, clip, last = (len(grids),) * 2, (len(counts),) * 2, ""
        ids.append([])
        seen.append([])
        watched.append([])
        for event in line:
            new = [int(torch.randint(0, 40, (1,), generator=source))]
            if event == "p":
                grid = shape()
                owners.append(row)
                places.append(len(ids[row]))
                span = (span[0] if last == "p" else len(grids), len(grids) + 1)
                grids.append(grid)
                new = [40] * max(1, each * grid[0] * grid[1])
            elif event == "v":
                clip = (len(counts), len(counts) + 1)
                counts.append(frames())
                new = [41]
            ids[row] += new
            seen[row] += [span] * len(new)
            watched[row] += [clip] * len(new)
            last = event
    longest = max(map(len, ids))
    tokens = torch.tensor([line + [0] * (longest - len(line)) for line in ids])
    spans = torch.tensor([line + line[-1:] * (longest - len(line)) for line in seen])
    clips = None
    if counts:
        times = torch.tensor([line + line[-1:] * (longest - len(line)) for line in watched])
        clips = Clips(times, torch.tensor(counts), _pixels(sum(counts), source))
    if not grids and clips is None:
        return Scene(tokens, None, [], [])
    tiles = sum(r * c for r, c in grids)
    pixels = _pixels(tiles, source) if grids else None
    vision = Vision(spans, pixels, torch.tensor(grids) if grids else None, clips=clips)
    return Scene(tokens, vision, owners, places)


def _pixels(tiles: int, source: torch.Generator) -> Tensor:
    return torch.randn(tiles, 3, SIDE, SIDE, generator=source, dtype=torch.float64)
