"""Shards on disk to normalised pictures with their words: our loader against the two that are about.

ours   PackingLoader over our Parquet shards: shuffled over the whole set, decoded in limited processes,
       rendered to ids, packed, checksums verified
peer   `datasets` streams the same shards, or `webdataset` the same pictures in a tar; each with a shuffle
       buffer, Pillow's decode, bicubic resize of the shorter side, crop, normalise, batches by a DataLoader
       with two workers, as their guides show

All sides see the same JPEGs, give 224 x 224 tensors with CLIP's numbers, and use two cores.
"""

from __future__ import annotations

import io
import random
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _duel import Case, main
from PIL import Image

from chiasm.data.loader import PackingLoader
from chiasm.data.pairs import captioned
from chiasm.data.parquet_source import parquet
from chiasm.data.settings import LoadSettings
from chiasm.data.shards import Row, write_index, write_shard
from chiasm.inputs.image import CLIP_MEAN, CLIP_STD, Transform
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.message import Picture
from chiasm.testing import toy_crossed_config, toy_renderer

COUNT, BATCH, SIZE = 768, 32, 224
CASES: list[Case] = [{"peer": "datasets"}, {"peer": "webdataset"}]


def jpeg(number: int) -> bytes:
    """A picture of 480 to 600 pixels with soft shapes and a little grain, saved at quality 88."""
    chance = np.random.default_rng(number)
    height, width = (int(n) for n in chance.integers(480, 600, 2))
    coarse = chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = chance.normal(0, 6, (height, width, 1))
    pixels = np.clip(soft + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def disk() -> Path:
    """The same pictures as shards and as a tar, made once for both sides."""
    folder = Path(tempfile.gettempdir()) / f"chiasm-loader-{COUNT}"
    if not (folder / "_index.json").exists():
        folder.mkdir(exist_ok=True)
        data = [jpeg(number) for number in range(COUNT)]
        lots = [range(start, start + 192) for start in range(0, COUNT, 192)]
        shards = []
        for number, lot in enumerate(lots):
            rows = [Row(captioned(Picture(data=data[i]), f"Picture {i}.", f"p/{i}")) for i in lot]
            shards.append(write_shard(folder / f"{number:05}.parquet", rows, {}))
            with tarfile.open(folder / f"{number:05}.tar", "w") as tar:
                for i in lot:
                    for name, content in (("jpg", data[i]), ("txt", f"Picture {i}.".encode())):
                        member = tarfile.TarInfo(f"{i:05}.{name}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
        write_index(folder, shards, {})
    return folder


def ours(case: Case) -> tuple[Callable[[], None], dict[str, Any]]:
    transform, decoder = Transform(size=SIZE, fit="crop"), ImageDecoder(workers=2)
    source = parquet(disk())
    settings = LoadSettings(records=BATCH, questions=1, workers=2, ahead=2)

    def pixels(shown: Any) -> torch.Tensor:
        return transform.pixels(decoder.decode(shown.read(), shown.name))

    loader = PackingLoader(source, toy_renderer(toy_crossed_config()), pixels, settings)
    epoch = iter(range(10**6))

    def work() -> None:
        start = next(epoch) * (COUNT // BATCH)
        seen = 0
        for (batch,) in loader.stream(start, start + COUNT // BATCH):
            assert batch.vision is not None and batch.vision.pixels is not None
            seen += len(batch.vision.pixels)
        assert seen == COUNT

    return work, {"pictures": COUNT, "size": SIZE}


def prepared(opened: Image.Image) -> torch.Tensor:
    """The usual Pillow path."""
    picture = opened.convert("RGB")
    scale = SIZE / min(picture.size)
    size = tuple(max(SIZE, int(n * scale)) for n in picture.size)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = ((n - SIZE) // 2 for n in picture.size)
    picture = picture.crop((left, top, left + SIZE, top + SIZE))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return pixels.sub_(mean).div_(std)


def opened(data: bytes) -> torch.Tensor:
    return prepared(Image.open(io.BytesIO(data)))


def batches(case: Case) -> Any:
    from torch.utils.data import DataLoader

    folder = disk()
    if case["peer"] == "datasets":
        from datasets import load_dataset

        files = sorted(map(str, folder.glob("*.parquet")))
        stream = load_dataset("parquet", data_files=files, split="train", streaming=True)
        stream = stream.select_columns(["messages", "images"]).shuffle(seed=1, buffer_size=200)

        def made(row: dict[str, Any]) -> dict[str, Any]:
            text = row["messages"][1]["content"][0]["text"]
            return {"pixels": prepared(row["images"][0]), "text": text}

        stream = stream.map(made, remove_columns=["messages", "images"]).with_format("torch")
        return DataLoader(stream, batch_size=BATCH, num_workers=2)
    import webdataset as wds

    tars = sorted(map(str, folder.glob("*.tar")))
    pipeline = (
        wds.WebDataset(tars, shardshuffle=4, seed=1, nodesplitter=None)
        .shuffle(200)
        .to_tuple("jpg", "txt")
        .map_tuple(opened, bytes.decode)
        .batched(BATCH)
    )
    return DataLoader(pipeline, batch_size=None, num_workers=2)


def peer(case: Case) -> tuple[Callable[[], None], dict[str, Any]]:
    def work() -> None:
        seen = 0
        for batch in pictures(batches(case)):
            assert batch.shape[1:] == (3, SIZE, SIZE)
            seen += len(batch)
        assert seen == COUNT

    return work, {"pictures": COUNT, "size": SIZE}


def pictures(loader: Any) -> Iterator[torch.Tensor]:
    for batch in loader:
        yield batch["pixels"] if isinstance(batch, dict) else batch[0]


if __name__ == "__main__":
    random.seed(0)
    lost = [name for name in ("datasets", "webdataset") if find_spec(name) is None]
    if lost:
        print(f"Not measured: {' and '.join(lost)} not installed; benchmarks/README.md says how.")
        sys.exit(0)
    sys.exit(
        main(
            __file__, CASES, {"ours": ours, "peer": peer}, str(__doc__).splitlines()[0], bound=False
        )
    )
