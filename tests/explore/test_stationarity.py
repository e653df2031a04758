"""Two tests with opposite nulls, on processes of which the answer is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lstm_ray.explore.stationarity import FEWEST_POINTS, examine, stationarity, verdict
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said


def looked_at(values, **more):
    return stationarity(hourly({"y": values}), ["y"], 24, HOUR, **more)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda seed: noise(400, seed), "stationary"),
        (lambda seed: np.linspace(0, 6, 400) + noise(400, seed), "trend-stationary"),
        (lambda seed: noise(400, seed).cumsum(), "difference-stationary"),
    ],
    ids=["noise", "trend", "random walk"],
)
def test_most_series_are_called_what_they_are(made, expected):
    found = Counter(examine(made(seed))["verdict"] for seed in range(20))
    assert found[expected] >= 15, found


def test_a_verdict_needs_one_test_to_refuse_and_the_other_to_keep():
    assert verdict(0.01, 0.1, 0.01, 0.1) == "stationary"
    assert verdict(0.3, 0.01, 0.01, 0.1) == "trend-stationary"
    assert verdict(0.3, 0.01, 0.3, 0.01) == "difference-stationary"
    assert verdict(0.01, 0.01, 0.01, 0.01) == "unclear"
    assert verdict(0.3, 0.1, 0.3, 0.1) == "unclear"


def test_a_season_is_no_wandering():
    analysis = looked_at(daily_wave(24 * 40, spread=0.3))
    assert analysis.tables["stationarity"][0]["verdict"] == "stationary"
    assert "(null: it wanders) against KPSS p ≥ 0.1 (null: it keeps its level)" in said(analysis, "info")


def test_a_long_series_is_averaged_over_whole_seasons_and_said_to_be():
    analysis = looked_at(noise(24 * 400, 1).cumsum())
    row = analysis.tables["stationarity"][0]
    assert (row["averaged_steps"], row["points"], row["verdict"]) == (24, 400, "difference-stationary")
    assert "on means of 24 steps (1d)" in said(analysis)


def test_changes_are_advised_but_not_where_a_year_would_look_the_same():
    assert "model: {difference: 1}" in said(looked_at(noise(24 * 80, 1).cumsum()), "advice")
    year = said(looked_at(noise(24 * 400, 1).cumsum()), "info")
    assert "spans 1.1 years: below two, a yearly cycle looks like wandering" in year


def test_a_level_that_is_kept_in_is_advised_out():
    assert "model: {normalisation: last}" in said(looked_at(noise(600, 4).cumsum(), normalisation="none"), "advice")


def test_many_series_are_sampled_and_said_to_be():
    frames = [hourly({"y": noise(100, seed)}, f"{seed:02d}") for seed in range(15)]
    frame = frames[0].vstack(frames[1])
    for more in frames[2:]:
        frame = frame.vstack(more)
    analysis = stationarity(frame, ["y"], 24, HOUR)
    assert "Stationarity of 9 series and columns of 15" in said(analysis)
    assert len(analysis.tables["stationarity"]) == 9


@pytest.mark.parametrize("values", [np.ones(200), np.full(200, np.nan), noise(FEWEST_POINTS - 1), np.arange(200.0)])
def test_constant_missing_and_short_series_survive(values):
    assert all(np.isfinite(row["kpss"]) for row in looked_at(values).tables["stationarity"])
