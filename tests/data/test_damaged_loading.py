"""A training set of which much is damaged: whoever reads it, wherever it goes on, misses the same (R3, O6).

pictures ─ a sixth damaged before they were written ─┐
shards   ─ one cut, one lost, two changed on disk ───┴─► loaders: 1, 2, 4 ranks │ 1, 2 workers │ resumed
                                                            │
                 rows == learned + Σ refused[reason], and the same refused everywhere
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from tests.data.test_order import woven
from tests.inputs.test_damaged_pictures import mutant, seeds

from chiasm.data.loader import PackingLoader
from chiasm.data.pairs import captioned
from chiasm.data.parquet_source import parquet
from chiasm.data.settings import LoadSettings
from chiasm.data.shards import Row, write_index, write_shard
from chiasm.inputs.image import Transform
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.message import Picture, Shown
from chiasm.testing import toy_crossed_config, toy_renderer

ROWS, RECORDS = 96, 32
"""Rows of a shard, and of a step."""
CUT, LOST, CHANGED, ZEROED = 2, 5, 7, 11
"""The shards that are damaged on disk."""


def written(folder: Path, shards: int) -> None:
    """Shards with pictures of all formats, each sixth one a mutant; then the damage on disk."""
    whole = list(seeds().values())
    made = []
    for shard in range(shards):
        rows = []
        for number in range(shard * ROWS, (shard + 1) * ROWS):
            chance = random.Random(number)
            data = whole[number % len(whole)]
            data = mutant(data, chance) if chance.random() < 1 / 6 else data
            rows.append(Row(captioned(Picture(data=data), f"p{number}", f"{number}")))
        made.append(write_shard(folder / f"{shard:05}.parquet", rows, {}))
    write_index(folder, made, {})
    for shard, damage in ((CUT, "cut"), (LOST, "lost"), (CHANGED, "flip"), (ZEROED, "zeros")):
        spoil(folder / f"{shard:05}.parquet", damage)


def spoil(path: Path, damage: str) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    match damage:
        case "cut":
            del data[middle:]
        case "flip":
            data[middle] ^= 16
        case "zeros":
            data[middle : middle + 100] = bytes(100)
        case "lost":
            path.unlink()
            return
    path.write_bytes(data)


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(workers=2) as shared:
        yield shared


def check(folder: Path, shards: int, decoder: ImageDecoder, resumed: tuple[int, ...]) -> None:
    rows, steps = shards * ROWS, shards * ROWS // RECORDS
    transform = Transform(size=16, fit="stretch")

    def pixels(shown: Shown) -> torch.Tensor:
        return transform.pixels(decoder.decode(shown.read(), shown.name))

    def loader(rank: int, world: int, workers: int) -> PackingLoader:
        settings = LoadSettings(records=RECORDS, questions=1, max_skipped=0.9, workers=workers)
        renderer = toy_renderer(toy_crossed_config())
        return PackingLoader(parquet(folder), renderer, pixels, settings, rank=rank, world=world)

    wanted, refused = woven(0, steps, 1, 1, loader)
    learned = [text for step in wanted for text in step]
    assert len(set(learned)) == len(learned)  # nothing stands in for what is missing
    assert rows == len(learned) + len(refused)
    reasons = Counter(reason for _, reason in refused)
    assert reasons["shard_truncated"] == 2 * ROWS
    assert reasons["damaged_file"] + reasons["wrong_checksum"] >= 2
    assert reasons["broken"] > rows / 50
    for world, workers in product((1, 2, 4), (1, 2)):
        for start in resumed:
            said, missed = woven(start, steps, world, workers, loader)
            assert said == wanted[start:]
            assert missed <= refused and (start or missed == refused)


def test_two_thousand_records(tmp_path: Path, decoder: ImageDecoder) -> None:
    written(tmp_path, 24)
    check(tmp_path, 24, decoder, resumed=(0, 41))


@pytest.mark.soak
def test_twenty_thousand_records(tmp_path: Path, decoder: ImageDecoder) -> None:
    written(tmp_path, 210)
    check(tmp_path, 210, decoder, resumed=(0, 399))
