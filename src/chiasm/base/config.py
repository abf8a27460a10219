"""Settings: frozen, strict, typed records that go to YAML and back and explain what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import pydantic
import yaml

from chiasm.base.errors import UserError, did_you_mean

S = TypeVar("S", bound="Settings")
Path_ = tuple[str, ...]


class Settings(pydantic.BaseModel):
    """A record that cannot change, knows all its names, and takes no value of a wrong type.

    The text under a field is its help on the command line. `"3"` is no number, `true` no integer,
    infinity and not-a-number no values at all. Python code gives tuples for tuples and Paths for
    Paths; `from_yaml` and `from_record` take lists and strings for them.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


# ---- to and from plain data --------------------------------------------------------------------


def as_record(settings: Settings) -> dict[str, Any]:
    """Return the settings as nested dicts, lists, strings, numbers, booleans and None."""
    return settings.model_dump(mode="json")


def from_record(cls: type[S], record: Mapping[str, Any], source: str = "settings") -> S:
    """Return the settings that `as_record` gave; everything wrong is told in one UserError.

    `source` says in that error where the record came from, for instance a file's name.
    """
    try:
        # JSON mode is strict where Python mode is (no "3" for 3) and takes a list for a tuple.
        return cls.model_validate_json(json.dumps(record))
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, cls, record, source)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{source} holds more than plain values in lists and groups.") from error


def to_yaml(settings: Settings) -> str:
    """Return the settings as YAML, in the order in which they were declared."""
    # The dumper knows which strings would be read as numbers, and quotes them.
    text: str = yaml.dump(as_record(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def from_yaml(cls: type[S], path: Path) -> S:
    """Read settings from a YAML file; what it leaves out keeps its default.

    Errors: one UserError that names the file and each wrong setting by its dotted path.
    """
    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file. Give a YAML file of settings.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    loader = None
    try:
        loader = _Loader(text)
        record = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        place = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{place} is not readable YAML: {error.problem}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is not readable YAML. Write `name: value` lines.") from error
    finally:
        if loader is not None:
            loader.dispose()
    if record is None:
        record = {}
    if not isinstance(record, dict):
        raise UserError(f"{path} holds no settings. Write `name: value` lines.")
    return from_record(cls, record, str(path))


def differences(
    ours: Settings | Mapping[str, Any], theirs: Settings | Mapping[str, Any]
) -> list[str]:
    """Return the dotted names of the settings that differ; a group of one side counts once."""
    left = as_record(ours) if isinstance(ours, Settings) else ours
    right = as_record(theirs) if isinstance(theirs, Settings) else theirs
    return [".".join(path) for path in _differ(left, right, ())]


def _differ(left: Any, right: Any, path: Path_) -> Iterator[Path_]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in dict.fromkeys([*left, *right]):
            if name in left and name in right:
                yield from _differ(left[name], right[name], (*path, str(name)))
            else:
                yield (*path, str(name))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differ(one, other, (*path, str(place)))
    elif left != right or type(left) is not type(right):
        yield path


# ---- YAML, without its surprises ---------------------------------------------------------------

_ALIAS = "aliases (*) are not used here"
_WORDS = {
    "null": (r"^(?:null|~|)$", [*"n~", ""]),
    "bool": (r"^(?:true|false)$", [*"tf"]),
    "int": (r"^[-+]?(?:0|[1-9][0-9_]*)$", [*"-+0123456789"]),
    "float": (
        r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+)$",
        [*"-+.0123456789"],
    ),
}


class _Loader(yaml.SafeLoader):
    """YAML of plain values: 1e-5 is a number, `no` a word; no name twice, no aliases, no tags."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's way to extend it)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):  # ten nested aliases can stand for 10^10 values
            # The two kinds of mark, of the reader in Python and of that in C, have the same fields.
            mark = cast("yaml.Mark", event.start_mark)
            raise yaml.composer.ComposerError(None, None, _ALIAS, mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in names:
                problem = f'"{name}" is given twice'
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes so that `_Loader` reads the same values back."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _first) in _WORDS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_PLAIN = {f"tag:yaml.org,2002:{tag}" for tag in (*_WORDS, "str", "seq", "map")}
_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag in _PLAIN or tag is None
}


# ---- what is wrong, in words -------------------------------------------------------------------

_SAYINGS = {
    "missing": "is missing",
    "union_tag_not_found": "is missing",
    "model_type": "should be a group of settings",
    "dict_type": "should be a group of settings",
    "model_attributes_type": "should be a group of settings",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "string_type": "should be a text",
    "bool_type": "should be true or false",
    "finite_number": "should be a finite number",
}


def _explain(
    error: pydantic.ValidationError, cls: type[Settings], record: Mapping[str, Any], source: str
) -> str:
    told: dict[str, list[str]] = {}
    hints: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        path, value = _place(fault, record)
        reason, hint = _reason(fault, cls)
        # A union complains once for each of its members; together they say what is allowed.
        told.setdefault(path, []).append(reason)
        shown = "" if isinstance(value, dict | list) else json.dumps(value, ensure_ascii=False)
        about_value = reason.startswith("should") and fault["type"] != "value_error"
        given = f", not {shown}" if about_value and shown else ""
        hints[path] = f"{given}.{hint}"
    lines = [
        (f"{path}: " if path else "") + " or ".join(dict.fromkeys(reasons)) + hints[path]
        for path, reasons in told.items()
    ]
    if len(lines) == 1:
        return f"{source}: {lines[0]}"
    return f"{source}: {len(lines)} settings are wrong.\n" + "\n".join(f"  {x}" for x in lines)


def _place(fault: Any, record: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a fault's dotted path and value, without the labels of union members in between."""
    here: Any = record
    path: list[str] = []
    for piece in fault["loc"]:
        if isinstance(here, list | tuple):
            known = isinstance(piece, int) and piece < len(
                here
            )  # beyond the end: an item is missing
        else:
            known = isinstance(here, Mapping) and piece in here
        if known:
            here = here[piece]
        if known or (fault["type"] == "missing" and piece == fault["loc"][-1]):
            path.append(str(piece))
    if fault["type"].startswith("union_tag"):
        tag = fault["ctx"]["discriminator"].strip("'")
        return ".".join([*path, tag]), here.get(tag) if isinstance(here, Mapping) else None
    return ".".join(path), here


def _reason(fault: Any, cls: type[Settings]) -> tuple[str, str]:
    """Return what is wrong as half a sentence, and a sentence that helps, or ''."""
    kind, message, details = fault["type"], str(fault["msg"]), fault.get("ctx", {})
    if kind == "extra_forbidden":
        options = _names_at(cls, fault["loc"][:-1])
        near = did_you_mean(str(fault["loc"][-1]), options)
        return "no such setting", near or f" There are: {', '.join(options)}."
    if kind in ("literal_error", "union_tag_invalid"):
        options = re.findall(r"'([^']*)'", details.get("expected") or details["expected_tags"])
        given = details.get("tag", fault["input"])
        near = did_you_mean(given, options) if isinstance(given, str) else ""
        allowed = " or ".join(f'"{option}"' for option in options)
        return f"should be {allowed or details['expected']}", near
    if kind == "value_error":
        return message.removeprefix("Value error, ").rstrip("."), ""
    return _SAYINGS.get(kind) or message.removeprefix("Input "), ""


def _names_at(cls: type[Settings], where: tuple[int | str, ...]) -> list[str]:
    """Return the setting names allowed in the group at `where`."""
    models: list[type[pydantic.BaseModel]] = [cls]
    for piece in where:
        fields = [m.model_fields[str(piece)] for m in models if str(piece) in m.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
        else:  # a union member's label, or a place in a list, which leaves the models as they are
            models = [m for m in models if _is_labelled(m, piece)] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _is_labelled(model: type[pydantic.BaseModel], label: int | str) -> bool:
    return model.__name__ == label or any(
        get_origin(field.annotation) is Literal and label in get_args(field.annotation)
        for field in model.model_fields.values()
    )
