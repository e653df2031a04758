"""Damage is done as serving would see it, to the inputs alone, and the same at every call."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.data.quality.impute import Filling, forward_fill
from lstm_ray.data.windows import origins, sequences
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.forecasts.baselines import LastValue, SeasonalNaive
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.gather import cut_out
from lstm_ray.sections.evaluate import EvaluateConfig

SETTINGS = EvaluateConfig(missing=[0.5, 0.1], noise=[0.2, 2.0], robustness_windows=64)


def _curves(data, models, settings=SETTINGS, seed=7):
    test_M = origins(data.segments, data.parts, "test", data.window)
    return robustness.forecast_curves(models, data.segments, test_M, data.window, data.scaler, settings, seed)


def test_removed_steps_are_filled_as_serving_fills_them_and_marked_unobserved(make_data):
    data = make_data(channels=2)
    cut, _ = cut_out(data.segments, np.array([100, 200, 210]), 48, 12)
    removed = np.random.default_rng(0).random(len(cut.target_RC)) < 0.4
    removed[60] = True  # the first step of the second window, with nothing before it
    damaged = robustness.remove_steps(cut, removed, data.scaler)
    holes = np.where(removed[:, None], np.nan, cut.target_RC)
    for first, end in zip(cut.bounds[:-1], cut.bounds[1:], strict=True):
        filled = forward_fill(holes[first:end])
        expected = np.where(np.isnan(filled), data.scaler.target_mean, filled)
        np.testing.assert_allclose(damaged.target_RC[first:end], expected, rtol=1e-6)
    np.testing.assert_array_equal(damaged.observed_RC[removed], 0)
    np.testing.assert_array_equal(damaged.observed_RC[~removed], cut.observed_RC[~removed])
    np.testing.assert_allclose(damaged.past_RP[60], data.scaler.past.mean)
    np.testing.assert_array_equal(damaged.past_RP[~removed], cut.past_RP[~removed])


def test_removed_steps_are_filled_by_the_rule_and_never_from_what_follows_the_history(data):
    test_M = origins(data.segments, data.parts, "test", data.window)[:3]
    cut, origin_M = cut_out(data.segments, test_M, data.window.history, data.window.horizon)
    removed = np.zeros(len(cut.target_RC), dtype=bool)
    removed[[*origin_M, *(origin_M - 2)]] = True
    line = Filling(how="linear", causal=False)
    stops = np.union1d(cut.bounds, origin_M + 1)
    damaged = robustness.remove_steps(cut, removed, data.scaler, line, stops)
    between = (cut.target_RC[origin_M - 3] + cut.target_RC[origin_M - 1]) / 2
    np.testing.assert_allclose(damaged.target_RC[origin_M - 2], between, rtol=1e-5)
    np.testing.assert_array_equal(damaged.target_RC[origin_M], cut.target_RC[origin_M - 1])


def test_a_history_is_filled_before_anybody_knows_what_follows(data):
    class Spy:
        quantiles = (0.5,)

        def __init__(self):
            self.seen = []

        def forecast_windows(self, segments, origins_M, batch=512):
            self.seen.append(segments.target_RC[origins_M])
            return np.zeros((len(origins_M), data.window.horizon, data.segments.target_RC.shape[1], 1))

    test_M = origins(data.segments, data.parts, "test", data.window)
    found = {}
    for how in (Filling(), Filling(how="linear", causal=False)):
        settings, spy = SETTINGS.model_copy(update={"noise": []}), Spy()
        robustness.forecast_curves(
            {"s": spy}, data.segments, test_M, data.window, data.scaler, settings, 7, filling=how
        )
        found[how.how] = spy.seen[-1]
    np.testing.assert_array_equal(found["linear"], found["forward"], "an origin's step has nothing after it")


def test_noise_is_measured_in_training_deviations(data):
    noise = np.random.default_rng(0).standard_normal((len(data.segments.target_RC), 3))
    damaged = robustness.add_noise(data.segments, 0.5 * noise, data.scaler)
    added = damaged.target_RC - data.segments.target_RC
    assert added.std() == pytest.approx(0.5 * data.scaler.target_deviation[0], rel=0.1)
    np.testing.assert_allclose((damaged.past_RP - data.segments.past_RP), 0.5 * noise[:, 1:], atol=1e-5)


def test_undamaged_is_the_plain_score_of_the_same_windows(data):
    naive = SeasonalNaive(data.window.horizon, data.window.season)
    test_M = origins(data.segments, data.parts, "test", data.window)
    everything = SETTINGS.model_copy(update={"robustness_windows": len(test_M)})
    curves = _curves(data, {"n": naive}, everything)
    scale, deviation = seasonal_scale(data.segments, data.parts, 24), data.scaler.target_deviation
    plain = score({"n": naive}, data.segments, test_M, Yardstick(data.window, scale, deviation))["n"]
    for curve in curves:
        assert curve.severity[0] == 0
        assert curve.score["n"][0] == pytest.approx(plain.total.scaled(deviation)["mae"])


def test_errors_grow_with_severity_and_severities_are_put_in_order(data):
    missing, noise = _curves(data, {"n": SeasonalNaive(data.window.horizon, data.window.season)})
    assert (missing.kind, missing.severity) == ("missing", [0.0, 0.1, 0.5])
    assert (noise.kind, noise.severity) == ("noise", [0.0, 0.2, 2.0])
    for curve in (missing, noise):
        assert curve.score["n"] == sorted(curve.score["n"])
        assert curve.change("n")[-1] > 0.2


def test_the_same_seed_does_the_same_damage(data):
    models = {"n": LastValue(data.window.horizon)}
    assert _curves(data, models) == _curves(data, models)
    assert _curves(data, models) != _curves(data, models, seed=8)


def test_a_forecaster_that_never_reads_the_history_does_not_suffer(data, fake_policy):
    """What is forecast, the truth, must stay undamaged."""

    class Constant(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return 0 * super().forecast_windows(segments, origins_M) + 10

    for curve in _curves(data, {"c": Constant()}):
        assert len(set(curve.score["c"])) == 1


def test_the_horizon_is_never_damaged(data, fake_policy):
    given = []

    class Recorder(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            given.append((segments, origins_M))
            return super().forecast_windows(segments, origins_M)

    _curves(data, {"policy": Recorder()})
    whole, origin_M = given[0]
    future = origin_M[:, None] + np.arange(1, data.window.horizon + 1)
    for damaged, _ in given[1:]:
        assert (damaged.target_RC != whole.target_RC).any()
        for name in ("target_RC", "observed_RC", "past_RP"):
            np.testing.assert_array_equal(getattr(damaged, name)[future], getattr(whole, name)[future])


def test_the_measurements_are_as_many_as_announced(data):
    calls = []
    test_M = origins(data.segments, data.parts, "test", data.window)
    models = {"n": LastValue(data.window.horizon)}
    arguments = (data.segments, test_M, data.window, data.scaler, SETTINGS, 7)
    robustness.forecast_curves(models, *arguments, calls.append)
    assert len(calls) == robustness.num_measurements(SETTINGS)


def test_a_classifier_loses_by_noise_on_what_it_reads(sequences_data, fake_classifier):
    data = sequences_data
    ids = sequences(data.segments, data.parts, "test")
    models = {"policy": fake_classifier()}
    missing, noise = robustness.class_curves(models, data.segments, ids, data.window, data.scaler, SETTINGS, 7)
    assert noise.metric == "macro_f1"
    assert noise.score["policy"][-1] < noise.score["policy"][0]
    assert len(missing.score["policy"]) == 3


def test_findings_name_damage_and_numbers_and_advise_where_the_policy_falls_behind(data, fake_policy):
    naive = SeasonalNaive(data.window.horizon, data.window.season)
    good = robustness.findings(_curves(data, {"policy": fake_policy(), "seasonal_naive": naive}), "policy")
    assert len(good) == 2
    assert "10 % of the inputs' steps missing" in good[0].text
    assert "0.2 training deviations" in good[1].text
    assert {finding.severity for finding in good} == {"info"}
    bad = robustness.findings(_curves(data, {"policy": fake_policy(bias=30.0), "seasonal_naive": naive}), "policy")
    assert {finding.severity for finding in bad} == {"advice"}
    assert all("falls behind" in finding.advice for finding in bad)
