"""Zones, round steps and days off, told by time stamps alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from lstm_ray.data.timeline import grid
from lstm_ray.explore.clocks import ZONES, round_step, skips_weekends, zone_of
from lstm_ray.sections.data import DataConfig

DATA = DataConfig(source="x", time="time", target=["y"])
START = datetime(2023, 1, 1)


def on_clock(zone, steps=24 * 400, minutes=60):
    start = datetime(2023, 1, 1, tzinfo=UTC)
    return [
        (start + i * timedelta(minutes=minutes)).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for i in range(steps)
    ]


def found(times):
    return zone_of(pl.DataFrame({"time": times}), DATA)


@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_is_told_by_the_hours_that_came_twice_and_never(zone):
    assert found(on_clock(zone)) == zone


def test_other_duplicates_and_stamps_that_name_their_zone_tell_none():
    times = on_clock("Europe/Berlin")
    assert found(times + times[:1]) is None
    assert found(on_clock("UTC")) is None
    assert found([f"{time:%Y-%m-%dT%H:%M}:00+01:00" for time in times]) is None
    assert found([1, 1, 2]) is None
    assert found([*times, datetime(2023, 3, 26, 2)]) is None


def rows(seconds):
    return pl.DataFrame(
        {"series": ["a"] * len(seconds), "time": [START + timedelta(seconds=float(s)) for s in np.sort(seconds)]}
    )


@pytest.mark.parametrize(("step", "words"), [(60, "1m"), (900, "15m"), (3600, "1h"), (86400, "1d")])
def test_rows_that_come_once_a_step_but_never_on_the_dot_have_a_round_one(step, words):
    frame = rows(np.arange(500) * step + np.random.default_rng(1).uniform(0, 0.3 * step, 500))
    assert round_step(frame, grid.differences(frame))[0] == words


def test_rows_at_any_time_have_none():
    frame = rows(np.random.default_rng(2).uniform(0, 3600 * 500, 500))
    assert round_step(frame, grid.differences(frame)) is None


def test_days_without_weekends_are_told_once_there_are_some_weeks():
    days = [START + timedelta(days=i) for i in range(60)]
    working = [day for day in days if day.weekday() < 5]
    assert skips_weekends(pl.DataFrame({"time": working}))
    assert not skips_weekends(pl.DataFrame({"time": working[:10]}))
    assert not skips_weekends(pl.DataFrame({"time": days}))
