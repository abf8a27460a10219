"""Data sources by name, and what of them is held out for the looking meter and the samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.files import cache_dir
from chiasm.checkpoint.builtin import pull_wheel
from chiasm.data.shards import INDEX, read_index
from chiasm.data.sources import Source, easy_vqa, folder, parquet
from chiasm.inputs.message import Record
from chiasm.recipes.parts import Say

BUILT_IN = ("easy-vqa",)
HELD_OUT = 16
"""Records kept from training where a source has no test part of its own."""


@dataclass(frozen=True)
class Slice:
    """Records start … stop - 1 of a source."""

    source: Source
    start: int
    stop: int

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.source.name

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.source[self.start + index]


def materials(name: str, say: Say, cache: bool = False) -> tuple[Source, Source]:
    """Open a source by name or path: what is trained on, and what is held out.

    cache  keep uncompressed copies of Parquet rows, for sets larger than memory
    """
    if name == "easy-vqa":
        root = pull_wheel(name, say)
        return easy_vqa(root, "train"), easy_vqa(root, "test")
    if _has_test(Path(name)):
        return opened(name, say, cache), parquet(name, _copies(cache), "test")
    return _held_out(opened(name, say, cache))


def opened(name: str, say: Say, cache: bool = False) -> Source:
    """Open a source by name or path: all of it, less a test part of its own."""
    if name == "easy-vqa":
        return easy_vqa(pull_wheel(name, say), "train")
    path = Path(name)
    if (path / INDEX).is_file():
        return parquet(path, _copies(cache), "train" if _has_test(path) else "")
    if path.is_dir() and not any(path.glob("*.parquet")):
        return folder(path)
    if path.is_dir() or path.suffix == ".parquet" or "*" in name:
        return parquet(name, _copies(cache))
    raise UserError(
        f'There is neither a data source nor a folder called "{name}".{did_you_mean(name, BUILT_IN)} '
        f"Known are {', '.join(BUILT_IN)}, a folder of pictures or of shards, or a .parquet file."
    )


def _has_test(path: Path) -> bool:
    """Whether shards lie there of which some are for testing."""
    indexed = (path / INDEX).is_file()
    return indexed and any(s.rows for s in read_index(path) if s.file.startswith("test/"))


def _copies(cache: bool) -> Path | None:
    return cache_dir() / "rows" if cache else None


def _held_out(source: Source) -> tuple[Source, Source]:
    """The last records are held out: at most 16, and never more than a tenth."""
    held = min(HELD_OUT, len(source) // 10)
    if not held:
        raise UserError(
            f"{source.name} holds {len(source)} records; at least 10 are needed, because a tenth is kept "
            "from training to measure whether the model looks at its pictures."
        )
    cut = len(source) - held
    return Slice(source, 0, cut), Slice(source, cut, len(source))
