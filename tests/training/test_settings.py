"""The learning rate as a function of the step alone, and settings that refuse nonsense at once."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.base.config import from_record
from chiasm.base.errors import UserError
from chiasm.training import Rate, Schedule, TrainSettings


@given(st.integers(0, 50), st.integers(1, 300), st.floats(0, 1))
def test_the_schedule_is_its_closed_form(warmup: int, after: int, floor: float) -> None:
    schedule, steps = Schedule(warmup=warmup, floor=floor), warmup + after
    factors = [schedule.factor(step, steps) for step in range(steps)]
    for step in range(warmup):
        assert factors[step] == pytest.approx((step + 1) / warmup)
    for step in range(warmup, steps):
        wave = math.cos((step - warmup) / after * math.pi / 2) ** 2  # (1 + cos 2x) / 2 = cos² x
        assert factors[step] == pytest.approx(floor + (1 - floor) * wave)
    assert max(factors) == 1.0 and factors[warmup] == 1.0
    assert schedule.factor(steps, steps) == pytest.approx(floor)


def test_the_peak_is_held_before_the_cosine() -> None:
    schedule = Schedule(warmup=5, hold=0.6, floor=0.1)
    factors = [schedule.factor(step, 50) for step in range(50)]
    assert factors[4:31] == [1.0] * 27  # the warm-up's end to 60 % of 50 steps
    assert factors[31] < 1.0 and factors[40] == pytest.approx(0.55)  # half-way down from 1 to 0.1
    assert sorted(factors[30:], reverse=True) == factors[30:]


def test_a_run_that_is_all_warm_up_climbs_to_its_end() -> None:
    schedule = Schedule(warmup=4)
    assert [schedule.factor(step, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("kind", "record", "named"),
    [
        (TrainSettings, {"steps": 0}, "steps"),
        (TrainSettings, {"steps": 9, "save_every": 0}, "save_every"),
        (TrainSettings, {"steps": 9, "keep": 0}, "keep"),
        (TrainSettings, {"steps": 9, "patience": 0}, "patience"),
        (TrainSettings, {"steps": 9, "clip": 0.0}, "clip"),
        (TrainSettings, {"steps": 9, "look_every": -1}, "look_every"),
        (Schedule, {"warmup": -1}, "warmup"),
        (Schedule, {"floor": 1.5}, "floor"),
        (Schedule, {"hold": 1.0}, "hold"),
        (Rate, {"peak": 1e-3, "update": "sgd"}, "update"),
        (Rate, {"peak": 0.0}, "peak"),
        (Rate, {"peak": 1e-3, "decay": -0.1}, "decay"),
    ],
)
def test_a_number_that_would_fail_later_is_refused_now(
    kind: type, record: dict, named: str
) -> None:
    with pytest.raises(UserError, match=named):
        from_record(kind, record)
