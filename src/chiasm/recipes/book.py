"""The book of recipes: names to functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from chiasm.base.config import from_yaml
from chiasm.base.errors import UserError, did_you_mean
from chiasm.recipes.first_light import first_light, first_light_prefix
from chiasm.recipes.settings import Run

RECIPES: Mapping[str, Callable[[], Run]] = MappingProxyType(
    {"first_light": first_light, "first_light_prefix": first_light_prefix}
)
"""Every recipe that `chiasm train` knows by name."""


def recipe(name: str) -> Run:
    """Return a recipe's settings, by its name or from a YAML file."""
    if name in RECIPES:
        return RECIPES[name]()
    if name.endswith((".yaml", ".yml")):
        return from_yaml(Run, Path(name))
    raise UserError(
        f'There is no recipe "{name}".{did_you_mean(name, RECIPES)} '
        f"Known are {', '.join(sorted(RECIPES))}, or give a .yaml file."
    )
