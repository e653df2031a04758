"""The typical season and calendar."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.profiles import profiles
from tests.explore.tables import HOUR, STEP, daily_wave, hourly, stepped


def test_the_typical_day_peaks_when_the_sine_does():
    analysis = profiles(hourly({"y": daily_wave(24 * 120)}), "y", 24, HOUR)
    profile = analysis.tables["profile"]
    assert max(profile, key=lambda row: row["mean"])["phase"] == 6
    assert "highest 0.984 at 06:00" in analysis.figures[0].caption
    assert [figure.id for figure in analysis.figures] == ["profile", "calendar-weekday", "calendar-month"]


def test_the_calendar_finds_a_special_hour_of_the_week():
    values = np.zeros(24 * 28)
    values[24 * 2 + 9 :: 168] = 5.0  # Wednesdays at nine: the table starts on a Monday
    calendar = next(f for f in profiles(hourly({"y": values}), "y", 24, HOUR).figures if f.id == "calendar-weekday")
    assert "highest 5 on Wed at 09:00" in calendar.caption
    assert calendar.traces[0]["z"][2][9] == 5


def test_integer_time_has_a_season_but_no_calendar():
    analysis = profiles(stepped({"y": daily_wave(240)}), "y", 24, STEP)
    assert [figure.id for figure in analysis.figures] == ["profile"]


def test_less_than_a_season_has_no_profile():
    assert profiles(hourly({"y": daily_wave(10)}), "y", 24, HOUR).figures == []
