"""Eyes over tiles: equal to the padded computation written plainly, for every shape of a picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from chiasm.models.tiled import TiledViT, TiledViTConfig, shapes_of
from chiasm.nn.tiles import TileBlock, resample_tile_positions
from chiasm.testing import open_gates

TAPS = ("final", "block.0", "block.1", "block.2", "last")


def config(**changes: object) -> TiledViTConfig:
    sizes = {"image_size": 12, "patch": 4, "width": 12, "depth": 3, "gated": 2, "heads": 3}
    return TiledViTConfig(**(sizes | {"hidden": 18} | changes))


def eyes(**changes: object) -> TiledViT:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        return open_gates(TiledViT(config(**changes)).double(), 1)


def plainly(model: TiledViT, pixels: Tensor, shape: tuple[int, int]) -> dict[str, Tensor]:
    """One picture, every tile and every padding vector computed, a mask over all pairs (Meta's way)."""
    c, (rows, columns) = model.config, shape
    most, real = c.tiles, rows * columns
    black = torch.zeros(most - real, *pixels.shape[1:], dtype=pixels.dtype)
    whole = torch.cat((pixels, black))
    x = F.conv2d(whole, model.patches.weight, stride=c.patch).flatten(2).transpose(1, 2)
    x[:real] += model.before.weight[:rows, :columns].flatten(0, 1) * model.before.gate.tanh()
    x = torch.cat((model.cls.expand(most, 1, -1), x), dim=1)
    gate = model.tile_position.gate.tanh()
    x = x + model.position.weight * (1 - gate)
    x[:real] += model.tile_position.weight[:rows, :columns].flatten(0, 1) * gate
    x = model.pre_norm(x)
    vectors = x.shape[1]
    x = F.pad(x, (0, 0, 0, 8 - vectors % 8))
    pad = torch.ones(most, x.shape[1], dtype=torch.bool)
    pad[:real, :vectors] = False
    hidden = pad.flatten()[:, None] & pad.flatten()
    mask = torch.zeros(hidden.shape, dtype=x.dtype).masked_fill(hidden, float("-inf"))
    found, per_tile = {}, x.shape[1]

    def cut(x: Tensor) -> Tensor:
        return x.unflatten(0, (most, per_tile))[:real, :vectors]

    def run(x: Tensor, block: TileBlock) -> Tensor:
        attn = block.attn
        q, k, v = (
            m(block.attn_norm(x)).unflatten(-1, (c.heads, -1)) for m in (attn.q, attn.k, attn.v)
        )
        scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5 + mask
        out = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)
        gates = [1.0 if g is None else g.tanh() for g in (block.attn_gate, block.mlp_gate)]
        x = x + gates[0] * attn.o(out)
        return x + gates[1] * block.mlp(block.mlp_norm(x))

    x = x.flatten(0, 1)
    for i, block in enumerate(model.blocks):
        found[f"block.{i}"] = cut(x)
        x = run(x, block)
    found["last"] = cut(x)
    x = model.post_norm(x).unflatten(0, (most, per_tile)).clone()
    x[:real] += model.after.weight[:rows, :columns].flatten(0, 1) * model.after.gate.tanh()
    x = x.flatten(0, 1)
    for block in model.gated:
        x = run(x, block)
    return found | {"final": cut(x)}


def tiles(count: int, side: int = 12, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side, side, generator=source, dtype=torch.float64)


# 10 vectors leave 6 of padding; a tile of 28 pixels has 50, one of 4 * 4 + 8 has 8 patches fewer
@pytest.mark.parametrize("patch", [4, 6])
@pytest.mark.parametrize("shape", shapes_of(4))
def test_one_of_each_kind_of_padding_counts_as_all_of_it(
    shape: tuple[int, int], patch: int
) -> None:
    model = eyes(patch=patch)
    pixels = tiles(shape[0] * shape[1])
    with torch.no_grad():
        got = model(pixels, TAPS, torch.tensor([shape]))
        wanted = plainly(model, pixels, shape)
    for tap in TAPS:
        assert got[tap].shape == wanted[tap].shape
        far = float((got[tap] - wanted[tap]).abs().max() / wanted[tap].abs().max())
        assert far <= 1e-12, tap  # measured: 1e-15


def test_gradients_are_those_of_all_padding() -> None:
    model = eyes()
    pixels, weight = tiles(2).requires_grad_(), torch.randn(2, 10, 12, dtype=torch.float64)
    found = []
    for read in (
        lambda: model(pixels, ("final",), torch.tensor([[1, 2]])),
        lambda: plainly(model, pixels, (1, 2)),
    ):
        model.zero_grad()
        pixels.grad = None
        (read()["final"] * weight).sum().backward()
        found.append({"pixels": pixels.grad} | {n: p.grad for n, p in model.named_parameters()})
    for name, grad in found[0].items():
        scale = float(found[1][name].abs().max())
        assert scale > 0 and float((grad - found[1][name]).abs().max()) <= 1e-11 * scale, name


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    model = eyes()
    shapes = [(1, 2), (1, 1), (2, 2), (2, 1), (1, 1), (4, 1)]
    each = [tiles(r * c, seed=i) for i, (r, c) in enumerate(shapes)]
    with torch.no_grad():
        together = model(torch.cat(each), ("final", "block.1"), torch.tensor(shapes))
        alone = [
            model(pixels, ("final", "block.1"), torch.tensor([shape]))
            for pixels, shape in zip(each, shapes, strict=True)
        ]
    for tap, layer in together.items():
        wanted = torch.cat([one[tap] for one in alone])
        assert torch.allclose(layer, wanted, rtol=0, atol=1e-13), tap


def test_a_tile_is_a_picture_when_nothing_else_is_said() -> None:
    model = eyes()
    pixels = tiles(3)
    with torch.no_grad():
        got = model(pixels)["final"]
        assert torch.equal(got, model(pixels, grids=torch.tensor([[1, 1]] * 3))["final"])
        # ... and tiles of one picture do see each other
        assert (
            float((got - model(pixels, grids=torch.tensor([[1, 3]]))["final"]).abs().max()) > 1e-3
        )


def test_tables_apart_for_every_shape_can_say_what_a_grid_says() -> None:
    by_place, by_shape = eyes(), eyes(tables="shapes")
    state = by_place.state_dict()
    for name in ("tile_position", "before", "after"):
        table = torch.zeros_like(by_shape.get_submodule(name).weight)
        for row, (rows, columns) in enumerate(shapes_of(4)):
            cells = state[f"{name}.weight"][:rows, :columns].flatten(0, 1)
            table[row + 1, : rows * columns] = cells
        state[f"{name}.weight"] = table
    by_shape.load_state_dict(state)
    for shape in shapes_of(4):
        pixels, grids = tiles(shape[0] * shape[1]), torch.tensor([shape])
        with torch.no_grad():
            assert torch.equal(
                by_place(pixels, grids=grids)["final"], by_shape(pixels, grids=grids)["final"]
            )


def test_taps_and_counts_that_do_not_fit_are_errors() -> None:
    model = eyes()
    with pytest.raises(ValueError, match=r"no such tap \['block.3'\]"):
        model(tiles(1), ("block.3",))
    with pytest.raises(ValueError, match="do not fit eyes for up to 4 tiles"):
        model(tiles(5), grids=torch.tensor([[1, 5]]))
    with pytest.raises(ValueError, match=r"3 tiles in all"):
        model(tiles(3), grids=torch.tensor([[1, 2]]))


def test_a_larger_tile_stretches_all_tiles_as_one_picture() -> None:
    """A ramp over the whole canvas stays a ramp; CLS rows stay as they were."""
    line = torch.linspace(0, 1, 2 * 3)
    ramp = (line[:, None] + 2 * line[None]).unflatten(1, (2, 3)).unflatten(0, (2, 3))
    table = torch.cat(
        (torch.full((2, 2, 1, 1), 7.0), ramp.transpose(1, 2).reshape(2, 2, 9, 1)), dim=2
    )
    got = resample_tile_positions(table, (5, 5))
    line = torch.linspace(0, 1, 2 * 5)
    wanted = (
        (line[:, None] + 2 * line[None]).unflatten(1, (2, 5)).unflatten(0, (2, 5)).transpose(1, 2)
    )
    assert torch.allclose(got[:, :, 1:], wanted.reshape(2, 2, 25, 1), atol=1e-6)
    assert torch.equal(got[:, :, 0], torch.full((2, 2, 1), 7.0))
    with torch.no_grad():
        assert eyes()(tiles(2, side=20), grids=torch.tensor([[2, 1]]))["final"].shape == (2, 26, 12)
