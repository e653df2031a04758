"""The configured window against the cycles that are there."""

from __future__ import annotations

import numpy as np
import yaml

from lstm_ray.explore.seasonality import mean_strength, pairs, seasonality, window_advice
from lstm_ray.sections.prepare import WindowConfig
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said


def advised(window, values):
    analysis = seasonality(hourly({"y": values}), ["y"], window, 168, HOUR)
    return {
        key: value for f in analysis.findings if f.advice for key, value in yaml.safe_load(f.advice)["window"].items()
    }


def test_agreement_is_said_without_advice():
    analysis = seasonality(hourly({"y": daily_wave(1000)}), ["y"], WindowConfig(), 168, HOUR)
    assert "24 steps (1d) with 9" in said(analysis)
    assert "in agreement with window.season" in said(analysis)
    assert not any(finding.advice for finding in analysis.findings)
    assert mean_strength(analysis) > 0.95
    assert analysis.figures[0].id == "stl"


def test_a_wrong_season_is_corrected_and_the_patch_with_it():
    assert advised(WindowConfig(season=10, patch=10, history=160), daily_wave(1000)) == {
        "season": 24,
        "patch": 24,
        "history": 168,
    }


def test_a_patch_out_of_step_is_corrected_alone():
    assert advised(WindowConfig(season=24, patch=7, history=168), daily_wave(1000)) == {"patch": 24}


def test_a_cycle_longer_than_the_history_asks_for_more_history():
    week = np.sin(2 * np.pi * np.arange(2000) / 168)
    assert advised(WindowConfig(history=48), daily_wave(2000) + week)["history"] == 168


def test_advice_keeps_patches_that_fit():
    assert window_advice(WindowConfig(season=7, patch=12), 24) == "window: {season: 24}"
    assert window_advice(WindowConfig(season=7, patch=1), 24) == "window: {season: 24}"
    assert window_advice(WindowConfig(), 24) == ""


def test_noise_has_no_cycle_to_agree_with():
    assert "No cycle stands out" in said(seasonality(hourly({"y": noise(1000, 1)}), ["y"], WindowConfig(), 168, HOUR))


def test_series_shorter_than_two_seasons_are_named():
    frame = hourly({"y": daily_wave(30)}, "brief").vstack(hourly({"y": daily_wave(300)}, "long"))
    analysis = seasonality(frame, ["y"], WindowConfig(), 168, HOUR)
    assert "1 of 2 series are shorter than two seasons of 24 steps (1d): brief" in said(analysis)


def test_a_constant_series_has_no_strength():
    analysis = seasonality(hourly({"y": np.ones(100)}), ["y"], WindowConfig(), 168, HOUR)
    assert mean_strength(analysis) is None
    assert analysis.tables["periods"] == []


def test_every_column_is_examined_before_a_second_series_is():
    values = {name: daily_wave(60) for name in ("x", "y")}
    frame = hourly(values, "a").vstack(hourly(values, "b")).vstack(hourly(values, "c"))
    assert pairs(frame, ["x", "y"], 3)[:2] == [("a", "x"), ("a", "y")]
    assert len(set(pairs(frame, ["x", "y"], 5))) == 5
