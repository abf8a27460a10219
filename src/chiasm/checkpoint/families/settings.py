"""Reading a foreign configuration: what changes the computation is understood or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiasm.base.errors import did_you_mean
from chiasm.checkpoint.weights import CheckpointError

LARGEST = 1 << 31
"""No size of a model comes near this number."""


class Record:
    """A foreign configuration with its source; what is absent or wrong is a CheckpointError."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values = values
        self.source = source

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number from `least` up."""
        value = self._get(key, default)
        if type(value) is not int or not least <= value < LARGEST:
            raise CheckpointError(
                f'{self.source}: "{key}" is {_short(value)}, not a whole number from {least} up.'
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a positive number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise CheckpointError(
                f'{self.source}: "{key}" is {_short(value)}, not a positive number.'
            )
        return float(value)

    def truth(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if type(value) is not bool:
            raise CheckpointError(f'{self.source}: "{key}" is {_short(value)}, not true or false.')
        return value

    def text(self, key: str) -> str:
        """Return a text."""
        value = self._get(key, None)
        if not isinstance(value, str):
            raise CheckpointError(f'{self.source}: "{key}" is {_short(value)}, not a text.')
        return value

    def numbers(self, key: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers."""
        value = self._get(key, default)
        if not isinstance(value, list) or not all(type(number) is int for number in value):
            raise CheckpointError(
                f'{self.source}: "{key}" is {_short(value)}, not a list of whole numbers.'
            )
        return value

    def inner(self, key: str) -> Record | None:
        """Return a record within the record, None when it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise CheckpointError(f'{self.source}: "{key}" is {_short(value)}, not a record.')
        return Record(value, f"{self.source}, {key}")

    def allow(self, key: str, *allowed: Any) -> Any:
        """Return a value that must be one of `allowed`; absent or null counts as the first."""
        value = self.values.get(key)
        if value is None:
            return allowed[0]
        # `1 == True` in Python, so kinds are compared as well.
        if not any(type(value) is type(option) and value == option for option in allowed):
            known = " or ".join(repr(option) for option in allowed)
            raise CheckpointError(
                f'{self.source}: "{key}" is {_short(value)}, which Chiasm cannot compute; '
                f"it can with {known}."
            )
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        value = default if value is None else value
        if value is None:
            raise CheckpointError(f'{self.source} has no "{key}".{did_you_mean(key, self.values)}')
        return value


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < LARGEST else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
