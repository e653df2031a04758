"""The running account of a served policy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lstm_ray.monitor import live
from lstm_ray.monitor.drift import count, reference
from lstm_ray.monitor.live import Monitor, Watched
from lstm_ray.monitor.traffic import Answer, Rows, Tally
from tests import made

HOUR = made.HOUR


def watched(**values: Any) -> Watched:
    given = {"version": "v1", "task": "forecast", "targets": ["load"], "classes": [], "step": HOUR}
    return Watched(**(given | {"columns": ["load"], "reference": {}, "validation": {"mae": 1.0}} | values))


class Clock:
    """Seconds that stand still until they are moved."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def answers(*found: Answer) -> Tally:
    return Tally(answers=list(found))


def forecast(name: str = "a", first: int = 0, values: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Answer:
    return Answer(name, first * HOUR, np.array(values)[:, None])


def ticks(*hours: int) -> np.ndarray:
    return np.array(hours, dtype=np.int64) * HOUR


def actual(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def test_requests_of_several_replicas_are_counted_by_route_and_kind() -> None:
    clock = Clock()
    monitor = Monitor(watched(), clock)
    for status in (200, 200, 422, 500):
        tally = Tally()
        tally.add_request("/v1/forecast", status, 0.01 if status == 200 else None)
        monitor.merge(tally)
    clock.seconds += 2
    found = monitor.summary()
    assert found["requests"]["total"] == 4
    assert (found["requests"]["refused"], found["requests"]["errors"]) == (1, 1)
    assert found["requests"]["per_second_last_minute"] == 2
    assert found["latency_ms"]["p50"] == pytest.approx(10, rel=0.13)
    clock.seconds += 100
    assert monitor.summary()["requests"]["per_second_last_minute"] == 0


def test_a_summary_is_plain_json_also_before_anything_happened() -> None:
    found = Monitor(watched()).summary()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["performance"]["state"] == "no truth has arrived yet"
    assert "no reference" in found["inputs"]["state"]


def test_the_truth_is_held_against_the_forecast_of_its_time() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast(first=10)))
    assert monitor.observe(Rows("a", ticks(11, 12), actual(2.5, 7.0))) == 2
    found = monitor.summary()["performance"]
    assert found["rolling"] == pytest.approx((0.5 + 4.0) / 2)
    assert found["validation"] == 1.0
    assert found["rolling_by_target"] == {"load": pytest.approx(2.25)}


def test_a_value_is_scored_once_and_each_forecast_of_its_time_is() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast(first=0), forecast(first=1)))
    assert monitor.observe(Rows("a", ticks(1), actual(2.0))) == 2, "two forecasts cover hour 1"
    assert monitor.observe(Rows("a", ticks(1), actual(2.0))) == 0


@pytest.mark.parametrize(
    ("name", "hours", "values"),
    [
        ("b", (0, 1), (1.0, 1.0)),
        ("a", (3, 9), (1.0, 1.0)),
        ("a", (-1, -2), (1.0, 1.0)),
        ("a", (0, 1), (np.nan, np.nan)),
    ],
)
def test_other_series_other_times_and_missing_values_are_not_scored(
    name: str, hours: tuple[int, ...], values: tuple[float, ...]
) -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast()))
    assert monitor.observe(Rows(name, ticks(*hours), actual(*values))) == 0


def test_times_between_the_steps_are_not_scored() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast()))
    assert monitor.observe(Rows("a", ticks(1) + HOUR // 2, actual(2.0))) == 0


@pytest.mark.parametrize(("error", "words"), [(0.9, "as good as"), (1.6, "worse than"), (5.0, "much worse than")])
def test_the_live_error_is_told_beside_that_of_validation(error: float, words: str) -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(Answer("a", 0, np.zeros((30, 1)))))
    monitor.observe(Rows("a", ticks(*range(30)), np.full((30, 1), error)))
    found = monitor.summary()["performance"]
    assert found["state"].startswith(words)
    assert found["ratio"] == pytest.approx(error)


def test_a_class_is_right_or_wrong_and_compared_by_its_shortfall() -> None:
    given = {"task": "classify", "targets": [], "classes": ["x", "y"], "validation": {"accuracy": 0.9}}
    monitor = Monitor(watched(**given))
    monitor.merge(answers(*(Answer(str(i), 0, np.array([[float(i % 2)]])) for i in range(40))))
    for i in range(40):
        monitor.observe(Rows(str(i), np.zeros(1, np.int64), np.array([[1.0 if i < 8 else float(i % 2)]])))
    found = monitor.summary()["performance"]
    assert found["metric"] == "accuracy"
    assert found["rolling"] == pytest.approx(0.9)
    assert found["ratio"] == pytest.approx(1.0)


def test_answers_that_wait_for_their_truth_are_bounded_and_forgotten_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "MAX_WAITING_VALUES", 30)
    monitor = Monitor(watched())
    for index in range(100):
        monitor.merge(answers(forecast(name=f"s{index}")))
    assert monitor.summary()["performance"]["waiting"] == 30
    assert monitor.observe(Rows("s89", ticks(0), actual(1.0))) == 0
    assert monitor.observe(Rows("s90", ticks(0), actual(1.0))) == 1


def test_an_answer_whose_truth_has_all_arrived_waits_no_longer() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast()))
    monitor.observe(Rows("a", ticks(0, 1, 2), actual(1.0, 2.0, 3.0)))
    assert monitor.summary()["performance"]["waiting"] == 0


def test_drift_is_told_of_the_worst_column() -> None:
    segments = made.segments_of((2_000,))
    given = reference(segments, {"train": (0, 1_500), "validation": (1_500, 1_700), "test": (1_700, 2_000)})
    monitor = Monitor(watched(reference=given))
    columns = {"load": segments.target_RC[:1_000, 0], "wind": segments.past_RP[:1_000, 0] + 50}
    monitor.merge(Tally(inputs=count([columns], given, 1_000), num_series=6, warned_series=2))
    found = monitor.summary()["inputs"]
    assert found["state"].startswith("shifted: 1 of 2 columns, most 'wind'")
    assert (found["series"], found["series_with_warnings"]) == (6, 2)
