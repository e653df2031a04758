"""Spikes, injected and absent."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.outliers import outliers
from tests.explore.tables import daily_wave, hourly, noise, said


def looked_at(values, limit=4.0):
    return outliers(hourly({"y": values}), ["y"], 24, limit)


def test_a_spike_is_named_with_its_value_and_time():
    values = daily_wave(1000)
    values[500] = 40.0
    analysis = looked_at(values)
    text = said(analysis, "advice")
    assert "'y' has 1 spike over 12 robust deviations" in text
    assert "40 where its neighbours' median is" in text
    assert "at 2024-01-21 20:00 in 'a'" in text
    assert text.endswith("preprocess: {outliers: clip}")
    assert analysis.figures[0].traces[1]["y"] == [40]


def test_a_spike_that_clipping_cannot_reach_is_named_without_that_advice():
    values = np.concatenate([np.zeros(500), np.full(500, 100.0)]) + daily_wave(1000)
    values[250] = 60.0
    text = said(looked_at(values), "advice")
    assert "60 where its neighbours' median is" in text
    assert "clip" not in text


def test_a_spike_in_a_constant_is_found():
    values = np.full(300, 5.0)
    values[100] = 6.0
    assert "6 where its neighbours' median is 5" in said(looked_at(values), "advice")


def test_a_daily_curve_has_no_outliers():
    analysis = looked_at(daily_wave(1000))
    assert analysis.tables["outliers"][0]["outliers"] == 0
    assert analysis.findings == []
    assert analysis.figures == []


def test_what_happens_often_is_counted_but_called_no_spike():
    rain = np.zeros(2000)
    rain[np.random.default_rng(4).choice(2000, 100, replace=False)] = 3.0
    analysis = looked_at(rain)
    assert "y 100 (5.0 %)" in said(analysis, "info")
    assert said(analysis, "advice") == ""


def test_the_limit_is_the_one_asked_for():
    values = noise(2000, 6)
    found = [looked_at(values, limit).tables["outliers"][0]["outliers"] for limit in (1.0, 2.0, 4.0)]
    assert found[0] > found[1] > found[2]


def test_constant_missing_and_tiny_series_are_defined():
    for values in (np.ones(50), np.full(50, np.nan), np.array([1.0]), np.array([1.0, 2.0, np.nan])):
        assert looked_at(values).findings == []


def test_short_sequences_share_one_scale():
    calm = noise(24, 20)
    frame = hourly({"y": calm}, "0")
    for name in range(1, 20):
        frame = frame.vstack(hourly({"y": noise(24, name) * (0.01 if name == 9 else 1)}, str(name)))
    assert outliers(frame, ["y"], 24, 6.0).tables["outliers"][0]["outliers"] == 0
