"""Which model is meant when a person names none."""

from __future__ import annotations

from pathlib import Path

from chiasm.base.errors import UserError

RUNS = Path("runs")
"""Where runs lie, seen from where the command is typed."""
FIRST = "first_light"
"""The run that is preferred, because it is the one that newcomers make."""


def finished() -> list[Path]:
    """Return the models that runs ended with: the first light's, then the newest first."""
    models = [config.parent for config in RUNS.glob("*/model/config.json")]
    return sorted(models, key=lambda model: (model.parent.name != FIRST, -_age(model)))


def _age(model: Path) -> float:
    return (model / "config.json").stat().st_mtime


def seeing_model(named: str = "") -> str:
    """Return the named model, else that of a finished run; a UserError says how to get one."""
    if named:
        return named
    if models := finished():
        return str(models[0])
    raise UserError(
        f"There is no model with eyes yet: no finished run in {RUNS}/. Train one by "
        "`chiasm train first_light`, or name a model folder with --model."
    )
