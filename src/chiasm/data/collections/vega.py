"""Real tables of numbers and words, as charts show them: the data sets that Vega's examples use."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from chiasm.base.errors import UserError
from chiasm.data.collections.opened import load

Row: TypeAlias = dict[str, Any]

BYTES = 2_500_000
"""Larger files are left out: the same flights by the hundred thousand."""

# Neither "00501", which is a post code, nor "nan" or "1_000", which Python would take for numbers.
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


class Tables(Mapping[str, list[Row]]):
    """Tables by name, each read when it is asked for."""

    def __init__(self, paths: Mapping[str, Path], licences: Mapping[str, str]) -> None:
        self._paths, self._licences = paths, licences

    def __getitem__(self, name: str) -> list[Row]:
        path = self._paths[name]
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); pull the tables again.") from None
        return _rows_of_json(text, path) if path.suffix == ".json" else _rows_of_csv(text, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def licence(self, name: str) -> str:
        """Return what the package says about a table's licence; empty when it says nothing."""
        return self._licences.get(self._paths[name].name, "")


def tables(folder: Path) -> Tables:
    """Return the tables of vega-datasets; `folder` is where the package was unpacked.

    CSV, TSV and JSON lists of flat objects of at most BYTES; maps, trees and pictures are no tables.
    Numbers of a CSV column are numbers only if all that stands in it are.
    """
    data = Path(folder) / "package" / "data"
    resources = load(Path(folder) / "package" / "datapackage.json")["resources"]
    licences = {
        row["path"]: "; ".join(
            str(each.get("name") or each.get("title") or each.get("path"))
            for each in row.get("licenses") or ()
        )
        for row in resources
    }
    return Tables({path.stem: path for path in sorted(data.iterdir()) if _is_table(path)}, licences)


def _is_table(path: Path) -> bool:
    if path.stat().st_size > BYTES or path.suffix not in (".csv", ".tsv", ".json"):
        return False
    if path.suffix != ".json":
        return True
    rows = load(path)
    return isinstance(rows, list) and len(rows) > 1 and all(_is_flat(row) for row in rows)


def _is_flat(row: Any) -> bool:
    return isinstance(row, dict) and not any(
        isinstance(value, dict | list) for value in row.values()
    )


def _rows_of_json(text: str, path: Path) -> list[Row]:
    try:
        # Remarks stand in fields of their own ("_comment").
        return [{k: v for k, v in row.items() if k[0:1] != "_"} for row in json.loads(text)]
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); pull the tables again.") from None


def _rows_of_csv(text: str, path: Path) -> list[Row]:
    dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
    reader = csv.reader(io.StringIO(text, newline=""), dialect)
    header = next(reader, [])
    lines = [line for line in reader if len(line) == len(header)]
    columns = [_values([line[number] for line in lines]) for number in range(len(header))]
    return [dict(zip(header, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(cells: list[str]) -> list[Any]:
    """Numbers when all cells that hold anything are numbers; empty cells are then None."""
    told = [cell.strip() for cell in cells]
    for kind, form in ((int, _WHOLE), (float, _NUMBER)):
        if all(form.fullmatch(cell) for cell in told if cell):
            return [kind(cell) if cell else None for cell in told]
    return list(cells)
