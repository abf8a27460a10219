"""Our eyes against transformers' CLIPVisionModel on the same folder: the real weights, every layer.

CLIP ViT-B/16 has a few channels that grow to 90 in its upper half. There, fp32 rounds in steps of
8e-6, and transformers' own two attention implementations differ from each other by 4e-4. So equality
is shown in fp64, and in fp32 we must lie as near to the fp64 values as transformers does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from chiasm.checkpoint.builtin import pull
from chiasm.checkpoint.folder import load_vit

TAPS = (*(f"block.{i}" for i in range(12)), "last")


@pytest.fixture(scope="module")
def folder() -> Path:
    return pull("clip-vit-base-patch16")


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Two pictures of the usual range: discs on a gradient, and noise."""
    side = torch.linspace(-1, 1, 224)
    x, y = side[None].expand(224, 224), side[:, None].expand(224, 224)
    drawn = torch.stack((x, y, -x))
    for left, top, colour in ((-0.4, -0.3, (1.9, -1.7, -1.4)), (0.5, 0.4, (-1.7, 2.0, 0.1))):
        inside = (x - left) ** 2 + (y - top) ** 2 < 0.09
        drawn = torch.where(inside, torch.tensor(colour)[:, None, None], drawn)
    noise = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    return torch.stack((drawn, noise))


@torch.no_grad()
def layers_of_theirs(
    folder: Path, pixels: Tensor, dtype: torch.dtype
) -> tuple[list[Tensor], Tensor]:
    model = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=dtype).eval()
    out = model.vision_model(pixels.to(dtype), output_hidden_states=True)
    return list(out.hidden_states), out.pooler_output


@torch.no_grad()
def layers_of_ours(folder: Path, pixels: Tensor, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    model = load_vit(folder, dtype)[0].eval()
    taps = model(pixels.to(dtype), (*TAPS, "final"))
    return [taps[name] for name in TAPS], taps["final"][:, 0]


@pytest.fixture(scope="module")
def truth(folder: Path, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
    return layers_of_theirs(folder, pixels, torch.float64)


def farthest(left: list[Tensor], right: list[Tensor]) -> list[float]:
    return [float((a.double() - b.double()).abs().max()) for a, b in zip(left, right, strict=True)]


def test_every_layer_is_transformers_layer(
    folder: Path, pixels: Tensor, truth: tuple[list[Tensor], Tensor]
) -> None:
    layers, pooled = layers_of_ours(folder, pixels, torch.float64)
    assert min(float(layer.std()) for layer in layers) > 0.1
    assert max(farthest(layers, truth[0])) <= 1e-4  # measured: 0.0
    assert farthest([pooled], [truth[1]])[0] <= 1e-4


def test_in_fp32_we_round_no_worse_than_transformers(
    folder: Path, pixels: Tensor, truth: tuple[list[Tensor], Tensor]
) -> None:
    ours, pooled = layers_of_ours(folder, pixels, torch.float32)
    theirs, _ = layers_of_theirs(folder, pixels, torch.float32)
    largest = [float(layer.abs().max()) for layer in truth[0]]
    errors, yardstick = farthest(ours, truth[0]), farthest(theirs, truth[0])
    for error, other, size in zip(errors, yardstick, largest, strict=True):
        assert error <= 3 * other + 1e-5  # measured: 0.6 to 1.6 times
        assert error <= 1e-5 * max(1.0, size)  # measured: 4e-6 times the largest value
    assert farthest([pooled], [truth[1]])[0] <= 1e-4


def test_what_is_left_out_is_known(folder: Path) -> None:
    _, provenance = load_vit(folder)
    assert [name.partition(":")[2] for name in provenance.left_out] == ["visual_projection.weight"]
    assert "clip-vit-base-patch16 (made from " in provenance.source
