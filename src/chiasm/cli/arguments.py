"""Words to a record of options by tyro, and tyro's boxes to one sentence."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from chiasm.base.config import Settings, as_record, from_record
from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import LowRank, LowRankTable
from chiasm.training.settings import Rate, Table

T = TypeVar("T")

Flag: TypeAlias = tyro.conf.FlagCreatePairsOff[
    Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
]
"""An option without a value."""
Words: TypeAlias = tyro.conf.Positional[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORD", help_behavior_hint="")]
]
"""What stands there without an option's name."""
FROZEN, PLAIN = "freeze", "none"
MUON, ROOT = ":muon", ":root"


def read(prog: str, words: list[str], default: T, about: str, rules: Sequence[Any] = ()) -> T:
    """Return `default` with what the words change: a dataclass; a field `settings` may hold Settings.

    `prog` is the command as it was typed, `about` the first lines of its help, `rules` say how words
    become values of the command's own types. Every complaint is a UserError. Asking for help prints it
    and raises SystemExit.
    """
    heard = io.StringIO()
    try:
        with redirect_stderr(heard):
            found, unknown = tyro.cli(
                type(default),
                prog=prog,
                description=about,
                args=words,
                default=default,
                return_unknown_args=True,
                config=(tyro.conf.AvoidSubcommands,),
                registry=_registry(rules),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(_sentence(prog, heard.getvalue())) from None
    if unknown:
        raise UserError(_unknown(prog, unknown[0], default))
    return _checked(found)


def _checked(found: Any) -> Any:
    """Let the settings check themselves as a whole, so that they tell everything that is wrong."""
    if not isinstance(settings := getattr(found, "settings", None), Settings):
        return found
    checked = from_record(type(settings), as_record(settings), "settings")
    return dataclasses.replace(found, settings=checked)


# ---- what is wrong, in words -------------------------------------------------------------------

_CHOICE = re.compile(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)")
_VALUE = re.compile(r"Error parsing (\S+): (.*)")
_NO_VALUE = re.compile(r"Missing value for argument '(\S+)'")


def _unknown(prog: str, word: str, default: Any) -> str:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f'"{word}" is one word too many. See {prog} --help.'
    known = [f"--{name.rstrip('_').replace('_', '-')}" for name in _names(default)]
    near = did_you_mean(option.replace("_", "-"), known)
    return f'There is no option "{option}".{near or f" See {prog} --help."}'


def _names(record: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all options; a field called `settings` gives its own without a prefix."""
    names: Any = type(record).model_fields if isinstance(record, Settings) else ()
    if dataclasses.is_dataclass(record):
        names = [field.name for field in dataclasses.fields(record)]
    for name in names:
        value = getattr(record, name)
        if isinstance(value, Settings):
            yield from _names(value, prefix if name == "settings" else f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
            if isinstance(record, Settings) and isinstance(value, bool):
                yield f"{prefix}no-{name}"


def _sentence(prog: str, box: str) -> str:
    """Take the complaint out of tyro's box: what stands above the first inner line."""
    lines = [line.strip(" │|") for line in box.strip().splitlines()[1:]]
    if _first_rule(lines) == 0:  # a box without borders underlines its title
        lines = lines[1:]
    text = " ".join(line for line in lines[: _first_rule(lines)] if line) or box.strip()
    if found := _CHOICE.search(text):
        given, option, listed = found.groups()
        choices = re.findall(r"'([^']*)'", listed)
        near = did_you_mean(given, choices)
        return f'{option} is "{given}", but must be {" or ".join(choices)}.{near}'
    if found := _VALUE.search(text):
        return f"{found[1]} {found[2].rstrip('.')}."
    if found := _NO_VALUE.search(text):
        return f"{found[1]} needs a value. See {prog} --help."
    return text


def _first_rule(lines: list[str]) -> int:
    rules = (i for i, line in enumerate(lines) if line.startswith(("──", "╰", "--")))
    return next(rules, len(lines))


# ---- types of options --------------------------------------------------------------------------


def _registry(rules: Sequence[Any]) -> ConstructorRegistry:
    """How words become values where tyro's own way is unclear about what was wrong, or too long."""
    registry = ConstructorRegistry()
    for rule in rules:
        registry.primitive_rule(rule)
    registry.primitive_rule(_numbers)
    registry.primitive_rule(_table)
    registry.primitive_rule(_adapters)
    registry.struct_rule(_unchecked)
    return registry


def _unchecked(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Settings from their fields without a check, which tyro would turn into a box; see `_checked`."""
    if not isinstance(info.default, Settings):
        return None
    kind = type(info.default)
    hints = get_type_hints(kind, include_extras=True)
    fields = tuple(
        StructFieldSpec(name, hints[name], getattr(info.default, name), field.description)
        for name, field in kind.model_fields.items()
    )

    def build(**values: Any) -> Settings:
        return kind.model_construct(**values)

    build.__doc__ = kind.__doc__  # the help of the group
    return StructConstructorSpec(build, fields)


def _numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type not in (int, float):
        return None
    kind: type[int] | type[float] = int if info.type is int else float
    words = "a whole number" if kind is int else "a number"

    def parse(given: list[str]) -> int | float:
        try:
            return kind(given[0])
        except ValueError:
            raise ValueError(f'should be {words}, not "{given[0]}"') from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="N" if kind is int else "X",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, kind) and not isinstance(value, bool),
        str_from_instance=lambda value: [f"{value:g}" if kind is float else str(value)],
    )


def _table(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The table who-learns as words PATTERN=RATE[:DECAY][:muon] or PATTERN=freeze."""
    if info.type != Table:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="PATTERN=RATE",
        instance_from_str=lambda words: tuple(map(_row, words)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda table: [f"{pattern}={_told(rate)}" for pattern, rate in table],
    )


def _row(word: str) -> tuple[str, Rate | None]:
    pattern, _, fate = word.partition("=")
    if pattern and fate == FROZEN:
        return pattern, None
    plain = fate.removesuffix(MUON)
    peak, _, decay = plain.partition(":")
    update: Literal["adamw", "muon"] = "adamw" if plain == fate else "muon"
    try:
        return pattern, Rate(peak=float(peak), decay=float(decay or 0), update=update)
    except ValueError:
        raise ValueError(
            f'should be words such as "crosses.*=1e-3", "crosses.*=3e-3{MUON}" or "decoder.*={FROZEN}", '
            f'not "{word}"'
        ) from None


def _told(rate: Rate | None) -> str:
    if rate is None:
        return FROZEN
    decay = f":{rate.decay:g}" if rate.decay else ""
    return f"{rate.peak:g}{decay}" + (MUON if rate.update == "muon" else "")


def _adapters(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The table of adapters as words PATTERN=RANK[:ALPHA[:DROPOUT]][:root] or PATTERN=none."""
    if info.type != LowRankTable:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="PATTERN=RANK",
        instance_from_str=lambda words: tuple(map(_adapter, words)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda table: [f"{pattern}={_sized(size)}" for pattern, size in table],
    )


def _adapter(word: str) -> tuple[str, LowRank | None]:
    pattern, _, size = word.partition("=")
    if pattern and size == PLAIN:
        return pattern, None
    numbers = size.removesuffix(ROOT)
    names = ("rank", "alpha", "dropout")
    try:
        kinds = zip(names, (int, float, float), numbers.split(":"), strict=False)
        given = {name: kind(value) for name, kind, value in kinds}
        if not pattern or numbers.count(":") >= len(names):
            raise ValueError
        return pattern, LowRank(**given, divide_by="rank" if numbers == size else "root")
    except ValueError:
        raise ValueError(
            f'should be words such as "decoder.*=8", "decoder.*=16:32:0.05{ROOT}" or "decoder.*={PLAIN}", '
            f'not "{word}"'
        ) from None


def _sized(size: LowRank | None) -> str:
    if size is None:
        return PLAIN
    dropout = f":{size.dropout:g}" if size.dropout else ""
    return f"{size.rank}:{size.alpha:g}{dropout}" + (ROOT if size.divide_by == "root" else "")
