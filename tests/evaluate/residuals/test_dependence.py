"""Residuals that follow one another are found, and noise is left in peace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.tsa.stattools import acf

from lstm_ray.evaluate.residuals import dependence


def _wander(num: int, share: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = np.zeros(num)
    for t in range(1, num):
        found[t] = share * found[t - 1] + rng.standard_normal()
    return found


@pytest.fixture
def wandering(make_data, seen, erring):
    """A view whose one-step residuals are autoregressive, 0.8 from one step to the next."""
    data = make_data(num_series=1, steps=6000, missing=0.05, cut_first=False)
    table = _wander(6000)
    return seen(data, erring(lambda segments, rows: table[segments.steps(rows)][..., None]))[0]


def test_planted_autocorrelation_is_measured_and_comes_with_advice(wandering):
    assert dependence.correlation(wandering, 1) == pytest.approx(0.8, abs=0.06)
    assert dependence.correlation(wandering, 24) == pytest.approx(0.0, abs=0.15)
    assert dependence.correlation(wandering, 100_000) is None
    told = dependence.told(wandering)
    [finding] = told.findings
    assert finding.severity == "advice"
    assert f"{dependence.correlation(wandering, 1):.2f} one step apart" in finding.text
    assert "no noise in 1 of 1 series" in finding.text
    assert "model.normalisation" in finding.advice
    assert "window.history" not in finding.advice, "the season is no matter here"
    assert told.details["residual_correlation"]["1"] == dependence.correlation(wandering, 1)


def test_correlations_are_those_of_statsmodels_where_nothing_is_missing(make_data, seen, erring):
    data = make_data(num_series=1, steps=2000, missing=0.0, cut_first=False)
    table = _wander(2000, 0.5)
    view, _ = seen(data, erring(lambda segments, rows: table[segments.steps(rows)][..., None]))
    found = dependence.dependence(view)
    residual = view.scores["policy"].first_residual_MC[:, 0].astype(float)
    expected = acf(residual, nlags=len(found.lags))[1:]
    np.testing.assert_allclose(found.correlation_K, expected, atol=0.05)
    assert found.band == pytest.approx(1.96 / np.sqrt(len(residual)))


def test_noise_stays_in_its_band(make_data, seen, erring, noise):
    view, _ = seen(make_data(num_series=3, steps=3000, cut_first=False), erring(noise))
    found = dependence.dependence(view)
    assert found.tested == 3
    assert found.refused == 0
    assert found.outside <= 0.15 * len(found.lags)
    [finding] = dependence.told(view).findings
    assert finding.severity == "info"


def test_correlation_never_pairs_residuals_of_two_series(data, seen, fake_policy):
    view, _ = seen(data, fake_policy())
    lag = int(data.segments.bounds[3] - data.segments.bounds[2])
    assert np.isin(view.origins_M - lag, view.origins_M).sum() > dependence.MIN_PAIRS
    assert dependence.correlation(view, lag) is None


def test_residuals_that_never_vary_are_not_spoken_of(make_data, seen, erring):
    data = make_data(missing=0.0)
    data = replace(data, segments=replace(data.segments, target_RC=np.zeros_like(data.segments.target_RC)))
    view, _ = seen(data, erring(lambda segments, rows: np.ones((*rows.shape, 1))))
    told = dependence.told(view)
    assert not told.findings
    assert not told.figures
    assert told.details["residual_correlation"] == {"1": None, "24": None}
