"""Baselines forecast what they say, from the past alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge as ReferenceRidge

from lstm_ray.data.schema import ColumnScale, Scaler
from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts.baselines import Drift, LastValue, Mean, SeasonalNaive, fit_baselines, fit_ridge
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.model import ridge as closed_form
from lstm_ray.sections.prepare import WindowConfig
from tests.made import in_logarithms


def test_the_last_value_is_repeated(data):
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecast = LastValue(5).forecast_windows(data.segments, test_M)
    assert forecast.shape == (len(test_M), 5, 1, 1)
    np.testing.assert_array_equal(forecast[:, :, 0, 0], np.repeat(data.segments.target_RC[test_M], 5, axis=1))


def test_the_last_season_is_repeated_also_past_one_season(data):
    row, season, horizon = int(data.segments.bounds[1] + 100), 24, 60
    forecast = SeasonalNaive(horizon, season).forecast_windows(data.segments, np.array([row]))[0, :, 0, 0]
    last = data.segments.target_RC[row - season + 1 : row + 1, 0]
    np.testing.assert_array_equal(forecast, np.concatenate([last, last, last[:12]]))


def _measured(data, origin: int, steps: int):
    """Rows and values of one history's measured steps."""
    rows = np.arange(origin - steps + 1, origin + 1)
    rows = rows[data.segments.observed_RC[rows, 0] > 0]
    return rows, data.segments.target_RC[rows, 0].astype(float)


def test_the_mean_is_that_of_the_measured_history(data):
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecast = Mean(5, 48).forecast_windows(data.segments, test_M)
    assert forecast.shape == (len(test_M), 5, 1, 1)
    for m in (0, 40, len(test_M) - 1):
        np.testing.assert_allclose(forecast[m, :, 0, 0], _measured(data, test_M[m], 48)[1].mean(), rtol=1e-5)


def test_the_drift_goes_on_along_the_line_through_the_first_and_last_measured_values(data):
    test_M = origins(data.segments, data.parts, "test", data.window)
    forecast = Drift(5, 48).forecast_windows(data.segments, test_M)
    for m in range(0, len(test_M), 7):
        rows, values = _measured(data, test_M[m], 48)
        slope = (values[-1] - values[0]) / (rows[-1] - rows[0])
        expected = values[-1] + slope * (test_M[m] + np.arange(1, 6) - rows[-1])
        np.testing.assert_allclose(forecast[m, :, 0, 0], expected, rtol=1e-4)


def test_where_nothing_was_measured_the_mean_is_of_what_was_filled_in_and_the_drift_stands_still(data):
    origin = np.array([int(data.segments.bounds[1]) + 100])
    data.segments.observed_RC[origin[0] - 47 : origin[0] + 1] = 0
    filled = data.segments.target_RC[origin[0] - 47 : origin[0] + 1, 0]
    np.testing.assert_allclose(Mean(3, 48).forecast_windows(data.segments, origin), filled.mean(), rtol=1e-5)
    np.testing.assert_allclose(Drift(3, 48).forecast_windows(data.segments, origin), filled[-1], rtol=1e-6)


def test_a_history_cut_short_by_its_segment_reads_no_other_series(data):
    start = int(data.segments.bounds[2])
    origin, own = np.array([start + 9]), slice(start, start + 10)
    data.segments.observed_RC[own] = 1
    values = data.segments.target_RC[own, 0]
    np.testing.assert_allclose(Mean(2, 48).forecast_windows(data.segments, origin), values.mean(), rtol=1e-5)
    step = (values[-1] - values[0]) / 9
    drift = Drift(2, 48).forecast_windows(data.segments, origin)[0, :, 0, 0]
    np.testing.assert_allclose(drift, values[-1] + step * np.array([1, 2]), rtol=1e-5)


def test_no_baseline_looks_ahead(data):
    test_M = origins(data.segments, data.parts, "test", data.window)
    origin = test_M[-1:]
    fitted = fit_baselines(data.segments, data.parts, data.window, data.scaler)
    assert list(fitted) == ["last_value", "mean", "drift", "seasonal_naive", "ridge"]
    changed = data.segments.target_RC.copy()
    changed[int(origin[0]) + 1 :] = 1e6
    after = replace(data.segments, target_RC=changed)
    for name, forecaster in fitted.items():
        before = forecaster.forecast_windows(data.segments, origin)
        np.testing.assert_array_equal(forecaster.forecast_windows(after, origin), before, err_msg=name)


def test_the_ridge_is_fitted_without_the_test_part(data):
    changed = data.segments.target_RC.copy()
    rows = np.arange(len(changed))
    changed[data.segments.steps(rows) >= data.parts["test"][0]] = 1e6
    first = fit_ridge(data.segments, data.parts, data.window, data.scaler)
    second = fit_ridge(replace(data.segments, target_RC=changed), data.parts, data.window, data.scaler)
    np.testing.assert_array_equal(first.weights_LH, second.weights_LH)


def test_the_ridge_is_scikit_learns_at_the_penalty_it_chose(data):
    segments, window = replace(data.segments, observed_RC=np.ones_like(data.segments.observed_RC)), data.window
    ridge = fit_ridge(segments, data.parts, window, data.scaler)
    train_M = origins(segments, data.parts, "train", window)
    rows = train_M[:, None] + np.arange(1 - window.history, window.horizon + 1)
    change = (segments.target_RC[rows, 0] - segments.target_RC[train_M]) / data.scaler.target_deviation
    x, y = change[:, : window.history].astype(float), change[:, window.history :].astype(float)
    unit = np.trace(np.cov(x.T, bias=True)) / window.history
    reference = ReferenceRidge(alpha=ridge.penalty * unit * len(x)).fit(x, y)
    np.testing.assert_allclose(ridge.weights_LH, reference.coef_.T, atol=2e-4)
    np.testing.assert_allclose(ridge.intercept_H, reference.intercept_, atol=2e-4)


def test_the_penalty_is_the_one_that_validates_best(data):
    window, errors = data.window, {}
    chosen = fit_ridge(data.segments, data.parts, window, data.scaler).penalty
    for penalty in closed_form.PENALTIES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(closed_form, "PENALTIES", (penalty,))
            ridge = fit_ridge(data.segments, data.parts, window, data.scaler)
        validation_M = origins(data.segments, data.parts, "validation", window)
        scale = np.full((3, 1), np.nan)
        scores = score(
            {"r": ridge}, data.segments, validation_M, Yardstick(window, scale, data.scaler.target_deviation)
        )
        errors[penalty] = scores["r"].total.metrics()["mse"]
    # A window weighs by its measured share there and by its measured steps here, so the two may part by a hair.
    assert errors[chosen] <= min(errors.values()) * 1.001


def test_the_ridge_continues_a_cycle_that_has_no_noise(make_data):
    data = make_data(noise=0.0, missing=0.0, channels=2)
    ridge = fit_ridge(data.segments, data.parts, data.window, data.scaler)
    test_M = origins(data.segments, data.parts, "test", data.window)
    truth = data.segments.target_RC[test_M[:, None] + np.arange(1, 13)]
    np.testing.assert_allclose(ridge.forecast_windows(data.segments, test_M, batch=50)[..., 0], truth, atol=0.02)


def test_a_season_longer_than_the_history_leaves_out_the_seasonal_naive(data):
    window = WindowConfig(history=12, horizon=12, patch=12, season=24)
    assert list(fit_baselines(data.segments, data.parts, window, data.scaler)) == [
        "last_value",
        "mean",
        "drift",
        "ridge",
    ]


@pytest.mark.skipif("LSTM_RAY_DATA" not in os.environ, reason="LSTM_RAY_DATA names no folder with ETTh1.csv")
def test_the_ridge_reaches_its_known_error_on_etth1(make_data):
    frame = pl.read_csv(Path(os.environ["LSTM_RAY_DATA"]) / "ETTh1.csv").drop("date")
    values = frame.to_numpy().astype(np.float32)[:14400]
    train = values[:8640].astype(np.float64)
    like = make_data(num_series=1, channels=7, cut_first=False)
    scale = ColumnScale(mean=train.mean(axis=0).tolist(), deviation=train.std(axis=0).tolist())
    scaler = Scaler(target=scale, past=like.scaler.past, known=like.scaler.known)
    segments = replace(
        like.segments,
        target_RC=values,
        observed_RC=np.ones_like(values),
        past_RP=np.zeros((len(values), 0), np.float32),
        known_RK=np.zeros((len(values), 0), np.float32),
        bounds=np.array([0, len(values)]),
    )
    parts = {"train": (0, 8640), "validation": (8640, 11520), "test": (11520, 14400)}
    window = WindowConfig(history=336, horizon=96, patch=24, season=24)
    ridge = fit_ridge(segments, parts, window, scaler)
    test_M = origins(segments, parts, "test", window)
    scores = score({"r": ridge}, segments, test_M, Yardstick(window, np.ones((1, 7)), scaler.target_deviation))["r"]
    assert scores.total.scaled(scaler.target_deviation) == pytest.approx({"mse": 0.370, "mae": 0.391}, abs=1e-3)


def test_the_ridge_stays_on_raw_values_where_the_network_learns_logarithms(data):
    log = in_logarithms(data.scaler, 1.0, 2.0, 0.5)
    plain, beside = (fit_ridge(data.segments, data.parts, data.window, scaler) for scaler in (data.scaler, log))
    test_M = origins(data.segments, data.parts, "test", data.window)
    np.testing.assert_array_equal(
        plain.forecast_windows(data.segments, test_M), beside.forecast_windows(data.segments, test_M)
    )
