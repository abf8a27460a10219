"""What every renderer stands on: a library that is missing is named, and how to get it."""

import sys

import pytest

pytest.importorskip("matplotlib")

from chiasm.base.errors import UserError
from chiasm.data.render import (
    charts,
    documents,
    equations,
    flowcharts,
    screens,
    tables,
    typeset,
    vega,
)
from chiasm.data.render.question_forms import html, markdown, spelt

EVERY = [
    k
    for m in (charts, documents, equations, flowcharts, screens, tables, typeset, vega)
    for k in m.KINDS
]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_a_missing_library_is_one_sentence(kind, monkeypatch):
    for library in ("matplotlib", "typst", "vl_convert", "resvg_py", "playwright.sync_api"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=r"need .*install"):
        kind.check()


def test_kinds_have_names_of_their_own():
    assert len({kind.name for kind in EVERY}) == len(EVERY)
    assert all(kind.does and kind.needs and kind.check for kind in EVERY)


def test_numbers_are_spelt_as_short_as_they_are_exact():
    assert [spelt(v) for v in (3, 3.5, 1200.0, 0.125, -2.0)] == ["3", "3.5", "1200", "0.125", "-2"]


def test_bars_and_angles_in_cells_are_escaped():
    rows = [["a|b", "<c>"], ["1", "2 & 3"]]
    assert markdown(rows).splitlines()[0] == r"| a\|b | <c> |"
    assert "<th>&lt;c&gt;</th>" in html(rows)
    assert "2 &amp; 3" in html(rows)
