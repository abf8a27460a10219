"""The one engine for weight names: a table per family, read in both directions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from chiasm.base.errors import did_you_mean
from chiasm.checkpoint.changes import Change
from chiasm.checkpoint.weights import CheckpointError, LazyTensors, Spec, spec_of

_NUMBER = re.compile(r"(?<![^.])(0|[1-9]\d*)(?![^.])")
_AND = " + "
T = TypeVar("T")


@dataclass(frozen=True)
class Matched:
    """What a table makes of a file's names."""

    places: dict[str, str]
    """Our name -> the file's."""
    twins: dict[str, str]
    """The file's name of a second copy -> our name of what it must equal."""
    left_out: dict[str, str]
    """The file's name -> why the model does not need it."""


@dataclass(frozen=True)
class NameTable:
    """A family's names against ours; `*` stands for a number between dots, such as a layer's.

    A row for a name with its numbers comes before a row with `*`. Two rows for one place, on either
    side, are refused when the table is made.
    """

    rows: Mapping[str, str]
    """Their name -> ours; "a + b" when theirs holds our a and b, one below the other."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that may be stored a second time -> our name of what it must equal."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that our model has no use for -> why."""
    ones: Mapping[str, int] = field(default_factory=dict)
    """Our name -> how many dimensions of size 1 theirs has before our shape."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """As `twins`, of a tensor that the family always stores a second time."""
    changes: Mapping[str, Change] = field(default_factory=dict)
    """Their name -> what it holds otherwise; "a + b" without a change are of equal height."""

    def __post_init__(self) -> None:
        places = [place for target in self.rows.values() for place in _parts(target)]
        if len(set(places)) != len(places):
            raise ValueError("a table sends two names to one place")
        lists = (*self.rows, *self.twins, *self.copies, *self.left_out)
        if len(set(lists)) != len(lists):
            raise ValueError("a table lists a name twice")
        for theirs, ours in self.rows.items():
            if any(theirs.count("*") != place.count("*") for place in _parts(ours)):
                raise ValueError(f"{theirs} and {ours} hold different numbers of *")

    def prefixed(self, prefix: str) -> NameTable:
        """Return the table for files whose names all begin with `prefix`."""
        return self.respelled(lambda name: prefix + name)

    def respelled(self, spell: Callable[[str], str]) -> NameTable:
        """Return the table for files that spell every name of theirs as `spell` says."""
        rows, twins, left_out, copies = (
            {spell(name): value for name, value in side.items()}
            for side in (self.rows, self.twins, self.left_out, self.copies)
        )
        changes = {spell(name): change for name, change in self.changes.items()}
        return NameTable(rows, twins, left_out, self.ones, copies, changes)

    def part(self, start: str, why: Mapping[str, str]) -> NameTable:
        """Return the table of the part of our model whose names begin with `start`, without it.

        why  beginnings of our other names -> why the part leaves their tensors out
        """
        rows, left_out = {}, dict(self.left_out)
        for theirs, ours in self.rows.items():
            if ours.startswith(start):
                rows[theirs] = _AND.join(place.removeprefix(start) for place in _parts(ours))
            else:
                left_out[theirs] = next(why[first] for first in why if ours.startswith(first))
        ones = {name.removeprefix(start): count for name, count in self.ones.items()}
        changes = {name: change for name, change in self.changes.items() if name in rows}
        return NameTable(rows, left_out=left_out, ones=ones, changes=changes)

    def with_integers(self) -> NameTable:
        """Return the table for folders that keep integers, whose scales and zeros stand by each weight."""
        more = {
            theirs.removesuffix("weight") + kind: ours.removesuffix("weight") + kind
            for theirs, ours in self.rows.items()
            if theirs.endswith(".weight") and ours.endswith(".weight")
            for kind in ("scale", "zero")
        }
        return dataclasses.replace(self, rows={**self.rows, **more})

    def ours(self, theirs: str) -> str | None:
        """Return our name for one of theirs, None when the table has no row for it."""
        return _translate(theirs, self.rows)

    def theirs(self, ours: str) -> str | None:
        """Return their name for one of ours, None when the table has no row for it."""
        return _translate(ours, self._inverse)

    @cached_property
    def _inverse(self) -> dict[str, str]:
        return {place: other for other, mine in self.rows.items() for place in _parts(mine)}

    def match(self, names: Iterable[str], source: str) -> Matched:
        """Sort a file's names into places, twins and left out; others are a CheckpointError."""
        found, unknown = Matched({}, {}, {}), []
        for name in names:
            if (places := self.ours(name)) is not None:
                for place in _parts(places):
                    if place in found.places:
                        raise CheckpointError(
                            f'{source}: "{name}" and "{found.places[place]}" are for one place.'
                        )
                    found.places[place] = name
            elif (twin := _translate(name, {**self.twins, **self.copies})) is not None:
                found.twins[name] = twin
            elif (why := _listed(name, self.left_out)) is not None:
                found.left_out[name] = why
            else:
                unknown.append(name)
        if unknown:
            hint = did_you_mean(unknown[0], self.rows)
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise CheckpointError(
                f'{source} holds tensor "{unknown[0]}"{more}, unknown to this family.{hint}'
            )
        return found

    def rename(self, ours: Iterable[str]) -> dict[str, str]:
        """Return our name -> theirs for all tensors of a model; ValueError for an unknown one."""
        renamed = {name: self.theirs(name) for name in ours}
        if absent := [name for name, other in renamed.items() if other is None]:
            raise ValueError(f"the table has no row for {absent}")
        return {name: other for name, other in renamed.items() if other is not None}

    def unpack(self, ours: str, stored: Tensor) -> Tensor:
        """Return what we call `ours` of the tensor that the family stores it in.

        A shape that cannot be changed into ours is a CheckpointError.
        """
        theirs = str(self.theirs(ours))
        parts, ones = _parts(str(self.ours(theirs))), self.ones.get(_pattern(ours)[0], 0)
        shape = list(stored.shape)
        if shape[:ones] != [1] * ones:
            raise CheckpointError(
                f'tensor "{theirs}" has shape {shape}, which should begin with {[1] * ones}.'
            )
        stored = stored.reshape(stored.shape[ones:])
        change = _listed(theirs, self.changes)
        if change is None:
            if len(parts) > 1 and (not stored.ndim or len(stored) % len(parts)):
                raise CheckpointError(
                    f'tensor "{theirs}" has shape {shape}, not {len(parts)} parts of equal height.'
                )
            return stored.tensor_split(len(parts))[parts.index(ours)] if parts[1:] else stored
        try:
            return change.ours(stored)[parts.index(ours)]
        except (RuntimeError, IndexError, ValueError):
            raise CheckpointError(
                f'tensor "{theirs}" has shape {shape}, which does not fit the settings.'
            ) from None

    def pack(self, own: Mapping[str, Tensor]) -> Packed:
        """Return a model's tensors under the family's names, as it stores them; as `rename`."""
        return Packed(self, own)

    def repeat(self, theirs: str, own: Mapping[str, Tensor]) -> Tensor:
        """Return what the family stores under `theirs`, of our tensors; a twin or copy, too."""
        twin = _translate(theirs, {**self.twins, **self.copies})
        parts = _parts(str(self.ours(theirs)) if twin is None else twin)
        ones = (1,) * self.ones.get(_pattern(parts[0])[0], 0)
        change = _listed(theirs, self.changes)
        if change is not None:
            whole = change.theirs([own[name] for name in parts])
        else:
            whole = own[parts[0]] if not parts[1:] else torch.cat([own[name] for name in parts])
        return whole.reshape(ones + whole.shape)


class Packed(LazyTensors):
    """Our tensors under a family's names, changed to its form when asked for."""

    def __init__(self, table: NameTable, own: Mapping[str, Tensor]) -> None:
        self._table, self._own = table, own
        repeated = [name for name, ours in table.copies.items() if ours in own]
        self._names = tuple(dict.fromkeys((*table.rename(own).values(), *repeated)))

    def __getitem__(self, name: str) -> Tensor:
        return self._table.repeat(name, self._own)

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        changed = self._table.repeat(name, _Shadows(self._own))
        return Spec(changed.dtype, tuple(changed.shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Shadows(Mapping[str, Tensor]):
    """Tensors on the meta device in the stead of others."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        known = spec_of(self._tensors, name)
        return torch.empty(known.shape, dtype=known.dtype, device="meta")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class Placed(LazyTensors):
    """A file's tensors under our names, read when asked for."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        places: Mapping[str, str],
        change: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
    ) -> None:
        """places: our name -> theirs; change(our name, tensor) undoes another order of rows.

        What `change` does may depend on a tensor's shape, not on its values: `spec` asks it on the
        meta device.
        """
        self._tensors, self._places, self._change = tensors, places, change

    def __getitem__(self, name: str) -> Tensor:
        return self._change(name, self._tensors[self._places[name]])

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        stored = _Shadows(self._tensors)[self._places[name]]
        changed = self._change(name, stored)
        return Spec(changed.dtype, tuple(changed.shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _parts(ours: str) -> list[str]:
    return ours.split(_AND)


def _listed(name: str, entries: Mapping[str, T]) -> T | None:
    """Return the entry for a name with its numbers, else the one with `*` in their places."""
    return entries.get(name, entries.get(_pattern(name)[0]))


def _pattern(name: str) -> tuple[str, list[str]]:
    numbers = _NUMBER.findall(name)
    return _NUMBER.sub("*", name), numbers


def _translate(name: str, rows: Mapping[str, str]) -> str | None:
    pattern, numbers = _pattern(name)
    if "*" in name:
        return None
    if name in rows:
        return rows[name]
    other = rows.get(pattern)
    if other is None:
        return None
    filled = []
    for place in _parts(other):  # every place of a row holds the same numbers
        for number in numbers:
            place = place.replace("*", number, 1)
        filled.append(place)
    return _AND.join(filled)
