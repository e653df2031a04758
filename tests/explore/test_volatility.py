"""Calm and wild times."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.volatility import volatility
from tests.explore.tables import HOUR, hourly, noise, said

NOISE = noise(4000, 8)


def test_noise_that_grows_tenfold_asks_for_a_scale_at_each_origin():
    values = NOISE * np.linspace(1, 10, 4000)
    analysis = volatility(hourly({"y": values}), ["y"], 24, HOUR)
    row = analysis.tables["volatility"][0]
    assert row["p90"] / row["p10"] == pytest.approx(row["ratio"])
    assert row["trend"] == pytest.approx(9 / 4000 * 8766, rel=0.1)
    assert row["r2"] > 0.7
    assert "model: {normalisation: mean_deviation}" in said(analysis, "advice")


def test_steady_noise_needs_no_advice():
    analysis = volatility(hourly({"y": NOISE}), ["y"], 24, HOUR)
    assert analysis.tables["volatility"][0]["median"] == pytest.approx(1, abs=0.05)
    assert said(analysis, "advice") == ""
    assert "y by 1." in said(analysis, "info")


def test_deviation_that_grows_with_the_level_is_said():
    level = np.linspace(1, 20, 4000)
    assert "growing with the level" in said(volatility(hourly({"y": level * (1 + 0.1 * NOISE)}), ["y"], 24, HOUR))


@pytest.mark.parametrize("values", [np.ones(100), np.array([1.0, 2.0]), np.full(60, np.nan)])
def test_constant_short_and_missing_series_are_defined(values):
    analysis = volatility(hourly({"y": values}), ["y"], 24, HOUR)
    assert all(row["ratio"] is None for row in analysis.tables["volatility"])
    assert analysis.findings == []
