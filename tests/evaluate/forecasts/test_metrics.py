"""Forecast metrics against scikit-learn's, utilsforecast's and formulas written out, and where they are not defined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn
from utilsforecast import losses

from lstm_ray.evaluate.forecasts.metrics import (
    POINT_METRICS,
    QUANTILE_METRICS,
    ForecastSums,
    owa,
    seasonal_scale,
)
from lstm_ray.evaluate.forecasts.sums import forecast_sums

QUANTILES = [0.1, 0.5, 0.9]
SEASON = 4
M, H = 40, 6


def _batch(seed: int = 0) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Actual, observed, forecast of 40 windows of one target, a tenth of it zeros; where not observed, it is NaN. And the
    series' training part."""
    rng = np.random.default_rng(seed)
    observed = (rng.random((M, H, 1)) < 0.8).astype(np.float32)
    values = np.where(rng.random((M, H, 1)) < 0.1, 0, 5 + 5 * rng.standard_normal((M, H, 1)))
    forecast = np.sort(5 + 5 * rng.standard_normal((M, H, 1, 3)), axis=-1).astype(np.float32)
    actual = np.where(observed > 0, values, np.nan).astype(np.float32)
    return actual, observed, forecast, rng.standard_normal(50).cumsum()


def _sums(quantiles: list[float], seed: int = 0) -> ForecastSums:
    actual, observed, forecast, train = _batch(seed)
    gap = train[SEASON:] - train[:-SEASON]
    scale, square = (np.full((M, 1), value) for value in (np.abs(gap).mean(), np.sqrt((gap**2).mean())))
    forecast = forecast if len(quantiles) > 1 else forecast[..., [1]]
    return forecast_sums(actual, observed, forecast, quantiles, scale, square_scale_MC=square)["horizon"].total()


def _frames(seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame, NDArray, NDArray]:
    """The same as utilsforecast reads it: test and training steps; and the measured actuals and forecasts."""
    actual, observed, forecast, train = _batch(seed)
    seen = observed > 0
    a, f = actual[seen].astype(float), forecast[seen].astype(float)
    test = pl.DataFrame({"unique_id": "a", "ds": np.arange(len(a)), "y": a, "p": f[:, 1]})
    levels = {"p-lo-80": f[:, 0], "p-hi-80": f[:, 2]}
    test = test.with_columns(**{name: pl.Series(values) for name, values in levels.items()})
    return test, pl.DataFrame({"unique_id": "a", "ds": np.arange(len(train)), "y": train}), a, f


def test_point_metrics_are_scikit_learns_over_measured_steps_alone():
    _, _, a, f = _frames()
    found = _sums([0.5]).metrics()
    point = f[:, 1]
    assert found["mae"] == pytest.approx(sklearn.mean_absolute_error(a, point), rel=1e-6)
    assert found["mse"] == pytest.approx(sklearn.mean_squared_error(a, point), rel=1e-6)
    assert found["rmse"] == pytest.approx(sklearn.root_mean_squared_error(a, point), rel=1e-6)
    assert found["bias"] == pytest.approx(np.mean(point - a), rel=1e-5)
    some = a != 0
    expected = 100 * sklearn.mean_absolute_percentage_error(a[some], point[some])
    assert found["mape"] == pytest.approx(expected, rel=1e-6)
    assert found.keys() == set(POINT_METRICS), "no interval, no metric of one"


def test_point_metrics_are_utilsforecasts():
    test, train, _, _ = _frames()
    found = _sums([0.5]).metrics()
    expected = {
        "mae": losses.mae(test, ["p"]),
        "mse": losses.mse(test, ["p"]),
        "rmse": losses.rmse(test, ["p"]),
        "wape": losses.wape(test, ["p"]),
        "mase": losses.mase(test, ["p"], SEASON, train),
        "rmsse": losses.rmsse(test, ["p"], SEASON, train),
    }
    for name, frame in expected.items():
        assert found[name] == pytest.approx(frame["p"].item(), rel=1e-6), name
    assert found["smape"] == pytest.approx(200 * losses.smape(test, ["p"])["p"].item(), rel=1e-6)
    assert found["bias"] == pytest.approx(losses.bias(test, ["p"])["p"].item(), rel=1e-5)
    some = test.filter(pl.col("y") != 0)
    assert found["mape"] == pytest.approx(100 * losses.mape(some, ["p"])["p"].item(), rel=1e-6)


def test_quantile_metrics_are_scikit_learns_and_utilsforecasts():
    test, train, a, f = _frames()
    pinballs = np.asarray([sklearn.mean_pinball_loss(a, f[:, i], alpha=q) for i, q in enumerate(QUANTILES)])
    found = _sums(QUANTILES).metrics()
    assert found.keys() == {*POINT_METRICS, *QUANTILE_METRICS}
    levels = {"p": ["p-lo-80", "p", "p-hi-80"]}
    assert found["pinball"] == pytest.approx(pinballs.mean(), rel=1e-6)
    assert found["pinball"] == pytest.approx(losses.mqloss(test, levels, np.asarray(QUANTILES))["p"].item(), rel=1e-6)
    assert found["weighted_quantile_loss"] == pytest.approx(2 * pinballs.mean() / np.abs(a).mean(), rel=1e-6)
    scaled_crps = losses.scaled_crps(test, levels, np.asarray(QUANTILES))["p"].item()
    assert found["weighted_quantile_loss"] == pytest.approx(scaled_crps, rel=1e-6)
    assert found["coverage"] == pytest.approx(losses.coverage(test, ["p"], 80)["p"].item())
    assert found["coverage"] == pytest.approx(np.mean((f[:, 0] <= a) & (a <= f[:, 2])))
    assert found["interval_width"] == pytest.approx(np.mean(f[:, 2] - f[:, 0]), rel=1e-6)
    assert found["mae"] == pytest.approx(sklearn.mean_absolute_error(a, f[:, 1]), rel=1e-6), "the point is the median"
    gap = np.abs(train["y"].to_numpy()[SEASON:] - train["y"].to_numpy()[:-SEASON]).mean()
    assert found["msis"] == pytest.approx(losses.winkler_score(test, ["p"], 80)["p"].item() / gap, rel=1e-6)
    low, high, alpha = f[:, 0], f[:, 2], 0.2
    m4 = high - low + 2 / alpha * (low - a) * (a < low) + 2 / alpha * (a - high) * (a > high)
    assert found["msis"] == pytest.approx(m4.mean() / gap, rel=1e-6)


def test_shares_below_each_level_are_utilsforecasts_calibration():
    test, _, _, _ = _frames()
    levels = ["p-lo-80", "p", "p-hi-80"]
    expected = [losses.calibration(test, {"p": level})["p"].item() for level in levels]
    np.testing.assert_allclose(_sums(QUANTILES).shares_below(), [expected])
    assert _sums([0.5]).shares_below().shape == (1, 0)


@pytest.mark.parametrize(("num", "within"), [(3, 0.13), (9, 0.02), (99, 0.001)])
def test_crps_is_near_that_of_a_normal_distribution(num: int, within: float):
    """sigma / sqrt(pi) for forecasts from the distribution itself (Gneiting and Raftery 2007)."""
    from scipy.stats import norm

    levels = [0.1, 0.5, 0.9] if num == 3 else ((1 + np.arange(num)) / (num + 1)).tolist()
    values = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None, None]
    forecast = np.broadcast_to(norm.ppf(levels), (*values.shape, num))
    found = forecast_sums(values, np.ones_like(values), forecast, levels, np.ones((len(values), 1)))
    crps = found["horizon"].metrics()["crps"]
    assert crps == pytest.approx(1 / np.sqrt(np.pi), rel=within)
    assert crps < 1 / np.sqrt(np.pi), "trapezoids under a concave curve"


def test_crps_weighs_levels_by_the_way_to_their_neighbours():
    _, _, a, f = _frames()
    pinballs = [sklearn.mean_pinball_loss(a, f[:, i], alpha=q) for i, q in enumerate(QUANTILES)]
    curve = np.interp(grid := np.linspace(0, 1, 100_001), [0, *QUANTILES, 1], [0, *pinballs, 0])
    assert _sums(QUANTILES).metrics()["crps"] == pytest.approx(2 * np.trapezoid(curve, grid), rel=1e-5)


def _one(actual: list[float], forecast: list[float], observed: float = 1.0, scale: float = np.nan) -> ForecastSums:
    values = np.asarray(actual)[None, :, None]
    scales = np.full((1, 1), scale)
    told = np.asarray(forecast)[None, :, None, None]
    return forecast_sums(values, np.full_like(values, observed), told, [0.5], scales, square_scale_MC=scales)["horizon"]


def test_smape_of_a_right_zero_is_zero_and_mape_leaves_zeros_out_and_counts_them():
    found = _one([0.0, 0.0, 4.0], [0.0, 1.0, 3.0]).total()
    assert found.metrics()["smape"] == pytest.approx((0 + 200 + 2 / 7 * 100) / 3)
    assert found.metrics()["mape"] == pytest.approx(25.0)
    assert found.zero_actuals == 2


def test_zeros_alone_leave_every_ratio_to_them_undefined():
    found = _one([0.0, 0.0], [1.0, 2.0]).total().metrics()
    assert (found["mape"], found["wape"]) == (None, None)
    assert (found["mae"], found["smape"]) == (1.5, 200.0)


def test_a_series_without_a_scale_has_no_scaled_error():
    found = _one([1.0, 2.0], [2.0, 2.0]).total().metrics()
    assert (found["mase"], found["rmsse"]) == (None, None)
    assert _one([1.0, 2.0], [2.0, 2.0], scale=2.0).total().metrics()["mase"] == pytest.approx(0.25)


def test_an_all_missing_horizon_has_no_metric_and_no_nan():
    found = _one([np.nan, np.nan], [1.0, 2.0], observed=0.0)
    assert set(found.total().metrics().values()) == {None}
    assert found.rows("mae") == [None, None]
    assert set(found.scaled(np.ones(1)).values()) == {None}


def test_owa_is_the_mean_of_two_ratios_and_one_of_the_naive_itself():
    naive = {"smape": 10.0, "mase": 2.0}
    assert owa({"smape": 8.0, "mase": 1.0}, naive) == pytest.approx((0.8 + 0.5) / 2)
    assert owa(naive, naive) == 1.0


@pytest.mark.parametrize("naive", [{"smape": 10.0, "mase": None}, {"smape": 0.0, "mase": 1.0}, {}])
def test_owa_is_undefined_where_the_naive_has_no_error_or_no_scale(naive):
    assert owa({"smape": 8.0, "mase": 1.0}, naive) is None


def test_seasonal_scale_is_the_training_parts_naive_error_within_segments(data):
    segments, season = data.segments, data.window.season
    first, end = data.parts["train"]
    for index, name in enumerate(["s0", "s1", "s2"]):
        gaps = []
        for s, series in enumerate(segments.series):
            if series != name:
                continue
            for row in range(segments.bounds[s] + season, segments.bounds[s + 1]):
                step = segments.first_step[s] + row - segments.bounds[s]
                seen = segments.observed_RC[row, 0] and segments.observed_RC[row - season, 0]
                if first <= step - season and step < end and seen:
                    gaps.append(abs(float(segments.target_RC[row, 0]) - float(segments.target_RC[row - season, 0])))
        found = seasonal_scale(segments, data.parts, season)[index, 0]
        assert found == pytest.approx(np.mean(gaps)), name


def test_the_seasonal_scale_of_dealt_series_is_that_of_all_their_steps(data):
    """One that is in the test part has no training part of its own."""
    whole = dict.fromkeys(data.parts, (0, 600))
    dealt = replace(data.segments, part_S=np.array([0, 0, 1, 2], dtype=np.int8))
    as_training = seasonal_scale(data.segments, whole, 24)
    assert np.isfinite(as_training).all()
    np.testing.assert_array_equal(seasonal_scale(dealt, whole, 24), as_training)


def test_the_squared_scale_is_the_root_of_the_mean_square(data):
    """Of a series without gaps, checked against its values; the same steps as the absolute scale's."""
    segments = replace(data.segments, observed_RC=np.ones_like(data.segments.observed_RC))
    rows = slice(segments.bounds[2], segments.bounds[2] + data.parts["train"][1])
    values = segments.target_RC[rows, 0].astype(np.float64)
    found = seasonal_scale(segments, data.parts, 24, power=2)[1, 0]
    assert found == pytest.approx(np.sqrt(np.mean((values[24:] - values[:-24]) ** 2)))


def test_a_constant_or_short_series_has_no_seasonal_scale(data):
    flat = replace(data.segments, target_RC=np.ones_like(data.segments.target_RC))
    assert np.isnan(seasonal_scale(flat, data.parts, 24)).all()
    assert np.isnan(seasonal_scale(data.segments, data.parts, 5000)).all()
