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


def test_a_bias_is_found_with_its_size_and_sign(make_data, fake_policy):
    data = make_data(steps=2200)
    finding = _one(_view(data, fake_policy(bias=2.0)), "on average")
    assert finding.severity == "advice"
    assert "too high" in finding.text
    assert float(finding.text.split()[2]) == pytest.approx(2.0, abs=0.1)
    assert _one(_view(data, fake_policy()), "on average").severity == "info"


def test_a_bias_that_chance_may_have_made_or_that_too_little_tells_comes_without_advice(make_data, fake_policy):
    few = _one(_view(make_data(), fake_policy(bias=2.0)), "on average")
    assert "too short to say how sure that is" in few.text
    assert (few.severity, few.advice) == ("info", "")

    class Wandering(fake_policy):
        """Far too high in one stretch of many."""

        def forecast_windows(self, segments, origins_M, batch=512):
            forecast = super().forecast_windows(segments, origins_M)
            step_M = segments.steps(origins_M)
            return forecast + np.float32(9) * ((step_M > 1900) & (step_M < 1960))[:, None, None, None]

    found = _one(_view(make_data(steps=2200), Wandering()), "on average")
    assert "Leaving out stretches of time says that this may be chance." in found.text
    assert found.severity == "info"


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


def test_hours_that_differ_by_chance_alone_or_in_too_few_days_get_no_advice(make_data, fake_policy):
    for steps, said in (
        (2000, "Hours differ no more than by chance"),
        (450, "Days are too few to tell hours from chance"),
    ):
        view = _view(make_data(num_series=1, steps=steps, cut_first=False, noise=1.0), fake_policy())
        mae = view.mae("policy", "hour")
        assert np.nanmax(mae) > patterns.UNEVEN_HOURS * np.nanmin(mae)
        finding = _one(view, "By hour")
        assert said in finding.text
        assert finding.severity == "info"


def test_hours_without_any_error_get_no_advice(data, fake_policy):
    data.segments.target_RC[:] = 7.0
    texts = [finding.text for finding in patterns.findings(_view(data, fake_policy()))]
    assert not any("By hour" in text or "too low" in text for text in texts)


def test_the_hour_with_the_largest_error_is_named(make_data, fake_policy):
    data = make_data(steps=1500)
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


def test_several_targets_are_pooled_in_deviations(make_data, fake_policy):
    one, two = _view(make_data(), fake_policy()), _view(make_data(channels=2), fake_policy())
    assert one.unit == "target0"
    assert two.unit == "training deviations"
    scaled = two.scores["policy"].total.scaled(two.deviation_C)["mae"]
    assert two.sums("policy", "horizon").metrics()["mae"] == pytest.approx(scaled)


def test_a_policy_without_error_makes_no_sentence_stumble(make_data, fake_policy):
    data = make_data(noise=0.0, missing=0.0)
    assert patterns.findings(_view(data, fake_policy()))
