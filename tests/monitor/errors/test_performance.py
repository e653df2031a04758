"""Errors beside what the validation part lets expect, and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.monitor.errors.performance import Performance
from lstm_ray.monitor.traffic import Answer, Rows
from lstm_ray.monitor.unusual import usual
from lstm_ray.monitor.watched import Watched
from lstm_ray.sections.operate import MonitorConfig
from tests import made

HOUR = made.HOUR


def told(mae: tuple[float, ...] = (1.0, 2.0, 3.0, 3.0, 5.0, 5.0, 5.0, 5.0), horizon: int = 8) -> dict[str, object]:
    """Validation errors that grow with the lead."""
    forecast = np.zeros((100, horizon, 1, 3)) + np.array([-2.0, 0.0, 2.0])
    actual = np.tile(np.array(mae)[:, None], (100, 1, 1)) * np.array([1, -1] * 50)[:, None, None]
    return usual.forecasts(forecast, actual, 1, ["load"], np.array([4.0]))


def judge(window: int = 50, **more: object) -> Performance:
    given = {"version": "v", "task": "forecast", "targets": ["load"], "columns": ["load"], "classes": [], "step": HOUR}
    given |= {"reference": {"forecasts": told()}, "validation": {"mae": 3.6}, "horizon": 8, "coverage": 0.8}
    return Performance(Watched(**(given | {"settings": MonitorConfig(window=window)} | more)))  # type: ignore[arg-type]


def answer(first: int = 0, name: str = "a", median: float = 0.0) -> Answer:
    values = np.full((8, 1), median)
    return Answer(name, first * HOUR, values, values - 2, values + 2)


def rows(first: int, *values: float, name: str = "a") -> Rows:
    return Rows(name, (first + np.arange(len(values), dtype=np.int64)) * HOUR, np.array(values)[:, None])


def test_leads_fall_into_groups_that_double() -> None:
    assert usual.lead_groups(24) == [(1, 3), (4, 6), (7, 12), (13, 24)]
    assert usual.lead_groups(8) == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert usual.lead_groups(1) == [(1, 1)]


def test_near_steps_are_held_against_near_errors() -> None:
    """A server that has run for an hour has scored first steps alone, which are always the most exact."""
    found = judge()
    for hour in range(30):
        found.remember(answer(hour))
        found.observe(rows(hour, 2.0))
    summary = found.summary()
    near = [one for one in summary["by_lead"] if one["last"] == 1]
    assert near[0]["mae"] == pytest.approx(2.0)
    assert near[0]["expected"] == pytest.approx(1.0)
    expected = np.mean([1.0] * 30 + [m for h in range(30) for m in [2, 3, 3, 5, 5, 5, 5][:h]])
    assert summary["ratio"] == pytest.approx(2.0 / expected)
    assert summary["mase"] == pytest.approx(0.5)


def test_coverage_is_the_share_inside_the_outermost_quantiles() -> None:
    found = judge()
    found.remember(answer())
    found.observe(rows(0, 0.0, 1.0, -2.0, 2.5))
    summary = found.summary()
    assert summary["coverage"] == pytest.approx(0.75)
    assert summary["nominal_coverage"] == 0.8
    assert summary["by_target"][0]["coverage"] == pytest.approx(0.75)


def test_the_rolling_error_forgets_what_is_old() -> None:
    found = judge(horizon=1)
    for hour in range(120):
        found.remember(answer(hour))
        found.observe(rows(hour, 9.0 if hour < 60 else 1.0))
    summary = found.summary()
    assert summary["rolling_over"] == 50
    assert summary["rolling"] == pytest.approx(1.0)


def test_a_step_told_twice_in_one_body_is_scored_once() -> None:
    found = judge()
    found.remember(answer())
    twice = Rows("a", np.array([0, 0]), np.array([[1.0], [7.0]]))
    scored = found.observe(twice)
    assert scored is not None
    assert scored.error_N.tolist() == [1.0]


def test_a_forgotten_series_leaves_nothing_behind() -> None:
    found = judge()
    for name in ("a", "b"):
        found.remember(answer(name=name))
        found.observe(rows(0, 1.0, name=name))
    assert found.summary()["waiting"] == 16
    found.forget("a")
    assert found.summary()["waiting"] == 8
