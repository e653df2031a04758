"""The running account of a served policy."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.monitor import live
from lstm_ray.monitor.drift.drift import count, reference
from lstm_ray.monitor.errors import performance
from lstm_ray.monitor.live import Monitor, Watched
from lstm_ray.monitor.traffic import Answer, Load, Rows, Tally
from lstm_ray.monitor.unusual import usual
from lstm_ray.sections.operate import MonitorConfig
from tests import made
from tests.monitor import labelled

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
    monkeypatch.setattr(performance, "MAX_WAITING_VALUES", 30)
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


def alarms_of(monitor: Monitor) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in monitor.summary()["alarms"]}


def requests(number: int, status: int = 200, seconds: float = 0.01) -> Tally:
    tally = Tally()
    for _ in range(number):
        tally.add_request("/v1/forecast", status, seconds if status == 200 else None)
    return tally


def test_an_error_beyond_the_limit_is_an_alarm_that_knows_its_age() -> None:
    clock = Clock()
    monitor = Monitor(watched(settings=MonitorConfig(worse=1.5)), clock)
    for first in range(0, 300, 30):
        monitor.merge(answers(Answer("a", first * HOUR, np.zeros((30, 1)))))
        monitor.observe(Rows("a", ticks(*range(first, first + 30)), np.full((30, 1), 1.6)))
        clock.seconds += 10
    row = alarms_of(monitor)["performance"]
    assert row["value"] == pytest.approx(1.6)
    assert row["limit"] == 1.5
    assert row["since_seconds"] == 60
    assert "1.60 times validation's" in row["text"]


def test_a_few_values_raise_no_alarm_of_error() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(Answer("a", 0, np.zeros((50, 1)))))
    monitor.observe(Rows("a", ticks(*range(50)), np.full((50, 1), 9.0)))
    assert not alarms_of(monitor)


def test_one_bad_target_of_several_is_told_by_its_name() -> None:
    given = {
        "forecasts": usual.forecasts(np.zeros((60, 1, 2, 1)), np.ones((60, 1, 2)), 0, ["load", "wind"], np.ones(2))
    }
    monitor = Monitor(watched(targets=["load", "wind"], columns=["load", "wind"], reference=given))
    monitor.merge(answers(*(Answer("a", i * HOUR, np.zeros((1, 2))) for i in range(120))))
    for i in range(120):
        monitor.observe(Rows("a", ticks(i), np.array([[0.5, 1.6]])))
    rows = [row for row in monitor.summary()["alarms"] if row["kind"] == "performance"]
    assert [row["what"] for row in rows] == ["wind"]


def test_slow_and_failing_requests_are_alarms_until_better_ones_come() -> None:
    clock = Clock()
    monitor = Monitor(watched(settings=MonitorConfig(p99_ms=100, errors=0.02)), clock)
    monitor.merge(requests(200))
    assert not alarms_of(monitor)
    clock.seconds += 30
    monitor.merge(requests(20, seconds=0.5))
    monitor.merge(requests(20, status=500))
    found = alarms_of(monitor)
    assert set(found) == {"latency", "errors"}
    assert found["errors"]["value"] == pytest.approx(20 / 240)
    for _ in range(40):
        clock.seconds += 30
        monitor.merge(requests(100))
    assert not alarms_of(monitor)
    assert monitor.summary()["latency_ms"]["p99"] > 0


def test_old_failures_do_not_stand_for_ever_where_nobody_asks() -> None:
    clock = Clock()
    monitor = Monitor(watched(), clock)
    monitor.merge(requests(20, status=500))
    assert "errors" in alarms_of(monitor)
    clock.seconds += 3_700
    assert not alarms_of(monitor)


def test_load_is_that_of_all_replicas_that_are_heard_of() -> None:
    clock = Clock()
    monitor = Monitor(watched(), clock)
    monitor.merge(Tally(loads={"one": Load(3, 4, 1, 4), "two": Load(2, 4, 0, 4)}))
    assert monitor.summary()["load"] == {
        "replicas": 2,
        "in_flight": 5,
        "most": 8,
        "queued": 1,
        "capacity": 8,
        "saturation": 1.0,
    }
    assert not alarms_of(monitor), "a moment is no saturation"
    for _ in range(6):
        clock.seconds += 1
        monitor.merge(Tally(loads={"one": Load(3, 4, 1, 4), "two": Load(2, 4, 0, 4)}))
    assert "8 of 8 requests" in alarms_of(monitor)["saturation"]["text"]
    clock.seconds += 15
    monitor.merge(Tally(loads={"two": Load(0, 1, 0, 4)}))
    clock.seconds += 15
    found = monitor.summary()
    assert (found["load"]["replicas"], found["load"]["capacity"]) == (1, 4)
    assert not found["alarms"]


def test_answers_that_were_not_finite_are_an_alarm_for_a_while() -> None:
    clock = Clock()
    monitor = Monitor(watched(), clock)
    monitor.merge(Tally(fallbacks=2))
    assert "2 answers" in alarms_of(monitor)["fallbacks"]["text"]
    clock.seconds += 301
    assert not alarms_of(monitor)
    assert monitor.summary()["fallbacks"] == 2


def test_far_more_anomalies_than_the_rate_are_an_alarm() -> None:
    series = labelled.labelled(0).value_TF
    monitor = Monitor(labelled.watched(series, rate=0.004))
    for number in range(60):
        monitor.merge(Tally(rows=[Rows(f"s{number}", ticks(*range(40)), series[:40])]))
    assert "anomalies" not in alarms_of(monitor)
    rng = np.random.default_rng(0)
    for number in range(60):
        wild = series[:40] + rng.choice([0, 60], p=[0.96, 0.04], size=(40, 2))
        monitor.merge(Tally(rows=[Rows(f"t{number}", ticks(*range(40)), wild)]))
    row = alarms_of(monitor)["anomalies"]
    assert row["value"] > row["limit"] == pytest.approx(0.02)


def test_a_clock_that_is_set_changes_no_rate_and_no_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(watched(settings=MonitorConfig(p99_ms=100)))
    for wall in (1e9, 9e9, 1.0, 5e9):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        monitor.merge(requests(40, seconds=0.5))
        found = monitor.summary()
        assert 0 <= found["seconds"] < 60
        assert all(0 <= row["since_seconds"] < 60 for row in found["alarms"])
    assert found["requests"]["per_second_last_minute"] > 2
    assert "latency" in alarms_of(monitor)


def test_history_holds_the_whole_time_in_bounded_room() -> None:
    clock = Clock()
    monitor = Monitor(watched(), clock)
    for _ in range(3_000):
        clock.seconds += 5
        monitor.merge(requests(1))
    points = monitor.summary()["history"]
    assert 100 <= len(points) <= 240
    assert points[0]["seconds"] < 200
    assert points[-1]["seconds"] > 14_800
    gaps = np.diff([point["seconds"] for point in points])
    assert gaps.max() <= 2 * gaps.min()


def test_two_replicas_that_bring_the_same_step_bring_one_row() -> None:
    monitor = Monitor(watched())
    for _ in range(2):
        monitor.merge(Tally(rows=[Rows("a", ticks(0, 1, 2), actual(1.0, 2.0, 3.0))]))
    assert monitor.summary()["inputs"]["rows"] == 3


def test_a_forgotten_series_is_told_nowhere() -> None:
    monitor = Monitor(watched())
    monitor.merge(answers(forecast(name="secret-7")))
    monitor.observe(Rows("secret-7", ticks(0), actual(5.0)))
    monitor.forget("secret-7")
    assert "secret-7" not in json.dumps(monitor.summary())
    assert monitor.observe(Rows("secret-7", ticks(1), actual(5.0))) == 0


def test_a_merge_of_many_series_takes_a_bounded_time() -> None:
    """The register answers everybody from one thread."""
    series = labelled.labelled(0).value_TF
    monitor = Monitor(labelled.watched(series))
    tally = Tally(rows=[Rows(f"s{number}", ticks(*range(168)), series[:168]) for number in range(200)])
    began = time.process_time()
    monitor.merge(tally)
    assert time.process_time() - began < 2


def test_inputs_are_told_by_whichever_measure_lies_highest_over_its_limit() -> None:
    """PSI may be at peace where a column is missing, or lies elsewhere within its bins."""

    def row(column: str, state: str, measure: str | None, over: float | None, kind: str = "drift") -> dict[str, Any]:
        limits = {"psi": 0.5, "ks": 0.4, "wasserstein_deviations": 1.0, "missing_share": 0.1}
        found = {"psi": 0.01, "ks": 0.1, "wasserstein_deviations": 0.2, "missing_share": 0.3}
        found |= {measure: limits[measure] * over} if measure and over else {}
        told = {
            "column": column,
            "kind": kind,
            "state": state,
            "measure": measure,
            "over_limit": over,
            "limits": limits,
        }
        return told | found

    rows = [
        row("calm", "stable", "psi", 0.97),
        row("wind", "shifted", "ks", 0.95),
        row("rain", "too little data", None, None),
    ]
    assert live._worst(rows) == "shifted: 1 of 2 columns, most 'wind' with KS distance 0.38; its limit is 0.40"
    gone = row("wind", "shifted", "missing_share", 3.0) | {"psi": None}
    assert live._worst([gone]) == "shifted: 1 of 1 columns, most 'wind' with a missing share of 0.30; its limit is 0.10"
    together = row("(together)", "shifted", "wasserstein_deviations", 2.0, "joint")
    said = live._worst([together, rows[0]])
    assert said == "shifted: how columns go together with Wasserstein distance 2.00; its limit is 1.00"
    assert live._worst([rows[0]]) == "stable: all 1 columns look like the training part"
    assert live._worst([rows[2]]) == "too little data"


@pytest.mark.parametrize("huge", [1e300, -1.7e308, 3.5e38])
def test_values_out_of_all_bounds_leave_the_account_plain_json(huge: float) -> None:
    series = labelled.labelled(0).value_TF
    monitor = Monitor(labelled.watched(series))
    for first in range(0, 600, 40):
        wild = np.full((40, 2), huge)
        monitor.merge(Tally(rows=[Rows("a", ticks(*range(first, first + 40)), wild)]))
        monitor.merge(answers(Answer("a", first * HOUR, *np.array([[[0.0]], [[-1.0]], [[1.0]]]).repeat(40, axis=1))))
        monitor.observe(Rows("a", ticks(*range(first, first + 40)), wild))
    json.dumps(monitor.summary(), allow_nan=False)


def test_steps_at_both_ends_of_all_whole_numbers_break_nothing() -> None:
    series = labelled.labelled(0).value_TF
    monitor = Monitor(replace(labelled.watched(series), step=1, is_time=False))
    least, most = -(2**63) + 1, 2**63 - 2
    for ends in ((least, most), (most, least), (0, most), (least, 0)):
        monitor.merge(answers(*(Answer("a", end, np.zeros((3, 1))) for end in ends)))
        for told in (np.array(ends), *(np.array([end]) for end in ends)):
            monitor.merge(Tally(rows=[Rows("a", told, np.ones((len(told), 2)))]))
            monitor.observe(Rows("a", told, np.ones((len(told), 2))))
    json.dumps(monitor.summary(), allow_nan=False)
