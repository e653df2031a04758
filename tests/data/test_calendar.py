"""Calendar waves repeat as the calendar does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data import calendar

HOURS = st.integers(0, 24 * 365 * 60).map(
    lambda hours: np.datetime64("1970-01-01T00", "us") + np.timedelta64(hours, "h")
)


def waves(time: np.datetime64, cycle: str) -> np.ndarray:
    return calendar.features(np.array([time]), [cycle])[0]


@given(HOURS, st.integers(-50, 50))
def test_hours_repeat_every_day_and_weekdays_every_week(time: np.datetime64, periods: int) -> None:
    for cycle, days in (("hour", 1), ("weekday", 7)):
        again = time + np.timedelta64(periods * days, "D")
        np.testing.assert_allclose(waves(again, cycle), waves(time, cycle), atol=1e-5)


@given(HOURS)
def test_months_repeat_every_year_and_change_only_with_the_month(time: np.datetime64) -> None:
    month = time.astype("datetime64[M]")
    np.testing.assert_array_equal(waves((month + 12).astype("datetime64[us]"), "month"), waves(time, "month"))
    np.testing.assert_array_equal(waves(month.astype("datetime64[us]"), "month"), waves(time, "month"))
    assert np.abs(waves((month + 1).astype("datetime64[us]"), "month") - waves(time, "month")).max() > 0.1


@pytest.mark.parametrize(
    ("cycle", "zero", "quarter"),
    [
        ("hour", "2024-03-01T00", "2024-03-01T06"),
        ("weekday", "2024-03-04T00", "2024-03-05T18"),  # a Monday
        ("month", "2024-01-15T00", "2024-04-15T00"),
    ],
)
def test_waves_start_where_the_cycle_does(cycle: str, zero: str, quarter: str) -> None:
    np.testing.assert_allclose(waves(np.datetime64(zero, "us"), cycle), [0, 1], atol=1e-6)
    np.testing.assert_allclose(waves(np.datetime64(quarter, "us"), cycle), [1, 0], atol=1e-6)


@given(HOURS)
def test_the_days_of_a_week_and_the_hours_of_a_day_all_differ(time: np.datetime64) -> None:
    for cycle, number, unit in (("hour", 24, "h"), ("weekday", 7, "D")):
        found = calendar.features(time + np.arange(number) * np.array(1, f"timedelta64[{unit}]"), [cycle])
        assert len({(round(float(s), 4), round(float(c), 4)) for s, c in found}) == number


def test_names_stand_in_the_order_of_the_columns() -> None:
    assert calendar.names(["hour", "month"]) == ["hour_sin", "hour_cos", "month_sin", "month_cos"]
    time = np.array([np.datetime64("2024-04-15T06", "us")])
    both = calendar.features(time, ["hour", "month"])
    np.testing.assert_array_equal(both[:, :2], calendar.features(time, ["hour"]))
    np.testing.assert_array_equal(both[:, 2:], calendar.features(time, ["month"]))
    assert both.dtype == np.float32
