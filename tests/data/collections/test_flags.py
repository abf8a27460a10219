"""Flags: facts of countries, and the concept of the flag's emoji."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.collections.toys import SQUARE, put

from chiasm.data.collections.flags import flag_code, flags

GERMANY = {
    "cca2": "DE",
    "name": {"common": "Germany", "official": "Federal Republic of Germany"},
    "capital": ["Berlin"],
    "region": "Europe",
    "area": 357114,
    "translations": {"fra": {"official": "République fédérale", "common": "Allemagne"}},
    "latlng": [51, 9],
}


@pytest.mark.parametrize(
    ("letters", "emoji"),
    [("de", "🇩🇪"), ("jp", "🇯🇵"), ("gb-eng", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"), ("gb-sct", "🏴󠁧󠁢󠁳󠁣󠁴󠁿")],
)
def test_a_flag_is_its_emoji(letters: str, emoji: str) -> None:
    assert flag_code(letters) == "-".join(f"{ord(each):X}" for each in emoji)


def test_flags(tmp_path: Path) -> None:
    rows = [
        {"code": each, "name": f"Old {each}", "flag_4x3": f"flags/4x3/{each}.svg"}
        for each in ("de", "eu")
    ]
    drawn = {f"package/flags/4x3/{each}.svg": SQUARE for each in ("de", "eu")}
    icons = put(tmp_path / "icons", {"package/country.json": rows, **drawn})
    countries = put(tmp_path / "countries", {"package/countries.json": [GERMANY]})
    source = flags("flags", {"flag-icons": icons, "world-countries": countries})
    germany, union = source[0], source[1]
    assert (germany.caption, union.caption) == ("flag of Germany", "flag of Old eu")
    assert json.loads(germany.notes["facts"]) == {
        "capital": ["Berlin"],
        "region": "Europe",
        "area": 357114,
    }
    assert germany.notes["facts_licence"] == "ODbL-1.0" and germany.licence == "MIT"
    assert json.loads(germany.notes["translations"]) == {"fra": "Allemagne"}
    assert "facts" not in union.notes and union.notes["concept"] == "emoji:1F1EA-1F1FA"
