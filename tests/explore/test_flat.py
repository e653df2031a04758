"""What stands still."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.flat import flat_lines
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, daily_wave, hourly, said

DATA = DataConfig(source="x.csv", time="time", target=["y"], past=["x", "z"])


def looked_at(**columns):
    return flat_lines(hourly(columns), list(columns), DATA, 24, HOUR)


def test_a_flat_line_is_named_with_its_length_and_start():
    values = daily_wave(500)
    values[100:140] = 0.5
    analysis = looked_at(y=values)
    assert "Targets stand still for a season or longer: y 1 time; the longest, y at 0.5 for 40 steps (40h)" in said(
        analysis, "warning"
    )
    assert "starts at 2024-01-05 04:00 in 'a'" in said(analysis)


def test_an_input_that_stands_still_is_no_warning():
    values = daily_wave(500)
    values[100:140] = 0.5
    assert said(looked_at(y=daily_wave(500), x=values), "warning") == ""


def test_a_constant_column_is_warned_of_and_advised_away():
    text = said(looked_at(y=daily_wave(100), x=np.full(100, 7.0), z=daily_wave(100)), "warning")
    assert text == "'x' is constant: every value is 7. It teaches nothing. data: {past: [z]}"


def test_dry_hours_and_gaps_are_no_flat_lines():
    rain = np.zeros(500)
    rain[::40] = 1.0
    holed = daily_wave(500)
    holed[200:300] = np.nan
    assert looked_at(y=holed, x=rain, z=np.full(500, np.nan)).findings == []
