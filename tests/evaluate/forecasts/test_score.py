"""One pass over windows gives the same scores however it is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.quality.clean import Cleaning, lookback
from lstm_ray.data.windows import origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Scores, Yardstick, score
from lstm_ray.evaluate.forecasts.strata import strata_of
from lstm_ray.evaluate.forecasts.sums import BIN_EDGES
from tests import made

QUANTILES = [0.1, 0.5, 0.9]


def _score(data, policy, origins_M=None, batch=512) -> Scores:
    if origins_M is None:
        origins_M = origins(data.segments, data.parts, "test", data.window)
    given = Yardstick.of(data.segments, data.parts, data.window, data.scaler, batch)
    return score({"policy": policy}, data.segments, origins_M, given)["policy"]


def _assert_same(one: Scores, other: Scores) -> None:
    assert one.by.keys() == other.by.keys()
    for grouping, sums in one.by.items():
        for name, values in sums.columns().items():
            found = other.by[grouping].columns()[name]
            np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6, err_msg=f"{grouping} {name}")
    for name in ("absolute_M", "scaled_M", "first_residual_MC", "histogram_B"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_batch_size_does_not_change_a_score(make_data, fake_policy, batch):
    data, policy = make_data(channels=2, steps=300), fake_policy(quantiles=QUANTILES)
    _assert_same(_score(data, policy, batch=100_000), _score(data, policy, batch=batch))


def test_scores_of_two_halves_add_up_to_the_whole(data, fake_policy):
    policy = fake_policy(quantiles=QUANTILES)
    test_M = origins(data.segments, data.parts, "test", data.window)
    halves = _score(data, policy, test_M[:133]) + _score(data, policy, test_M[133:])
    _assert_same(_score(data, policy), halves)


def test_the_total_is_the_error_of_every_measured_step(data, fake_policy):
    policy = fake_policy(bias=0.3)
    test_M = origins(data.segments, data.parts, "test", data.window)
    rows = test_M[:, None] + np.arange(1, data.window.horizon + 1)
    seen = data.segments.observed_RC[rows] > 0
    error = (policy.forecast_windows(data.segments, test_M)[..., 0] - data.segments.target_RC[rows])[seen]
    found = _score(data, policy)
    scale = seasonal_scale(data.segments, data.parts, data.window.season)[:, 0]
    assert found.by["series"].rows("mase") == pytest.approx(np.asarray(found.by["series"].rows("mae")) / scale)
    assert found.total.metrics()["mae"] == pytest.approx(np.abs(error).mean())
    assert found.absolute_M.sum() == pytest.approx(np.abs(error).sum())
    assert found.histogram_B.sum() == seen.sum()
    inside = (-error / data.scaler.target_deviation[0] >= 0).sum()
    assert found.histogram_B[BIN_EDGES[:-1] >= -1e-9].sum() == pytest.approx(inside, abs=2)


def test_every_test_window_is_asked_for_once(data, fake_policy):
    policy = fake_policy()
    _score(data, policy, batch=50)
    assert policy.asked == len(origins(data.segments, data.parts, "test", data.window))


def test_hours_are_those_of_the_forecast_steps(data, fake_policy):
    """Only what happens at 06:00 is wrong, whatever the lead."""
    rows = np.arange(len(data.segments.target_RC))
    target = np.where(data.segments.steps(rows) % 24 == 6, 5.0, 0.0)[:, None].astype(np.float32)

    class Zero(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return 0 * super().forecast_windows(segments, origins_M)

    found = _score(replace(data, segments=replace(data.segments, target_RC=target)), Zero()).by["hour"].rows("mae")
    assert found == [0.0] * 6 + [5.0] + [0.0] * 17


def test_hours_and_weekdays_are_what_is_left_of_the_hours_of_the_week(data, fake_policy):
    by = _score(data, fake_policy(quantiles=QUANTILES)).by
    total = by["horizon"].total().metrics()
    for name, groups in {"hour": 24, "weekday": 7, "weekday_hour": 168, "month": 12}.items():
        assert len(by[name].rows("mae")) == groups
        assert by[name].total().metrics() == pytest.approx(total, rel=1e-5, abs=1e-6), name
    week = by["weekday_hour"].sums["absolute"].reshape(7, 24)
    np.testing.assert_allclose(by["hour"].sums["absolute"][:, 0], week.sum(0))
    np.testing.assert_allclose(by["weekday"].sums["absolute"][:, 0], week.sum(1))


def test_steps_without_a_clock_have_no_calendar(make_data, fake_policy):
    assert _score(make_data(is_time=False), fake_policy()).by.keys() == {"horizon", "series"}


def test_windows_are_told_apart_by_level_and_volatility_where_strata_are_given(make_data, fake_policy):
    """A policy that is wrong only in series 1, whose level is doubled in its test part."""
    data = make_data(num_series=2, missing=0.0, noise=0.1, cut_first=False)
    target = data.segments.target_RC.copy()
    target[600 + 400 :] *= 2
    data = replace(data, segments=replace(data.segments, target_RC=target))
    window = data.window
    test_M = origins(data.segments, data.parts, "test", window)
    given = Yardstick(
        window,
        seasonal_scale(data.segments, data.parts, window.season),
        data.scaler.target_deviation,
        strata=strata_of(data.segments, data.parts, window),
    )
    found = score({"policy": fake_policy()}, data.segments, test_M, given)["policy"].by
    level = found["level"].sums["count"][:, 0]
    assert level.sum() == found["horizon"].sums["count"].sum()
    assert level[4] >= found["series"].sums["count"][1, 0], "all of series 1 lies high"


def test_a_constant_target_has_no_scaled_error_and_nothing_that_is_not_a_number(data, fake_policy):
    flat = replace(data, segments=replace(data.segments, target_RC=np.ones_like(data.segments.target_RC)))
    found = _score(flat, fake_policy(quantiles=QUANTILES)).total.metrics()
    assert {name for name, value in found.items() if value is None} == {"mase", "rmsse", "msis"}
    assert found["mae"] == 0


def test_huge_forecasts_are_scored_and_not_lost(data, fake_policy):
    """Their squares are beyond float32."""
    found = _score(data, fake_policy(bias=1e25)).total.metrics()
    assert found["rmse"] == pytest.approx(1e25, rel=1e-5)
    assert found["mae"] == pytest.approx(1e25, rel=1e-5)


def test_a_window_without_a_measured_step_is_marked_and_weighs_nothing(data, fake_policy):
    test_M = origins(data.segments, data.parts, "test", data.window)
    observed = data.segments.observed_RC.copy()
    observed[test_M[10] + 1 : test_M[10] + 13] = 0
    found = _score(replace(data, segments=replace(data.segments, observed_RC=observed)), fake_policy())
    assert np.isnan(found.scaled_M[10])
    assert found.absolute_M[10] == 0
    assert np.isnan(found.first_residual_MC[10]).all()


def test_a_forecast_that_is_not_finite_is_refused_by_name(data, fake_policy):
    class Broken(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            forecast = super().forecast_windows(segments, origins_M)
            forecast[3] = np.nan
            return forecast

    with pytest.raises(InputError, match=r"'policy' forecasts .* not finite in 1 windows.*series 's0' after 1970-01-2"):
        _score(data, Broken())


@pytest.mark.parametrize("batch", [1, 7])
def test_the_batch_size_does_not_change_what_a_window_is_read_as(batch):
    """Outliers are judged by steps before the history too; what is scored against is never cleaned."""
    config = made.make_config(preprocess__outliers="mask", preprocess__outlier_method="hampel")
    segments = made.segments_of((120,))
    target_RC = segments.target_RC.copy()
    target_RC[[70, 90]] = 500
    segments = replace(segments, target_RC=target_RC, observed_RC=np.ones_like(target_RC))
    policy = made.random_policy(config, segments)
    cleaning = Cleaning.of(config.preprocess, config.window)
    assert cleaning is not None
    policy.scaler = policy.scaler.model_copy(update={"cleaning": cleaning.model_copy(update={"steps": 24})})
    origins_M, before = np.arange(60, 100), lookback(policy.scaler)
    assert before > 0

    def scores(size):
        given = Yardstick(config.window, np.ones((1, 1)), policy.scaler.target_deviation, size, before)
        return score({"policy": policy}, segments, origins_M, given)["policy"]

    np.testing.assert_allclose(scores(batch).absolute_M, scores(1000).absolute_M, rtol=1e-4)
    assert scores(1000).absolute_M[90 - 60 - 1] > 400 / config.window.horizon


def test_a_yardstick_of_segments_gives_every_unit_and_one_without_squares_gives_no_rmsse(data, fake_policy):
    test_M = origins(data.segments, data.parts, "test", data.window)
    whole = Yardstick.of(data.segments, data.parts, data.window, data.scaler, 100)
    without = replace(whole, square_scale_NC=None)
    found, lacking = (
        score({"policy": fake_policy()}, data.segments, test_M, given)["policy"].total.metrics()
        for given in (whole, without)
    )
    assert found["rmsse"] is not None
    assert found["rmsse"] > 0
    assert lacking["rmsse"] is None
    assert lacking["mase"] == found["mase"]
