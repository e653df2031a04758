"""Calendar waves repeat as the calendar does; clocks show what their zones say; holidays are known."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.timeline import calendar

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


ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata"),
    *("Pacific/Apia", "America/Sao_Paulo", "UTC"),
)


@given(st.sampled_from(ZONES), st.lists(st.integers(-(2**31), 2**32), min_size=1, max_size=20))
def test_a_zones_clock_shows_what_the_standard_library_says(zone: str, seconds: list[int]) -> None:
    times = np.array(seconds, "datetime64[s]").astype("datetime64[us]")
    shown = [datetime.fromtimestamp(second, ZoneInfo(zone)).replace(tzinfo=None) for second in seconds]
    np.testing.assert_array_equal(calendar.local(times, zone), np.array(shown, "datetime64[us]"))


def test_clocks_are_set_anew_at_the_very_second() -> None:
    changes, offsets = calendar.transitions("Europe/Berlin", 2024, 2024)
    assert changes.astype(str).tolist() == ["2024-03-31T01:00:00.000000", "2024-10-27T01:00:00.000000"]
    assert (offsets // np.timedelta64(1, "h")).tolist() == [1, 2, 1]


def test_times_without_a_zone_and_no_times_at_all_stay_as_they_are() -> None:
    times = np.array(["2024-07-01T12"], "datetime64[us]")
    assert calendar.local(times, None) is times
    assert len(calendar.local(times[:0], "Europe/Berlin")) == 0


def test_far_years_keep_the_offset_of_the_nearest_known_one() -> None:
    times = np.array(["1500-07-01", "3000-07-01"], "datetime64[us]")
    ahead = (calendar.local(times, "Asia/Kolkata") - times) / np.timedelta64(1, "m")
    assert 300 < ahead[0] < 360
    assert ahead[1] == 330


def test_a_step_is_a_holiday_where_one_of_its_days_is() -> None:
    dates = ["2024-12-25", "2024-12-26"]
    first = np.array(
        ["2024-12-24T23", "2024-12-25T00", "2024-12-26T23", "2024-12-27T00", "2024-12-20T00"], "datetime64[us]"
    )
    hour, week = np.timedelta64(3_600_000_000 - 1, "us"), np.timedelta64(7, "D") - np.timedelta64(1, "us")
    assert calendar.holidays(first, first + hour, dates).tolist() == [0, 1, 1, 0, 0]
    assert calendar.holidays(first, first + week, dates).tolist() == [1, 1, 1, 0, 1]
    assert calendar.holidays(first, first + hour, dates).dtype == np.float32
