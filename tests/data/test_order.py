"""The order: from (seed, epoch) alone, whoever takes which share of it, wherever a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import pytest
import torch

from chiasm.base.errors import UserError
from chiasm.data.loader import PackingLoader
from chiasm.data.order import Order, places
from chiasm.data.rows import BadSample
from chiasm.data.settings import LoadSettings
from chiasm.data.sources import Listed
from chiasm.inputs.batch import IGNORED
from chiasm.inputs.media import MediaError
from chiasm.testing import toy_crossed_config, toy_picture, toy_pixels, toy_renderer, toy_sample

COUNT, RECORDS = 14, 4
BROKEN_PICTURE, BROKEN_ROW = 5, 9


def test_every_record_stands_once_in_every_epoch() -> None:
    order = Order(COUNT, seed=3)
    epochs = [[order.at(epoch * COUNT + i) for i in range(COUNT)] for epoch in range(4)]
    for number, epoch in enumerate(epochs):
        assert {e for e, _ in epoch} == {number}
        assert sorted(i for _, i in epoch) == list(range(COUNT))
    assert len({tuple(i for _, i in epoch) for epoch in epochs}) == 4
    assert [Order(COUNT, 3).at(i) for i in range(40)] == [order.at(i) for i in range(40)]
    assert [Order(COUNT, 4).at(i) for i in range(40)] != [order.at(i) for i in range(40)]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_a_step_and_leave_nothing_out(world: int) -> None:
    shares = [places(6, 8, rank, world) for rank in range(world)]
    assert sorted(place for share in shares for place in share) == list(range(48, 56))
    assert {len(share) for share in shares} == {8 // world}


@pytest.mark.parametrize("records, world, fits", [(6, 4, 4), (3, 8, 8), (9, 2, 8)])
def test_a_step_that_ranks_cannot_share_is_refused(records: int, world: int, fits: int) -> None:
    with pytest.raises(UserError, match=f"make it {fits}, or another multiple of {world}"):
        places(0, records, 0, world)


# ---- the same through the loader: ranks x workers x where it goes on ----------------------------


def source() -> Listed:
    records: list[object] = [
        (toy_sample(f"q{n}?", f"a{n}", [toy_picture(n)], key=f"{n}"),) for n in range(COUNT)
    ]
    records[BROKEN_ROW] = lambda: BadSample("bad_row", "rows.jsonl, row 9")
    return Listed("toys", tuple(records))  # type: ignore[arg-type]


def pixels(shown: object) -> torch.Tensor:
    if shown.key == toy_picture(BROKEN_PICTURE).key:  # type: ignore[attr-defined]
        raise MediaError("broken", "five.png")
    return toy_pixels(shown)


def loader(rank: int = 0, world: int = 1, workers: int = 1, parts: int = 1) -> PackingLoader:
    settings = LoadSettings(
        records=RECORDS, questions=1, max_skipped=0.9, workers=workers, ahead=workers, parts=parts
    )
    renderer = toy_renderer(toy_crossed_config())
    return PackingLoader(source(), renderer, pixels, settings, rank=rank, world=world)


def said(made: PackingLoader, step_batches: list) -> list[str]:
    """The trained texts of a step, sample by sample."""
    texts = []
    for batch in step_batches:
        targets, segments = batch.targets[0], batch.segments[0]
        for segment in segments.unique().tolist():
            learned = targets[(segments == segment) & (targets != IGNORED)].tolist()
            ids = [t for t in learned if t != made.renderer.end]
            texts.append(made.renderer.tokenizer.decode(ids))
    return texts


Make: TypeAlias = Callable[[int, int, int], PackingLoader]
"""Makes the loader of a rank, of so many ranks, with so many workers."""


def woven(start: int, stop: int, world: int, workers: int, make: Make = loader) -> tuple[list, set]:
    """Per step, what all ranks said, laid side by side as the order has it; and what was refused."""
    ranks = [make(rank, world, workers) for rank in range(world)]
    refused: set[tuple[str, str]] = set()
    for made in ranks:
        made.refused = lambda key, reason: refused.add((key, reason))
    streams = [[said(made, b) for b in made.stream(start, stop)] for made in ranks]
    return [sorted(t for s in step for t in s) for step in zip(*streams, strict=True)], refused


WHOLE = 3 * COUNT // RECORDS  # three epochs, whose borders fall within steps


@pytest.mark.parametrize("world, workers", list(product([1, 2, 4], [1, 2, 3])))
def test_any_ranks_and_workers_see_the_same_and_refuse_the_same(world: int, workers: int) -> None:
    wanted, refused = woven(0, WHOLE, 1, 1)
    assert refused == {(f"toys/{BROKEN_ROW}", "bad_row"), (f"{BROKEN_PICTURE}", "broken")}
    assert woven(0, WHOLE, world, workers) == (wanted, refused)
    for resumed in (3, COUNT // RECORDS, 2 * COUNT // RECORDS):
        assert woven(resumed, WHOLE, world, workers)[0] == wanted[resumed:]


def test_the_accounting_identity_holds_over_ranks_and_a_resume() -> None:
    """Records in == samples used + Σ skipped[reason], per epoch, over two ranks, the second half resumed."""
    seen = used = 0
    skipped: list[str] = []
    for rank in range(2):
        first = loader(rank, 2)
        list(first.stream(0, 3))
        second = loader(rank, 2)
        second.restore(first.record())
        list(second.stream(3, 7))
        used += second.used
        skipped += list(second.skipped.elements())
        seen += 7 * RECORDS // 2
    assert seen == 2 * COUNT == used + len(skipped)
    assert sorted(skipped) == ["bad_row"] * 2 + ["broken"] * 2
