"""Drift, injected and absent."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.analysis import axis_of
from lstm_ray.explore.distribution import distribution, psi
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said


def looked_at(frame, judged=("y",)):
    columns = [c for c in frame.columns if c not in ("series", "time")]
    return distribution(with_parts(frame, SplitConfig(), HOUR, axis_of(frame)), columns, list(judged))


def test_a_shift_in_the_test_part_is_warned_of_with_its_size():
    values = noise(2000, 1)
    values[1700:] += 3
    analysis = looked_at(hourly({"y": values}))
    text = said(analysis, "warning")
    assert "in training to 3.11 in test" in text
    row = next(row for row in analysis.tables["drift"] if row["part"] == "test")
    assert row["ks"] > 0.8
    assert row["wasserstein_deviations"] == pytest.approx(3, abs=0.25)
    assert row["psi"] > 1
    assert [figure.id for figure in analysis.figures] == ["drift", "drift-columns"]


def test_wandering_that_training_shows_as_well_is_no_alarm():
    slow = 3 * np.sin(2 * np.pi * np.arange(4000) / 1300) + 0.3 * noise(4000, 11)
    analysis = looked_at(hourly({"y": slow}))
    row = max(analysis.tables["drift"], key=lambda row: row["psi"])
    assert row["psi"] > 0.25
    assert row["usual_psi"] > row["psi"]
    assert said(analysis, "warning") == ""
    assert "no more than inside the training part" in said(analysis, "info")


def test_a_drift_says_what_would_carry_it_over_where_nothing_does():
    values = noise(2000, 12)
    values[1700:] += 3
    frame = with_parts(hourly({"y": values}), SplitConfig(), HOUR, axis_of(hourly({"y": values})))
    text = said(distribution(frame, ["y"], ["y"], "none"), "warning")
    assert "Stretches of training that long move by 0." in text
    assert text.endswith("model: {normalisation: last}")


def test_the_same_distribution_is_said_to_stay():
    analysis = looked_at(hourly({"y": noise(3000, 2)}))
    assert "keeps its distribution over time" in said(analysis, "info")
    assert said(analysis, "warning") == ""


def test_an_input_that_drifts_is_named_without_alarm():
    drifting = noise(2000, 3) + np.linspace(0, 5, 2000)
    analysis = looked_at(hourly({"y": noise(2000, 4), "x": drifting}))
    assert "Inputs that drift away" in said(analysis, "info")
    assert said(analysis, "warning") == ""


def test_series_that_end_early_are_no_drift():
    high = hourly({"y": 1000 + noise(1450, 5)}, "high, ends in validation")
    low = hourly({"y": noise(2000, 6)}, "low")
    worst = max(row["psi"] for row in looked_at(high.vstack(low)).tables["drift"])
    assert worst < 0.1


def test_a_constant_column_does_not_drift_until_it_changes():
    assert max(row["psi"] for row in looked_at(hourly({"y": np.ones(500)})).tables["drift"]) < 0.05
    changed = np.where(np.arange(500) < 430, 1.0, 2.0)
    assert max(row["psi"] for row in looked_at(hourly({"y": changed})).tables["drift"]) > 0.25


def test_a_column_without_values_is_left_out():
    analysis = looked_at(hourly({"y": daily_wave(500), "x": np.full(500, np.nan)}))
    assert {row["column"] for row in analysis.tables["drift"]} == {"y"}
    assert [row["column"] for row in analysis.tables["distribution"]] == ["y"]


def test_psi_is_nothing_for_equals_and_grows_with_a_shift():
    values = noise(5000, 7)
    assert psi(values, values) == 0
    assert psi(values, values + 1) > 0.5


def test_skew_is_measured_within_series_not_between_them():
    small, large = hourly({"y": noise(500, 8)}, "small"), hourly({"y": 1e5 + noise(100, 9)}, "large")
    assert abs(looked_at(small.vstack(large)).tables["distribution"][0]["skewness"]) < 0.5
    skewed = looked_at(hourly({"y": np.exp(2 * noise(2000, 10))}))
    assert "preprocess: {outliers: clip}" in said(skewed, "advice")


def test_parts_follow_the_split_and_whole_sequences_stay_whole():
    frame = hourly({"y": np.zeros(100)})
    parts = with_parts(frame, SplitConfig(train=60, validation=20, gap_steps=5), HOUR, axis_of(frame))["part"]
    assert [parts[i] for i in (59, 60, 64, 65, 84, 89, 90)] == [
        "train",
        None,
        None,
        "validation",
        "validation",
        None,
        "test",
    ]
    assert with_parts(frame, SplitConfig(), HOUR, axis_of(frame), whole_sequences=True)["part"].unique().to_list() == [
        "train"
    ]


def test_a_sample_is_split_like_the_whole_table():
    whole = hourly({"y": np.zeros(100)})
    parts = with_parts(whole.head(80), SplitConfig(), HOUR, axis_of(whole))["part"]
    assert parts.value_counts().sort("part").rows() == [("train", 70), ("validation", 10)]
