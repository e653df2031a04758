"""Biases that were planted are named, and noise is not accused."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.evaluate.residuals import bias
from lstm_ray.evaluate.residuals.sample import sampled


def _told(seen, data, policy):
    view, models = seen(data, policy)
    return bias.told(view, sampled(view, models))


def test_an_hour_that_is_forecast_too_low_is_named_with_its_size(make_data, seen, erring, noise):
    data = make_data(num_series=2, steps=3000, cut_first=False)

    def error(segments, rows):
        return noise(segments, rows) - 1.5 * (segments.steps(rows) % 24 == 6)[..., None]

    told = _told(seen, data, erring(error))
    [finding] = told.findings
    assert finding.severity == "advice"
    assert "too low at 06:00" in finding.text
    assert "weekday" not in finding.text.split("Forecasts")[1]
    assert "preprocess.calendar" in finding.advice
    hour = told.details["bias_by"]["hour"]["06"]
    assert hour["bias"] == pytest.approx(-1.5, abs=0.25)
    assert 0 < hour["reach"] < 0.5


def _nothing(segments, rows):
    return np.zeros((*rows.shape, 1))


def test_noise_has_no_bias_by_anything(make_data, seen, erring):
    data = make_data(num_series=2, steps=3000, cut_first=False)
    [finding] = _told(seen, data, erring(_nothing, knows_noise=False)).findings
    assert finding.severity == "info"
    assert finding.text.startswith("No bias by hour, weekday")


def test_a_bias_that_is_the_same_everywhere_is_not_told_as_one_of_the_calendar(make_data, seen, erring):
    data = make_data(num_series=2, steps=3000, cut_first=False)
    policy = erring(lambda segments, rows: _nothing(segments, rows) + 3, knows_noise=False)
    [finding] = _told(seen, data, policy).findings
    assert finding.text.startswith("No bias by")


def test_forecasts_that_are_too_extreme_are_found_by_their_level(make_data, seen, erring, noise):
    data = make_data(num_series=1, steps=3000, cut_first=False)

    def error(segments, rows):
        return 0.1 * noise(segments, rows) + 0.4 * (segments.target_RC[rows] - 10)

    [finding] = _told(seen, data, erring(error)).findings
    assert "tenth of forecasts" in finding.text


def test_intervals_of_an_hour_hold_the_true_bias_about_as_often_as_they_say(make_data, seen, erring):
    data = make_data(num_series=1, steps=3000, cut_first=False)
    inside = []
    for seed in range(8):
        table = np.random.default_rng(seed).standard_normal(4000)

        def error(segments, rows, table=table):
            return table[segments.steps(rows)][..., None]

        hours = _told(seen, data, erring(error)).details["bias_by"]["hour"].values()
        inside += [abs(hour["bias"]) <= hour["reach"] for hour in hours]
    assert 0.9 <= np.mean(inside) <= 0.99


def test_a_short_test_part_accuses_nothing(make_data, seen, erring, noise):
    told = _told(seen, make_data(num_series=1, steps=300, cut_first=False), erring(noise))
    assert not told.findings
    assert told.details["bias_by"]["hour"]["06"]["reach"] is None


def test_a_policy_without_error_has_no_bias(make_data, seen, erring):
    data = make_data(num_series=2, steps=2000, cut_first=False)
    told = _told(seen, data, erring(_nothing))
    assert all("No bias" in finding.text for finding in told.findings)


def test_several_targets_without_time_are_told_by_level_alone(make_data, seen, erring):
    data = make_data(num_series=2, steps=2000, channels=2, is_time=False, cut_first=False)
    told = _told(seen, data, erring(lambda segments, rows: np.ones((*rows.shape, 2))))
    assert set(told.details["bias_by"]) == {"level"}
