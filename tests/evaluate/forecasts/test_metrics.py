"""Forecast metrics against formulas written out and scikit-learn's, and that they merge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from lstm_ray.evaluate.forecasts import metrics
from lstm_ray.evaluate.forecasts.metrics import ForecastSums, forecast_sums, seasonal_scale

QUANTILES = [0.1, 0.5, 0.9]
M, H, C = 40, 6, 2


def _batch(seed: int = 0) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Actual, observed, forecast and MASE scale of 40 windows; where not observed, the actual value is NaN."""
    rng = np.random.default_rng(seed)
    observed = (rng.random((M, H, C)) < 0.8).astype(np.float32)
    actual = np.where(observed > 0, 5 * rng.standard_normal((M, H, C)), np.nan).astype(np.float32)
    forecast = np.sort(5 * rng.standard_normal((M, H, C, 3)), axis=-1).astype(np.float32)
    return actual, observed, forecast, np.repeat([[2.0, np.nan]], M, axis=0)


def _sums(
    batch: tuple[NDArray, NDArray, NDArray, NDArray],
    rows: slice | NDArray = slice(None),
    quantiles: list[float] = QUANTILES,
    grouping: tuple[NDArray, int] | None = None,
) -> ForecastSums:
    actual, observed, forecast, scale = (part[rows] for part in batch)
    forecast = forecast if len(quantiles) > 1 else forecast[..., [1]]
    grouping = grouping or (np.zeros((1, 1), np.int64), 1)
    return forecast_sums(actual, observed, forecast, quantiles, scale, {"g": grouping})["g"]


def test_point_metrics_are_scikit_learns_over_measured_steps_alone():
    actual, observed, forecast, _ = batch = _batch()
    seen = observed > 0
    a, f = actual[seen].astype(float), forecast[..., 1][seen].astype(float)
    found = _sums(batch, quantiles=[0.5]).metrics()
    assert found["mae"] == pytest.approx(mean_absolute_error(a, f))
    assert found["mse"] == pytest.approx(mean_squared_error(a, f))
    assert found["rmse"] == pytest.approx(mean_squared_error(a, f) ** 0.5)
    assert found["bias"] == pytest.approx(np.mean(f - a))
    assert found["wape"] == pytest.approx(np.abs(f - a).sum() / np.abs(a).sum())
    assert found["smape"] == pytest.approx(np.mean(200 * np.abs(f - a) / (np.abs(f) + np.abs(a))))
    assert "coverage" not in found


def test_quantile_metrics_are_scikit_learns_and_the_formulas():
    actual, observed, forecast, _ = batch = _batch()
    seen = observed > 0
    a, f = actual[seen].astype(float), forecast[seen].astype(float)
    pinballs = [mean_pinball_loss(a, f[:, i], alpha=q) for i, q in enumerate(QUANTILES)]
    found = _sums(batch).metrics()
    assert found["pinball"] == pytest.approx(np.mean(pinballs))
    assert found["weighted_quantile_loss"] == pytest.approx(2 * np.mean(pinballs) / np.abs(a).mean())
    assert found["coverage"] == pytest.approx(np.mean((f[:, 0] <= a) & (a <= f[:, 2])))
    assert found["interval_width"] == pytest.approx(np.mean(f[:, 2] - f[:, 0]))
    assert found["mae"] == pytest.approx(mean_absolute_error(a, f[:, 1])), "the point forecast is the median"


def test_mase_leaves_out_series_without_a_scale():
    actual, observed, forecast, _ = batch = _batch()
    seen = observed[..., 0] > 0
    error = np.abs(actual - forecast[..., 1])[..., 0][seen]
    assert _sums(batch).metrics()["mase"] == pytest.approx(error.mean() / 2.0)


def test_smape_of_a_correct_zero_is_zero():
    zero = np.zeros((1, 1, 1))
    sums = forecast_sums(zero, zero + 1, zero[..., None], [0.5], zero[:, 0] + 1, {"g": (np.zeros((1, 1), int), 1)})
    assert sums["g"].metrics()["smape"] == 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=M, max_size=M), st.integers(0, 3))
def test_any_partition_of_the_windows_merges_to_the_same(part_of: list[int], seed: int):
    batch, part = _batch(seed), np.asarray(part_of)
    by_step = (np.arange(H)[None], H)
    whole = _sums(batch, grouping=by_step)
    merged = None
    for index in np.unique(part):
        one = _sums(batch, np.flatnonzero(part == index), grouping=by_step)
        merged = one if merged is None else merged + one
    assert merged is not None
    for name, values in whole.columns().items():
        np.testing.assert_allclose(merged.columns()[name], values, rtol=1e-12, equal_nan=True, err_msg=name)
    assert merged.metrics() == pytest.approx(whole.metrics(), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, H), (M, 1), (M, H)])
def test_a_group_is_scored_as_if_it_were_alone(shape: tuple[int, int]):
    actual, observed, forecast, scale = batch = _batch()
    group = np.random.default_rng(1).integers(0, 4, shape)
    sums = _sums(batch, grouping=(group, 4))
    inside = np.broadcast_to(group == 2, (M, H))[..., None]
    alone = _sums((actual, observed * inside, forecast, scale))
    for name, value in alone.metrics().items():
        assert sums.rows(name)[2] == pytest.approx(value), name


def test_values_held_at_once_do_not_change_a_sum(monkeypatch: pytest.MonkeyPatch):
    grouping = (np.random.default_rng(1).integers(0, 4, (M, H)), 4)
    whole = _sums(_batch(), grouping=grouping)
    monkeypatch.setattr(metrics, "VALUES_AT_A_TIME", 7 * H * C)
    for name, values in _sums(_batch(), grouping=grouping).columns().items():
        np.testing.assert_allclose(values, whole.columns()[name], rtol=1e-12, err_msg=name)


def test_an_empty_group_and_an_empty_batch_give_none_and_never_nan():
    batch = _batch()
    sums = _sums(batch, grouping=(np.zeros((1, 1), np.int64), 3))
    assert sums.rows("mae")[1:] == [None, None]
    actual, observed, forecast, scale = batch
    nothing = _sums((actual, 0 * observed, forecast, scale))
    assert set(nothing.metrics().values()) == {None}
    assert set(nothing.scaled(np.ones(C)).values()) == {None}
    assert set(_sums(batch, slice(0, 0)).metrics().values()) == {None}


def test_scaled_errors_are_the_errors_of_standardised_values():
    actual, observed, forecast, _ = batch = _batch()
    deviation = np.array([2.0, 7.0])
    seen = observed > 0
    error = ((actual - forecast[..., 1]) / deviation)[seen]
    scaled = _sums(batch).scaled(deviation)
    assert scaled["mae"] == pytest.approx(np.abs(error).mean())
    assert scaled["mse"] == pytest.approx((error**2).mean())
    width = (forecast[..., 2] - forecast[..., 0]) / deviation
    assert _sums(batch).in_units_of(deviation).metrics()["interval_width"] == pytest.approx(width[seen].mean())


def test_channels_are_told_apart():
    actual, _, forecast, _ = batch = _batch()
    error = np.abs(actual - forecast[..., 1])
    found = _sums(batch).by_channel().rows("mae")
    assert found == pytest.approx([np.nanmean(error[..., 0]), np.nanmean(error[..., 1])])


def test_sums_of_other_quantiles_do_not_merge():
    with pytest.raises(AssertionError, match="quantiles differ"):
        _sums(_batch()) + _sums(_batch(), quantiles=[0.5])


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


def test_a_constant_or_short_series_has_no_seasonal_scale(data):
    flat = replace(data.segments, target_RC=np.ones_like(data.segments.target_RC))
    assert np.isnan(seasonal_scale(flat, data.parts, 24)).all()
    assert np.isnan(seasonal_scale(data.segments, data.parts, 5000)).all()
