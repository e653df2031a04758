"""Error patterns that are there are found, and said with their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts import patterns
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.forecasts.view import View


def _view(data, policy) -> View:
    test_M = origins(data.segments, data.parts, "test", data.window)
    naive = SeasonalNaive(data.window.horizon, data.window.season)
    scale = seasonal_scale(data.segments, data.parts, data.window.season)
    models = {"policy": policy, "seasonal_naive": naive}
    scores = score(models, data.segments, test_M, Yardstick(data.window, scale, data.scaler.target_deviation))
    deviation = data.scaler.target_deviation
    return View(scores, "policy", "seasonal_naive", data.segments, test_M, data.window, deviation, "mean")


def _one(view: View, words: str):
    (finding,) = [finding for finding in patterns.findings(view) if words in finding.text]
    return finding


def test_a_bias_is_found_with_its_size_and_sign(data, fake_policy):
    finding = _one(_view(data, fake_policy(bias=2.0)), "on average")
    assert finding.severity == "advice"
    assert "too high" in finding.text
    assert float(finding.text.split()[2]) == pytest.approx(2.0, abs=0.1)
    assert _one(_view(data, fake_policy()), "on average").severity == "info"


def test_the_steps_that_a_baseline_wins_are_named(data, fake_policy):
    class LateError(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            forecast = super().forecast_windows(segments, origins_M)
            forecast[:, 4:6] += 5
            forecast[:, 9] += 5
            return forecast

    data.segments.target_RC[:] -= np.linspace(0, 300, len(data.segments.target_RC), dtype=np.float32)[:, None]
    drift = float(np.diff(data.segments.target_RC[:, 0]).mean()) * 24
    finding = _one(_view(data, LateError(bias=drift)), "at step 1 to")
    assert "at 9 of 12 steps" in finding.text
    assert "no worse at steps 5 to 6, 10:" in finding.advice
    finding = _one(_view(data, fake_policy()), "at step 1 to")
    assert "at 0 of 12 steps" in finding.text
    assert not finding.advice, "that it loses is said once, elsewhere"


def test_the_hour_with_the_largest_error_is_named(data, fake_policy):
    rows = np.arange(len(data.segments.target_RC))
    target = data.segments.target_RC.copy()
    wild = data.segments.steps(rows) % 24 == 5
    target[wild] += 20 * np.random.default_rng(0).standard_normal((wild.sum(), 1))
    finding = _one(_view(replace(data, segments=replace(data.segments, target_RC=target)), fake_policy()), "By hour")
    assert "largest at 05:00" in finding.text
    assert finding.severity == "advice"


def test_series_are_ranked_and_many_are_shown_from_either_end(make_data, fake_policy):
    few = _view(make_data(), fake_policy())
    names, kept, whole = patterns.ranked_series(few)
    mae = few.mae("policy", "series")
    assert whole
    assert names == [f"s{index}" for index in np.argsort(mae)]
    assert (np.diff(mae[kept]) >= 0).all()
    many = _view(make_data(num_series=60, steps=300, cut_first=False), fake_policy())
    names, kept, whole = patterns.ranked_series(many)
    assert not whole
    assert len(names) == len(set(names)) == 2 * patterns.SHOWN_SERIES
    mae = many.mae("policy", "series")
    assert mae[kept[0]] == mae.min()
    assert mae[kept[-1]] == mae.max()


def test_residual_correlation_is_that_of_the_one_step_errors(make_data, fake_policy):
    data = make_data(num_series=1, steps=6000, missing=0.05, cut_first=False)
    rng = np.random.default_rng(0)
    wander = np.zeros(6000)
    for t in range(1, 6000):
        wander[t] = 0.8 * wander[t - 1] + rng.standard_normal()

    class Flat(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return 0 * super().forecast_windows(segments, origins_M)

    data = replace(data, segments=replace(data.segments, target_RC=wander[:, None].astype(np.float32)))
    view = _view(data, Flat())
    assert patterns.correlation(view, 1) == pytest.approx(0.8, abs=0.06)
    assert patterns.correlation(view, 24) == pytest.approx(0.0, abs=0.15)
    assert patterns.correlation(view, 100_000) is None
    finding = _one(view, "one step apart and")
    assert finding.severity == "advice"
    assert f"{patterns.correlation(view, 1):.2f} one step apart" in finding.text
    assert "model.normalisation" in finding.advice
    assert "window.history" not in finding.advice, "the season is no matter here"


def test_correlation_never_pairs_residuals_of_two_series(data, fake_policy):
    view = _view(data, fake_policy())
    lag = int(data.segments.bounds[3] - data.segments.bounds[2])
    assert np.isin(view.origins_M - lag, view.origins_M).sum() > patterns.MIN_PAIRS
    assert patterns.correlation(view, lag) is None


def test_the_worst_windows_are_found_and_do_not_overlap(data, fake_policy):
    target = data.segments.target_RC.copy()
    test_M = origins(data.segments, data.parts, "test", data.window)
    target[test_M[200] + 1 : test_M[200] + 13] += 200
    view = _view(replace(data, segments=replace(data.segments, target_RC=target)), fake_policy())
    worst = patterns.worst_windows(view, 4)
    assert worst[0] == 200
    assert min(abs(np.diff(np.sort(test_M[worst])))) >= data.window.horizon
    finding = _one(view, "The worst window is")
    assert view.label(200) in finding.text
    assert finding.severity == "advice"


def test_intervals_that_do_not_hold_what_they_should_are_a_warning(data, fake_policy):
    narrow = _one(_view(data, fake_policy(quantiles=[0.1, 0.5, 0.9], spread=0.1)), "Intervals")
    assert narrow.severity == "warning"
    assert "meant to hold 80 %" in narrow.text
    assert "too narrow" in narrow.advice
    wide = _one(_view(data, fake_policy(quantiles=[0.1, 0.5, 0.9], spread=50)), "Intervals")
    assert "hold 100 %" in wide.text
    assert "too wide" in wide.advice


def test_a_point_forecast_says_nothing_of_intervals(data, fake_policy):
    assert not [f for f in patterns.findings(_view(data, fake_policy())) if "Intervals" in f.text]


def test_several_targets_are_pooled_in_deviations(make_data, fake_policy):
    one, two = _view(make_data(), fake_policy()), _view(make_data(channels=2), fake_policy())
    assert one.unit == "target0"
    assert two.unit == "training deviations"
    scaled = two.scores["policy"].total.scaled(two.deviation_C)["mae"]
    assert two.sums("policy", "horizon").metrics()["mae"] == pytest.approx(scaled)


def test_a_policy_without_error_makes_no_sentence_stumble(make_data, fake_policy):
    data = make_data(noise=0.0, missing=0.0)
    assert patterns.findings(_view(data, fake_policy()))
