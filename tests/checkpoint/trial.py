"""Small checkpoints that show their step in every part, and what a cut in a save leaves of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from tests.base.power_cut import Tree, read_tree, recording, states, write_tree

from chiasm.checkpoint import state
from chiasm.checkpoint.state import latest_state, load_state, run_lock, save_state


def content(step: int):
    """Tensors and record of a step, every part of which shows the step."""
    tensors = {
        "model": {"w": torch.full((2, 3), float(step)), "b": torch.full((4,), step).bfloat16()},
        "random": {"bytes": torch.full((5,), step % 256, dtype=torch.uint8)},
    }
    return tensors, {"step": step, "name": "é", "ratio": 0.1, "place": [1, {"epoch": None}]}


def save(root: Path, step: int, shows: int | None = None, keep: int = 2) -> Path:
    return save_state(root, step, *content(step if shows is None else shows), keep=keep)


def shown(path: Path) -> int:
    """Load a checkpoint and return the one step that all of it shows."""
    tensors, record = load_state(path)
    wanted, wanted_record = content(record["step"])
    assert record == wanted_record
    assert same(tensors, wanted)
    return record["step"]


def same(one, other) -> bool:
    return {group: list(named) for group, named in one.items()} == {
        group: sorted(named, key=list(one[group]).index) for group, named in other.items()
    } and all(
        tensor.dtype == other[group][name].dtype
        and tensor.shape == other[group][name].shape
        and torch.equal(bits(tensor), bits(other[group][name]))
        for group, named in one.items()
        for name, tensor in named.items()
    )


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def steps(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


class Cut(NamedTuple):
    """What a trainer finds that starts after a power cut."""

    calls: int
    """How many of the save's calls came before the cut."""
    saved: bool
    """Whether the cut came after the save had returned."""
    found: int | None
    """The step it resumes from."""
    whole: int
    """How many checkpoints verify."""
    damaged: int
    """How many do not, although they bear a checkpoint's name."""


def after_a_cut(root: Path, tree: Tree) -> tuple[int | None, int, int]:
    """Start as a trainer does on what a cut left, and return the last three fields of a Cut."""
    write_tree(tree, root)
    with run_lock(root):
        path = latest_state(root, [].append)
    found = None if path is None else shown(path)
    faults = [state._fault(path) for _, path in state._steps(root)]
    assert [name for name in steps(root) if name.startswith(".step")] == []
    return found, faults.count(None), len(faults) - faults.count(None)


def every_cut(root: Path, save_it: Callable[[], object]) -> Iterator[Cut]:
    """Record a save into `root` and yield what a trainer finds after each cut in it."""
    before, again = read_tree(root), root.with_name("after the cut")
    with recording(root) as calls:
        save_it()
    known: dict[int, tuple[int | None, int, int]] = {}
    for count, tree in states(before, calls):
        key = hash(tuple(tree.items()))
        if key not in known:
            shutil.rmtree(again, ignore_errors=True)
            again.mkdir()
            known[key] = after_a_cut(again, tree)
        yield Cut(count, count == len(calls), *known[key])
