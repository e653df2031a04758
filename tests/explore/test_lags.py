"""The memory of a target, and inputs that lead it."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.lags import correlation, cross_correlation, inputs_against_target, memory
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, hourly, noise, said

NOISE = noise(600, 1)


def data(*past, known=()):
    return DataConfig(source="x.csv", time="time", target=["y"], past=list(past), known=list(known))


def looked_at(config, **columns):
    return inputs_against_target(hourly(columns), config, 24, 48, HOUR)


def test_an_input_that_leads_by_three_steps_is_named():
    target = np.roll(NOISE, 3) + 0.3 * noise(600, 2)
    analysis = looked_at(data("x"), y=target, x=NOISE)
    assert "x leads y by 3 steps (3h) (+0.9" in said(analysis)
    assert analysis.tables["cross_correlation"][0]["best_lag"] == 3
    assert said(analysis, "warning") == ""
    assert analysis.figures[0].id == "cross-correlation"


def test_noise_leads_nothing():
    assert "No column leads a target" in said(looked_at(data("x"), y=NOISE, x=noise(600, 3)))


def test_constant_missing_and_purely_seasonal_inputs_are_left_out():
    phase = np.sin(2 * np.pi * np.arange(600) / 24)
    analysis = looked_at(
        data("one", "none", "season"), y=NOISE, one=np.ones(600), none=np.full(600, np.nan), season=phase
    )
    assert analysis.tables["cross_correlation"] == []
    assert analysis.findings == []


def test_correlation_reads_only_steps_that_both_have():
    x, y = NOISE.copy(), NOISE.copy()
    x[:10], y[20:30] = np.nan, np.nan
    assert correlation(x, y) == pytest.approx(1)
    assert correlation(np.full(20, np.nan), NOISE[:20]) is None


def test_cross_correlation_survives_series_of_a_few_steps():
    assert cross_correlation("x", NOISE[:5], NOISE[:5], 24, 48) is None
    assert len(cross_correlation("x", NOISE[:10], NOISE[:10], 24, 48).correlation) == 6


def test_memory_follows_an_autoregression():
    values = noise(4000, 9)
    for t in range(1, 4000):
        values[t] += 0.8 * values[t - 1]
    analysis = memory(hourly({"y": values}), ["y"], 48, HOUR)
    row = analysis.tables["autocorrelation"][0]
    np.testing.assert_allclose(row["autocorrelation"][:3], [1, 0.8, 0.64], atol=0.05)
    np.testing.assert_allclose(row["partial"][:3], [1, 0.8, 0], atol=0.05)
    assert analysis.figures[0].id == "acf"


def test_memory_of_a_constant_is_said_to_be_undefined():
    analysis = memory(hourly({"y": np.ones(100)}), ["y"], 48, HOUR)
    assert "too short or constant" in said(analysis)
    assert analysis.figures == []
