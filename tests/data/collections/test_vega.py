"""Tables: rows of numbers and words; what is no table is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.collections.toys import put

from chiasm.base.errors import UserError
from chiasm.data.collections import vega
from chiasm.data.collections.vega import tables


def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vega, "BYTES", 300)
    licence = [{"name": "CC0-1.0"}, {"title": "and mine"}]
    home = put(
        tmp_path,
        {
            "package/datapackage.json": {"resources": [{"path": "cars.json", "licenses": licence}]},
            "package/data/cars.json": [
                {"_comment": "!", "car": "A", "power": 90},
                {"car": "B", "power": None},
            ],
            "package/data/tree.json": [{"children": [1]}, {"children": []}],
            "package/data/map.json": {"type": "Topology"},
            "package/data/one.json": [{"only": 1}],
            "package/data/stocks.csv": 'date,price,count,mixed\n"Jan, 1",39.5,1,2\nFeb,,3,x\n\n',
            "package/data/jobs.tsv": "id\trate\tcode\tno\n-1\t.5e3\t00501\tnan\n",
            "package/data/large.csv": "a\n" + "1\n" * 200,
            "package/data/7zip.png": b"\x89PNG",
        },
    )
    found = tables(home)
    assert list(found) == ["cars", "jobs", "stocks"] and len(found) == 3
    assert found["cars"] == [{"car": "A", "power": 90}, {"car": "B", "power": None}]
    assert found["stocks"] == [
        {"date": "Jan, 1", "price": 39.5, "count": 1, "mixed": "2"},
        {"date": "Feb", "price": None, "count": 3, "mixed": "x"},
    ]
    assert found["jobs"] == [{"id": -1, "rate": 500.0, "code": "00501", "no": "nan"}]
    assert found.licence("cars") == "CC0-1.0; and mine" and found.licence("jobs") == ""
    assert "large" not in found
    (home / "package/data/cars.json").write_text("[{")
    with pytest.raises(UserError, match="is damaged"):
        found["cars"]
