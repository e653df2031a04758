"""Calibrated quantiles hold what they say where errors are exchangeable, and say where they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.evaluate.intervals.calibrating import bands, conformal_of, corrections, order_statistic
from lstm_ray.evaluate.intervals.sample import Sample
from lstm_ray.model.conformal import Conformal
from tests.evaluate.intervals import known
from tests.evaluate.intervals.known import LEVELS


def below(sample: Sample, calibration: Conformal) -> np.ndarray:
    """Share of actual values at or below each calibrated quantile, by step ahead, [H, Q]."""
    forecast = sample.forecast(calibration.shift_HCQ, calibration.floor_C)
    return (sample.actual_MHC[..., None] <= forecast).mean(axis=0)[:, 0]


@pytest.mark.parametrize("num", [9, 10, 19, 99, 100, 1000])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_a_correction_is_the_order_statistic_of_one_error_more(num: int, level: float) -> None:
    score = np.random.default_rng(num).permutation(num).astype(float)[:, None] + 1
    rank = -(-round(100 * level) * (num + 1) // 100)
    assert order_statistic(score, level)[0] == rank
    assert order_statistic(score, 1 - level)[0] == num + 1 - rank


def test_too_few_errors_promise_nothing() -> None:
    score = np.arange(8.0)[:, None]
    assert np.isnan(order_statistic(score, 0.9)).all()
    assert np.isnan(order_statistic(score, 0.1)).all()
    assert order_statistic(score, 0.8)[0] == 7
    assert np.isnan(order_statistic(np.arange(80.0)[:, None], 0.9, alike=10)).all()
    unknown = np.concatenate([np.full((20, 1), np.nan), np.arange(9.0)[:, None]])
    assert order_statistic(unknown, 0.9)[0] == 8


def test_the_next_value_is_held_exactly_as_often_as_promised() -> None:
    random = np.random.default_rng(0)
    score = random.standard_cauchy((19, 20_000))
    upper, lower = order_statistic(score, 0.9), order_statistic(score, 0.1)
    following = random.standard_cauchy(20_000)
    assert (following <= upper).mean() == pytest.approx(0.9, abs=0.008)
    assert (following >= lower).mean() == pytest.approx(0.9, abs=0.008)
    assert (following <= np.quantile(score, 0.9, axis=0)).mean() < 0.88


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_an_autoregression_is_held_as_often_as_said_at_every_step_ahead(factor: float) -> None:
    calibration = conformal_of(known.first_order(60_000, 8, factor, seed=1))
    found = below(known.first_order(60_000, 8, factor, seed=2), calibration)
    np.testing.assert_allclose(found[:, [0, 1, 2, 4, 5, 6]], np.tile(np.delete(LEVELS, 3), (8, 1)), rtol=0, atol=0.02)
    coverage = found[:, -2] - found[:, 1]
    assert np.abs(coverage - 0.8).max() < 0.02


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_both_tails_of_skewed_noise_of_any_size_are_held_as_often_as_said(factor: float) -> None:
    calibration = conformal_of(known.skewed(8_000, 4, factor, seed=1))
    sample = known.skewed(8_000, 4, factor, seed=2)
    assert np.abs(below(sample, calibration) - LEVELS)[:, [0, 1, 2, 4, 5, 6]].max() < 0.02
    # Whether the noise is large or small: the correction is in widths.
    width = np.ptp(sample.scaled_MHCQ, axis=-1)[:, 0, 0]
    for some in np.array_split(np.argsort(width), 4)[1:]:
        assert below(replace_windows(sample, some), calibration)[:, 5].mean() == pytest.approx(0.9, abs=0.02)


def replace_windows(sample: Sample, some: np.ndarray) -> Sample:
    windows = {name: vars(sample)[name][some] for name in ("scaled_MHCQ", "actual_MHC", "step_M", "series_M")}
    return replace(sample, **windows)


def test_a_correction_does_not_depend_on_the_units() -> None:
    sample = known.skewed(500, 3, 0.5, seed=1)
    larger = replace(sample, scaled_MHCQ=1000 * sample.scaled_MHCQ, actual_MHC=3.0 + 1000 * (sample.actual_MHC - 3.0))
    np.testing.assert_allclose(conformal_of(larger).shift_HCQ, conformal_of(sample).shift_HCQ, rtol=1e-3, atol=1e-4)


def test_the_median_stays_and_quantiles_never_cross() -> None:
    random = np.random.default_rng(3)
    sample = known.sample_of(random.normal(2, 1, (200, 5)), np.sort(random.normal(size=(200, 5, len(LEVELS)))))
    moved = conformal_of(sample).moved(sample.scaled_MHCQ)
    np.testing.assert_array_equal(moved[..., 3], sample.scaled_MHCQ[..., 3])
    assert (np.diff(moved) >= 0).all()


def test_a_forecast_without_width_is_not_moved_by_endlessly_many_of_them() -> None:
    random = np.random.default_rng(4)
    forecast = np.tile(np.asarray([0.0, 0, 0, 0, 1, 2, 3]), (1000, 1, 1))
    forecast[random.random(1000) < 0.3] = 0
    sample = known.sample_of((random.random((1000, 1)) < 0.3) * 1.0, forecast)
    calibration = conformal_of(sample)
    assert np.abs(calibration.moved(sample.scaled_MHCQ)).max() < 50


def test_levels_that_validation_is_too_short_for_are_left_and_named() -> None:
    sample = known.first_order(50 + 6 + 12, 6, 0.5, seed=1)
    assert len(sample.step_M) == 12
    calibration = conformal_of(sample)
    assert calibration.left == (0.05, 0.95)
    assert not calibration.shift_HCQ[..., [0, -1]].any()
    assert calibration.shift_HCQ[..., [1, -2]].all()
    assert (np.diff(calibration.moved(sample.scaled_MHCQ)) >= 0).all()


def test_what_was_not_measured_teaches_nothing() -> None:
    sample = known.first_order(4_000, 3, 0.5, seed=1)
    hidden = np.random.default_rng(5).random(sample.actual_MHC.shape) < 0.5
    holes = replace(sample, actual_MHC=np.where(hidden, np.nan, sample.actual_MHC))
    calibration = conformal_of(holes)
    assert np.isfinite(calibration.shift_HCQ).all()
    np.testing.assert_allclose(calibration.shift_HCQ, conformal_of(sample).shift_HCQ, atol=0.05)
    sample.actual_MHC[:, 1] = np.nan
    assert np.isfinite(conformal_of(sample).shift_HCQ).all()


def test_steps_ahead_share_a_correction_where_few_independent_errors_tell_of_them() -> None:
    assert bands(6, 10_000, 10_000).tolist() == [0, 1, 2, 3, 4, 5, 6]
    edges = bands(96, 1_000, 1_000)
    assert edges[:5].tolist() == [0, 1, 2, 3, 4]
    assert (edges[0], edges[-1]) == (0, 96)
    assert (np.diff(edges) >= 1).all()
    assert np.diff(edges)[-2] > 10
    assert (np.diff(edges)[1:] <= np.maximum(1, (edges[1:-1] + 1) / 2)).all()
    short = bands(96, 10, 10)
    assert len(short) < len(edges)


def test_corrections_go_along_a_line_between_steps_that_share_one() -> None:
    score = np.repeat(np.arange(6.0), 200).reshape(6, 200).T[..., None, None]
    found, left = corrections(np.tile(score, (1, 1, 1, 3)), (0.1, 0.5, 0.9), np.array([0, 1, 2, 6]))
    assert left == ()
    assert found[0, 0].tolist() == [0, 0, 0]
    assert (np.diff(found[:, 0, 2]) >= 0).all()
    assert found[1:5, 0, 2] == pytest.approx(np.interp([1, 2, 3, 4], [1, 3.5], [1, 5]))
