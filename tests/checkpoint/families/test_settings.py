"""Foreign settings: read with their kinds checked, refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from chiasm.checkpoint.families.settings import Record
from chiasm.checkpoint.weights import CheckpointError


def record(**values: Any) -> Record:
    return Record(values, "config.json")


def test_values_defaults_and_inner_records() -> None:
    found = record(a=3, b=0.5, c=True, d={"e": 1}, f=None, g="x")
    assert (found.whole("a"), found.number("b"), found.truth("c", False)) == (3, 0.5, True)
    assert (found.whole("f", 7), found.number("z", 2.0), found.truth("z", True)) == (7, 2.0, True)
    assert found.number("a") == 3.0
    inner = found.inner("d")
    assert inner is not None and inner.whole("e") == 1
    assert found.inner("f") is None and found.text("g") == "x"


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, [], 10**400])
def test_a_size_is_a_whole_number(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r'config\.json: "a" is .*not a whole number'):
        record(a=value).whole("a")


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), "3", True])
def test_a_number_is_positive_and_finite(value: Any) -> None:
    with pytest.raises(CheckpointError, match="not a positive number"):
        record(a=value).number("a")


def test_absent_keys_are_named_with_the_nearest() -> None:
    with pytest.raises(CheckpointError, match=r'no "hidden_size"\. Did you mean "hiden_size"'):
        record(hiden_size=3).whole("hidden_size")


def test_only_what_is_allowed_passes() -> None:
    assert record(a=False).allow("a", False) is False
    assert record(a=None).allow("a", "first", "second") == "first"
    assert record().allow("a", "first", "second") == "first"
    for value in (True, 0, "no", [1] * 100):
        with pytest.raises(CheckpointError, match="cannot compute; it can with False") as caught:
            record(a=value).allow("a", False)
        assert len(str(caught.value)) < 200
    with pytest.raises(CheckpointError, match="not a record"):
        record(a=[1]).inner("a")
    with pytest.raises(CheckpointError, match="not true or false"):
        record(a=1).truth("a", True)
    with pytest.raises(CheckpointError, match="not a text"):
        record(a=1).text("a")
