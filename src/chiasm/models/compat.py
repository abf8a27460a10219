"""What transformers computes instead of Meta's numbers, so that people can explain differences.

Two things, from transformers 4.56 on (docs/compat.md). Features: layers are read one block too late.
Masks: text that sees no picture looks at all of its row's pictures, because the mask of such a token
is all "hidden", and transformers multiplies it by zero, which shows everything (its issue 39379):

    row 0   a  b  ▣0 c          Meta, and we by default     transformers
    row 1   d  e  f  g          a b see nothing             a b attend to every tile of picture 0, padding
                                d e f g see nothing         tiles too; d e f g to a black picture of no shape;
                                                            their feed-forward branch alone is silenced
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.models.sight import project, starts_of, tiles_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.nn import Look, group
from chiasm.nn.memory import Pairs


def answer_as(model: nn.Module, compat: str) -> None:
    """Make a cross-attention model compute Meta's numbers ("meta") or transformers' ("hf"), in place.

    Meta's eyes read what enters a block, which is what the taps of a configuration say; transformers
    reads what leaves it. Raises ValueError for "hf" with other eyes than Llama 3.2's.
    """
    config = model.config.model_copy(update={"compat": compat})
    taps, depth = config.projector.taps, config.encoder.depth
    if compat == "hf":
        if not isinstance(config.encoder, TiledViTConfig):
            raise ValueError("only Llama 3.2's eyes, over tiles, have numbers of transformers' own")
        late = {f"block.{i}": f"block.{i + 1}" for i in range(depth)} | {
            f"block.{depth - 1}": "last"
        }
        taps = tuple(late.get(tap, tap) for tap in taps)
    model.config, model.taps = config, taps


def leaking(model: nn.Module, vision: Vision) -> tuple[Pairs, Look, int]:
    """Return keys and values of all tiles, who looks at which, and how many units are pictures' own.

    Padding tiles, and those of the black picture, stand behind the pictures' own tiles. Raises
    ValueError for features in the place of pixels: they hold no padding tiles.
    """
    if vision.pixels is None:
        raise ValueError("compat='hf' needs pixels: features hold no padding tiles")
    rows, most = _pictures_of_rows(vision)
    counts, tiles = tiles_of(vision), model.config.encoder.tiles
    grids = torch.ones(len(counts), 2, dtype=torch.long) if vision.grids is None else vision.grids
    pixels, blank = vision.pixels, len(counts)
    if any(len(row) < most for row in rows):
        pixels = torch.cat((pixels, torch.zeros_like(pixels[:1])))
        grids = torch.cat((grids, torch.zeros_like(grids[:1])))
    features = project(model, pixels, grids, padding=True)
    own = [p * tiles + t for p, count in enumerate(counts.tolist()) for t in range(count)]
    order = own + sorted(set(range(len(grids) * tiles)) - set(own))
    place = {unit: i for i, unit in enumerate(order)}
    shown = [
        [place[p * tiles + t] for p in row + [blank] * (most - len(row)) for t in range(tiles)]
        for row in rows
    ]
    pairs = [cross.attn.memory(features[order]) for cross in model.crosses]
    return pairs, _look(vision.spans, starts_of(counts).to(vision.spans.device), shown), len(own)


def _pictures_of_rows(vision: Vision) -> tuple[list[list[int]], int]:
    """Which pictures each row holds, and the most that a row holds."""
    found = []
    for spans in vision.spans:
        seen = spans[spans[:, 1] > spans[:, 0]]
        found.append(list(range(int(seen[:, 0].min()), int(seen[:, 1].max()))) if len(seen) else [])
    return found, max(map(len, found))


def _look(spans: Tensor, starts: Tensor, shown: list[list[int]]) -> Look:
    """Let each token see its span's units, and those without a span all units that its row shows."""
    first, last = starts[spans.flatten(0, 1)].unbind(-1)
    row = torch.arange(len(shown), device=spans.device).repeat_interleave(spans.shape[1])
    looks = last > first
    groups = group(torch.where(looks, len(shown) + first * (int(last.max()) + 1) + last, row))
    lists = [
        list(range(int(first[i]), int(last[i]))) if looks[i] else shown[int(row[i])]
        for i in groups.firsts.tolist()
    ]
    longest = max(map(len, lists))
    units = torch.tensor([[*u, *[u[0]] * (longest - len(u))] for u in lists], device=spans.device)
    sizes = torch.tensor([len(u) for u in lists], device=spans.device)
    hidden = torch.arange(longest, device=spans.device) >= sizes[:, None]
    everyone = torch.arange(len(row), device=spans.device)
    thinking = looks[:, None].float()
    return Look(everyone, groups, units, hidden if bool(hidden.any()) else None, thinking)
