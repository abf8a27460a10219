"""The one engine for weight names: a table per family, read in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from chiasm.base.errors import did_you_mean
from chiasm.checkpoint.weights import CheckpointError

_NUMBER = re.compile(r"(?<![^.])(0|[1-9]\d*)(?![^.])")


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
    """Their name -> ours."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that may be stored a second time -> our name of what it must equal."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Their name of a tensor that our model has no use for -> why."""

    def __post_init__(self) -> None:
        if len(set(self.rows.values())) != len(self.rows):
            raise ValueError("a table sends two names to one place")
        lists = (*self.rows, *self.twins, *self.left_out)
        if len(set(lists)) != len(lists):
            raise ValueError("a table lists a name twice")
        for theirs, ours in self.rows.items():
            if theirs.count("*") != ours.count("*"):
                raise ValueError(f"{theirs} and {ours} hold different numbers of *")

    def prefixed(self, prefix: str) -> NameTable:
        """Return the table for files whose names all begin with `prefix`."""

        def put(side: Mapping[str, str]) -> dict[str, str]:
            return {prefix + name: value for name, value in side.items()}

        return NameTable(put(self.rows), put(self.twins), put(self.left_out))

    def with_integers(self) -> NameTable:
        """Return the table for folders that keep integers, whose scales and zeros stand by each weight."""
        more = {
            theirs.removesuffix("weight") + kind: ours.removesuffix("weight") + kind
            for theirs, ours in self.rows.items()
            if theirs.endswith(".weight") and ours.endswith(".weight")
            for kind in ("scale", "zero")
        }
        return NameTable({**self.rows, **more}, self.twins, self.left_out)

    def ours(self, theirs: str) -> str | None:
        """Return our name for one of theirs, None when the table has no row for it."""
        return _translate(theirs, self.rows)

    def theirs(self, ours: str) -> str | None:
        """Return their name for one of ours, None when the table has no row for it."""
        return _translate(ours, {mine: other for other, mine in self.rows.items()})

    def match(self, names: Iterable[str], source: str) -> Matched:
        """Sort a file's names into places, twins and left out; others are a CheckpointError."""
        found, unknown = Matched({}, {}, {}), []
        for name in names:
            if (place := self.ours(name)) is not None:
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


def _pattern(name: str) -> tuple[str, list[str]]:
    numbers = _NUMBER.findall(name)
    return _NUMBER.sub("*", name), numbers


def _translate(name: str, rows: Mapping[str, str]) -> str | None:
    pattern, numbers = _pattern(name)
    other = rows.get(pattern)
    if other is None or "*" in name:
        return None
    for number in numbers:
        other = other.replace("*", number, 1)
    return other
