"""What a policy tells of its training and validation part, as live answers are held against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.monitor.drift import predicted, reference
from lstm_ray.monitor.drift.fresh import Fresh
from lstm_ray.monitor.traffic import Answer
from tests import made


def test_forecasts_a_horizon_apart_tell_each_step_once_by_series_and_by_time() -> None:
    segments = made.segments_of((240, 200))
    policy = made.random_policy(made.make_config(), segments)
    by_series, by_time = predicted.values(policy, segments, made.PARTS)
    window = policy.config.window
    rows = np.concatenate([origins(segments, made.PARTS, part, window) for part in ("train", "validation")])
    rows = np.sort(rows[segments.steps(rows) % window.horizon == 0])
    expected = policy.forecast_windows(segments, rows)[..., policy.quantiles.index(0.5)]
    np.testing.assert_array_equal(by_series, expected.reshape(-1, 1))
    np.testing.assert_array_equal(np.sort(by_time, axis=0), np.sort(by_series, axis=0))
    first = by_time[: 2 * window.horizon].reshape(2, -1)
    np.testing.assert_array_equal(first[0], by_series[: window.horizon, 0])


def test_answers_to_every_step_and_to_every_horizon_count_as_many_values_of_every_lead() -> None:
    horizon, number = 4, 400
    leads = np.arange(horizon, dtype=float)[:, None]
    for every in (1, 3, 4, 9):
        fresh = Fresh(step=10)
        counted = np.concatenate([fresh.of(Answer("a", 10 * origin, leads)) for origin in range(0, number, every)])
        share = np.bincount(counted[:, 0].astype(int), minlength=horizon) / len(counted)
        np.testing.assert_allclose(share, 1 / horizon, atol=0.01)
        assert len(counted) <= number + horizon


def test_an_answer_that_is_asked_for_again_counts_once_and_classes_count_each() -> None:
    fresh, answer = Fresh(step=10), Answer("a", 100, np.zeros((4, 1)))
    assert [len(fresh.of(answer)), len(fresh.of(answer))] == [4, 0]
    assert len(fresh.of(Answer("b", 100, np.zeros((4, 1))))) == 4
    assert len(fresh.of(Answer("a", 90, np.zeros((4, 1))))) == 0
    classes = Fresh(step=0)
    assert [len(classes.of(Answer("a", 0, np.ones((1, 1))))) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("task", ["label", "classify"])
def test_other_tasks_have_a_reference_of_their_answers_too(task: str, tmp_path: Path) -> None:
    if task == "label":
        segments, config = made.labelled_of((240, 200)), made.label_config(monitor__window=50)
        bounds = made.PARTS
    else:
        segments, config = made.sequences_of([12] * 400), made.classify_config(monitor__window=50)
        bounds = {"train": (0, 24 * 300), "validation": (24 * 300, 24 * 350), "test": (24 * 350, 24 * 400)}
    policy = made.random_policy(config, segments)
    found = reference.of(policy, segments, bounds, config.monitor, {})
    (name,) = found["predictions"]
    assert name == (segments.schema.label or "class")
    assert set(found["columns"]) == {"load"}
    assert found["predictions"][name]["limits"]["ks"] > 0
