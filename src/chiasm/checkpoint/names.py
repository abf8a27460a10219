"""The one engine for weight names: a table per family, read in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from chiasm.base.errors import did_you_mean
from chiasm.checkpoint.weights import CheckpointError

_NUMBER = re.compile(r"(?<![^.])(0|[1-9]\d*)(?![^.])")
_AND = " + "


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

    Two rows for one place, on either side, are refused when the table is made.
    """

    rows: Mapping[str, str]
    """Their name -> ours; "a + b" when theirs holds our a and b, of equal height, one below the other."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that may be stored a second time -> our name of what it must equal."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that our model has no use for -> why."""
    ones: Mapping[str, int] = field(default_factory=dict)
    """Our name -> how many dimensions of size 1 theirs has before our shape."""

    def __post_init__(self) -> None:
        places = [place for target in self.rows.values() for place in _parts(target)]
        if len(set(places)) != len(places):
            raise ValueError("a table sends two names to one place")
        lists = (*self.rows, *self.twins, *self.left_out)
        if len(set(lists)) != len(lists):
            raise ValueError("a table lists a name twice")
        for theirs, ours in self.rows.items():
            if any(theirs.count("*") != place.count("*") for place in _parts(ours)):
                raise ValueError(f"{theirs} and {ours} hold different numbers of *")

    def prefixed(self, prefix: str) -> NameTable:
        """Return the table for files whose names all begin with `prefix`."""

        def put(side: Mapping[str, str]) -> dict[str, str]:
            return {prefix + name: value for name, value in side.items()}

        return NameTable(put(self.rows), put(self.twins), put(self.left_out), self.ones)

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
        return NameTable(rows, left_out=left_out, ones=ones)

    def ours(self, theirs: str) -> str | None:
        """Return our name for one of theirs, None when the table has no row for it."""
        return _translate(theirs, self.rows)

    def theirs(self, ours: str) -> str | None:
        """Return their name for one of ours, None when the table has no row for it."""
        inverse = {place: other for other, mine in self.rows.items() for place in _parts(mine)}
        return _translate(ours, inverse)

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
            elif (twin := _translate(name, self.twins)) is not None:
                found.twins[name] = twin
            elif (why := self.left_out.get(_pattern(name)[0])) is not None:
                found.left_out[name] = why
            else:
                unknown.append(name)
        if unknown:
            hint = did_you_mean(_pattern(unknown[0])[0], self.rows)
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

    def unpack(self, ours: str, tensor: Tensor) -> Tensor:
        """Return what we call `ours` of the tensor that the family stores it in."""
        theirs = str(self.theirs(ours))
        parts, ones = _parts(str(self.ours(theirs))), self.ones.get(_pattern(ours)[0], 0)
        if len(parts) > 1 and (not tensor.ndim or len(tensor) % len(parts)):
            raise CheckpointError(
                f'tensor "{theirs}" has shape {list(tensor.shape)}, not {len(parts)} parts of equal '
                "height."
            )
        if tensor.shape[:ones] != (1,) * ones:
            raise CheckpointError(
                f'tensor "{theirs}" has shape {list(tensor.shape)}, which should begin with '
                f"{[1] * ones}."
            )
        if len(parts) > 1:
            tensor = tensor.tensor_split(len(parts))[parts.index(ours)]
        return tensor.reshape(tensor.shape[ones:])

    def pack(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a model's tensors under the family's names, as it stores them; as `rename`."""
        packed: dict[str, Tensor] = {}
        for ours, theirs in self.rename(own).items():
            if theirs not in packed:
                parts = _parts(str(self.ours(theirs)))
                ones = (1,) * self.ones.get(_pattern(ours)[0], 0)
                whole = own[ours] if len(parts) == 1 else torch.cat([own[name] for name in parts])
                packed[theirs] = whole.reshape(ones + whole.shape)
        return packed


class Placed(Mapping[str, Tensor]):
    """A file's tensors under our names, read when asked for."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        places: Mapping[str, str],
        change: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
    ) -> None:
        """places: our name -> theirs; change(our name, tensor) undoes another order of rows."""
        self._tensors, self._places, self._change = tensors, places, change

    def __getitem__(self, name: str) -> Tensor:
        return self._change(name, self._tensors[self._places[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _parts(ours: str) -> list[str]:
    return ours.split(_AND)


def _pattern(name: str) -> tuple[str, list[str]]:
    numbers = _NUMBER.findall(name)
    return _NUMBER.sub("*", name), numbers


def _translate(name: str, rows: Mapping[str, str]) -> str | None:
    pattern, numbers = _pattern(name)
    other = rows.get(pattern)
    if other is None or "*" in name:
        return None
    filled = []
    for place in _parts(other):  # every place of a row holds the same numbers
        for number in numbers:
            place = place.replace("*", number, 1)
        filled.append(place)
    return _AND.join(filled)
