"""Slopes with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.trends import overview, trends
from tests.explore.tables import HOUR, STEP, daily_wave, hourly, said, stepped

YEAR_HOURS = 365.25 * 24


def test_the_slope_is_in_units_per_year():
    values = 3.0 * np.arange(5000) / YEAR_HOURS + 7
    row = trends(hourly({"y": values}), ["y"], HOUR).tables["slopes"][0]
    assert row["slope"] == pytest.approx(3.0, rel=1e-6)
    assert row["r2"] == pytest.approx(1.0)
    assert row["change"] == pytest.approx(values[-1] - values[0])


def test_the_slope_of_integer_time_is_per_thousand_steps():
    row = trends(stepped({"y": 0.25 * np.arange(400.0)}), ["y"], STEP).tables["slopes"][0]
    assert row["slope"] == pytest.approx(250)
    assert row["unit"] == "per 1,000 steps"


def test_a_short_table_warns_that_a_year_looks_like_a_trend():
    text = said(trends(hourly({"y": np.arange(3000.0)}), ["y"], HOUR))
    assert "y in 'a' 8,766 (R² 1.00)" in text
    assert "below two, a yearly cycle looks like a trend" in text


def test_what_has_no_trend_is_said_to_have_none():
    assert "No straight trend in y: a line explains at most" in said(
        trends(hourly({"y": daily_wave(3000)}), ["y"], HOUR)
    )


@pytest.mark.parametrize("values", [np.ones(50), np.array([4.0]), np.array([np.nan, 2.0, np.nan])])
def test_a_series_without_spread_has_slope_zero(values):
    row = trends(hourly({"y": values}), ["y"], HOUR).tables["slopes"][0]
    assert (row["slope"], row["r2"]) == (0, 0)


def test_levels_are_monthly_in_a_long_table_and_stretches_in_a_short_one():
    assert len(trends(hourly({"y": daily_wave(24 * 100)}), ["y"], HOUR).tables["levels"]) == 4
    assert len(trends(hourly({"y": daily_wave(240)}), ["y"], HOUR).tables["levels"]) == 24


def test_the_overview_says_how_much_it_leaves_out():
    frame = hourly({"y": daily_wave(30)}, "0")
    for name in range(1, 10):
        frame = frame.vstack(hourly({"y": daily_wave(30)}, str(name)))
    figure = overview(frame, ["y"]).figures[0]
    assert "the first 8 of 10 shown" in figure.caption
    assert len(figure.traces) == 8
