"""Small real steps and sources for tests of the pipeline; importable, so that worker processes find them."""

from __future__ import annotations

import io
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.engine import Task, do
from chiasm.data.curation.recipe import Recipe
from chiasm.data.curation.stage import Bench, Job
from chiasm.data.curation.step import KEPT, Item, Step, Tools, Verdict, WholeStep
from chiasm.data.pairs import Pair, PairSource
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture

# ---- steps -------------------------------------------------------------------------------------


class LengthSettings(Settings):
    """Keep captions of at least so many words."""

    kind: Literal["length"] = "length"
    least: int = 2

    def step(self, tools: Tools) -> Step:
        return Length(self)


@dataclass(frozen=True)
class Length:
    settings: LengthSettings
    name = "length"
    looks = False
    reasons = {"short": "the caption has too few words"}  # noqa: RUF012

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Verdict:
        count = len(item.caption.split())
        short = count < self.settings.least
        return Verdict("short" if short else "", f"{count} words", facts={"words": count})


class BrightSettings(Settings):
    """Drop dark pictures; note how bright each is, and turn a very bright one around."""

    kind: Literal["bright"] = "bright"
    least: float = 40.0
    turn: bool = False

    def step(self, tools: Tools) -> Step:
        return Bright(self)


@dataclass(frozen=True)
class Bright:
    settings: BrightSettings
    name = "bright"
    looks = True
    reasons = {"dark": "the picture is dark"}  # noqa: RUF012

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Verdict:
        level = float(np.mean(item.frames[0]))
        turned = self.settings.turn and level > 150
        frames = (np.ascontiguousarray(item.frames[0][::-1]),) if turned else None
        reason = "dark" if level < self.settings.least else ""
        return Verdict(reason, f"{level:.0f}", facts={"level": level}, frames=frames)


class ShoutSettings(Settings):
    """Write captions in capitals; needs a model that is passed in, here for pictures' texts."""

    kind: Literal["shout"] = "shout"

    def step(self, tools: Tools) -> Step:
        if tools.describe is None:
            raise UserError("A model that can describe is missing.")
        return Shout()


@dataclass(frozen=True)
class Shout:
    name = "shout"
    looks = False
    reasons: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reasons", {})

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [Verdict(caption=item.caption.upper()) for item in items]


class AloneSettings(Settings):
    """Keep the first of equal captions, in the order of the table."""

    kind: Literal["alone"] = "alone"
    needs: tuple[str, ...] = ()

    def step(self, tools: Tools) -> WholeStep:
        return Alone(self.needs)


@dataclass(frozen=True)
class Alone:
    needs: tuple[str, ...]
    name = "alone"
    reasons = {"again": "the caption was there before"}  # noqa: RUF012

    def __call__(self, table: Any) -> dict[int, Verdict]:
        seen: dict[str, str] = {}
        found = {}
        rows = zip(table["caption"].to_pylist(), table["key"].to_pylist(), strict=True)
        for number, (caption, key) in enumerate(rows):
            if caption in seen:
                found[number] = Verdict("again", f"as {seen[caption]}")
            seen.setdefault(caption, key)
        return found


class FaultSettings(Settings):
    """A step with a fault of its own, for tests of what becomes of it."""

    kind: Literal["fault"] = "fault"
    what: Literal["raises", "undeclared", "few", "taken", "dies"] = "raises"

    def step(self, tools: Tools) -> Step:
        return Fault(self.what)


@dataclass(frozen=True)
class Fault:
    what: str
    name = "fault"
    looks = False
    reasons = {"known": "declared"}  # noqa: RUF012

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        if self.what == "raises":
            raise ZeroDivisionError("a step of a test divides by zero")
        if self.what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "few":
            return []
        if self.what == "taken":
            return [Verdict(facts={"caption": "x"}) for _ in items]
        return [Verdict("unheard of") if i == 0 else KEPT for i, _ in enumerate(items)]


Kinds = Annotated[
    LengthSettings | BrightSettings | ShoutSettings | AloneSettings | FaultSettings,
    Field(discriminator="kind"),
]


class ToyRecipe(Recipe):
    """A recipe of the steps above."""

    steps: tuple[Kinds, ...] = ()


def toy_tools(recipe: Recipe) -> Tools:
    """A model that describes every picture alike."""
    return Tools(describe=lambda frames: ["a picture" for _ in frames])


# ---- sources -----------------------------------------------------------------------------------

WORDS = ("red", "blue", "dog", "house", "on", "a", "hill", "the", "tree", "boat")
FAULTS = ("no_text", "damaged_file", "missing", "broken", "empty")


@dataclass(frozen=True)
class Toy:
    """Records of random colours and words, some of them faulty: the same ones every time."""

    name: str
    count: int
    faulty: float
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Pair:
        chance = random.Random(f"{self.seed}/{self.name}/{index}")
        where = f"{self.name}, record {index}"
        fault = chance.choice(FAULTS) if chance.random() < self.faulty else ""
        if fault in ("no_text", "damaged_file"):
            raise BadSample(fault, where)
        if fault == "missing":
            raise MediaError(fault, where)
        caption = " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 3)))
        data = {"broken": b"\x89PNG\r\n\x1a\nbroken", "empty": b""}.get(fault) or picture(chance)
        shown = Picture(data=data) if fault != "empty" else Picture(path=os.devnull)
        notes = {"concept": chance.choice(WORDS)} if chance.random() < 0.8 else {}
        return Pair(f"{self.name}/{index}", caption, shown, self.name, "CC0-1.0", notes)


def picture(chance: random.Random) -> bytes:
    """A small PNG of one colour with a darker top row."""
    image = Image.new("RGB", (8, 6), tuple(chance.randrange(256) for _ in range(3)))
    image.paste((0, 0, 0), (0, 0, 8, 1))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def toy(name: str) -> PairSource:
    """Open "toy:NAME:COUNT:FAULTY:SEED"."""
    _, title, count, faulty, seed = name.split(":")
    return Toy(title, int(count), float(faulty), int(seed))


def one_by_one(job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Do tasks in this process, the last one first: no engine, and an order of its own."""
    bench = Bench(job)
    try:
        for task in reversed(tasks):
            yield task, do(bench, task)
    finally:
        bench.close()


def captions(folder: Path) -> Counter[str]:
    """How often each caption stands in a finished folder."""
    import pyarrow.parquet as pq

    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*/[0-9]*.parquet")):
        if path.parent.name in ("train", "test"):
            for row in pq.read_table(path, columns=["messages"]).to_pylist():
                found[row["messages"][1]["content"][0]["text"]] += 1
    return found


def ledger(folder: Path) -> dict[str, Any]:
    """The ledger of a finished folder."""
    found: dict[str, Any] = json.loads((folder / "ledger.json").read_text())
    return found
