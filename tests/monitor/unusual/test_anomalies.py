"""Unusual values are found, and usual ones are called so at the rate that is stated."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.monitor.errors.performance import Scored
from lstm_ray.monitor.traffic import Rows
from lstm_ray.monitor.unusual import anomalies, usual
from lstm_ray.monitor.unusual.anomalies import Anomalies
from tests import made
from tests.monitor import labelled

HALF = labelled.STEPS // 2
SEEDS = range(6)


def rows(value_TF: NDArray, first: int = 0, name: str = "a") -> Rows:
    return Rows(name, (first + np.arange(len(value_TF), dtype=np.int64)) * made.HOUR, value_TF)


def live(judge: Anomalies, value_TF: NDArray, at_once: int = 1) -> None:
    """The second half, as it comes."""
    for first in range(HALF, len(value_TF), at_once):
        judge.take(rows(value_TF[first : first + at_once], first))


def told(judge: Anomalies, column: str = "load") -> dict[str, list[int]]:
    """Steps of the anomalies, by measure."""
    found: dict[str, list[int]] = {"jump": [], "repeats": [], "residual": []}
    for one in judge.newest:
        if one["column"] == column:
            hours = datetime.fromisoformat(one["time"]).timestamp() / 3_600
            found[one["measure"]].append(round(hours))
    return found


@pytest.fixture(autouse=True)
def _tell_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomalies, "TOLD", 100_000)


@pytest.mark.parametrize("at_once", [1, 500])
def test_usual_values_are_called_anomalies_at_most_at_the_stated_rate(at_once: int) -> None:
    judged = found = 0
    for seed in SEEDS:
        value_TF = np.stack([labelled.usual_series(seed), labelled.usual_series(seed + 1_000)], axis=1)
        judge = Anomalies(labelled.watched(value_TF))
        live(judge, value_TF, at_once)
        judged, found = judged + 2 * HALF, found + len(judge.newest)
    slack = 3 * np.sqrt(labelled.RATE * judged)
    assert found <= labelled.RATE * judged + slack
    assert found >= 0.1 * labelled.RATE * judged, "a rate that is never used finds nothing"


def test_labelled_anomalies_are_found_in_their_windows() -> None:
    kinds = ("spike", "shift", "flat")
    hits, labels, outside = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0), 0
    for seed in SEEDS:
        series = labelled.labelled(seed)
        judge = Anomalies(labelled.watched(series.value_TF))
        live(judge, series.value_TF)
        steps = {step for found in told(judge).values() for step in found}
        for kind, places in series.labels.items():
            labels[kind] += len(places)
            hits[kind] += sum(any(step in steps for step in range(at, at + labelled.WINDOW)) for at in places)
        # A shift's end is as unusual as its beginning, and so is what comes a day after either.
        near = {at + offset for places in series.labels.values() for at in places for offset in range(62)}
        outside += len(steps - near)
    for kind, least in (("spike", 0.85), ("shift", 0.9), ("flat", 0.9)):
        assert hits[kind] >= least * labels[kind]
    usual_values = len(SEEDS) * HALF
    assert outside <= labelled.RATE * usual_values + 3 * np.sqrt(labelled.RATE * usual_values)


def spiked(at: int = 100) -> tuple[Anomalies, NDArray]:
    """A judge that has seen some days, the newest step of which is a spike."""
    value_TF = labelled.labelled(0).value_TF
    value_TF[at, 0] += 40
    judge = Anomalies(labelled.watched(value_TF))
    judge.take(rows(value_TF[: at + 1]))
    return judge, value_TF


def test_a_spike_is_told_with_its_place_and_how_unusual_it_is() -> None:
    judge, value_TF = spiked()
    one = judge.newest[-1]
    assert (one["series"], one["column"], one["measure"]) == ("a", "load", "jump")
    assert one["time"] == "1970-01-05T04:00:00Z"
    assert one["value"] == pytest.approx(value_TF[100, 0])
    assert one["p"] <= labelled.RATE
    found = judge.summary()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_follows_an_anomaly_is_not_called_one_for_that() -> None:
    judge, value_TF = spiked()
    before = len(judge.newest)
    for step in range(101, 140):
        judge.take(rows(value_TF[step : step + 1], step))
    assert len(judge.newest) == before


def test_duplicates_and_late_and_contradictory_steps_are_judged_once() -> None:
    judge, value_TF = spiked()
    judged, before = judge.summary()["judged"], len(judge.newest)
    judge.take(rows(value_TF[90:101], 90))
    judge.take(rows(value_TF[90:101] + 40, 90))
    judge.take(rows(value_TF[:5] + 40, 0))
    assert (judge.summary()["judged"], len(judge.newest)) == (judged, before)


def test_columns_that_come_apart_are_judged_each_when_it_comes() -> None:
    value_TF = labelled.labelled(0).value_TF
    whole, apart = (Anomalies(labelled.watched(value_TF)) for _ in range(2))
    whole.take(rows(value_TF[:60]))
    for first in range(0, 60, 10):
        apart.take(rows(value_TF[first : first + 10] * [1, np.nan], first))
        apart.take(rows(value_TF[first : first + 10] * [np.nan, 1], first))
    assert apart.summary()["judged"] == whole.summary()["judged"]


def test_a_time_far_in_the_future_does_not_make_the_present_old_for_good() -> None:
    judge, value_TF = spiked()
    judged = judge.summary()["judged"]
    judge.take(rows(value_TF[:1], 10_000_000))
    judge.take(rows(value_TF[101:150], 101))
    judge.take(rows(value_TF[150:180], 150))
    assert judge.summary()["judged"] > judged + 30


def test_time_stamps_off_the_grid_and_strange_ones_do_no_harm() -> None:
    judge, value_TF = spiked()
    off = Rows("a", np.array([101 * made.HOUR + 7, -(2**62)]), value_TF[101:103])
    assert judge.take(off) == 0
    assert judge.take(Rows("b", np.array([2**62, -(2**62)]), value_TF[:2])) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomalies, "MAX_CELLS", 1_000)
    judge, value_TF = spiked()
    for number in range(200):
        judge.take(rows(value_TF[:40], name=f"s{number}"))
    assert len(judge._memory) <= 1_000 // (2 * (labelled.SEASON + 1))
    assert judge._num_cells == sum(memory.value_SF.size for memory in judge._memory.values()) <= 1_000


def test_a_forgotten_series_leaves_nothing_behind() -> None:
    judge, _ = spiked()
    judge.forget("a")
    assert not judge.newest
    assert not judge._memory
    assert judge._num_cells == 0


def test_a_rate_that_training_is_too_short_for_is_said_to_be_so() -> None:
    judge = Anomalies(labelled.watched(labelled.labelled(0).value_TF, rate=1e-5))
    assert "needs up to 200,000 usual values" in judge.summary()["state"]
    judge = Anomalies(labelled.watched(labelled.labelled(0).value_TF, values=None))
    assert "carries no picture of usual values" in judge.summary()["state"]


def validated(seed: int, spread: float = 1.0) -> dict[str, Any]:
    """What forecasts with intervals of one deviation either side missed."""
    actual = spread * np.random.default_rng(seed).standard_normal((2_000, 4, 1))
    forecast = np.broadcast_to(np.array([-1.0, 0.0, 1.0]), (2_000, 4, 1, 3))
    return usual.forecasts(forecast, actual, 1, ["load"], np.array([2.0]))


def residuals(judge: Anomalies, error_N: NDArray, width: float = 1.0) -> int:
    """Hand errors over one by one, as observations bring them."""
    found = 0
    for step, error in enumerate(error_N):
        one, zero = np.ones(1), np.zeros(1)
        lead = np.array([step % 4])
        tick = np.array([step * made.HOUR])
        scored = Scored(tick, np.zeros(1, np.int64), lead, error * one, zero, -width * one, width * one)
        found += judge.residuals("a", scored)
    return found


def forecasts_watched(seed: int) -> Anomalies:
    value_TF = labelled.labelled(0).value_TF
    return Anomalies(labelled.watched(value_TF, forecasts=validated(seed), values=None))


def test_residuals_like_those_of_validation_are_called_anomalies_at_most_at_the_rate() -> None:
    found = sum(
        residuals(forecasts_watched(seed), np.random.default_rng(100 + seed).standard_normal(3_000)) for seed in SEEDS
    )
    number = len(SEEDS) * 3_000
    assert 0.1 * labelled.RATE * number <= found <= labelled.RATE * number + 3 * np.sqrt(labelled.RATE * number)


def test_the_rate_is_kept_when_errors_as_a_whole_grow() -> None:
    judge, rng = forecasts_watched(0), np.random.default_rng(5)
    at_first = residuals(judge, 3 * rng.standard_normal(60))
    later = residuals(judge, 3 * rng.standard_normal(4_000))
    assert at_first > 5 * labelled.RATE * 60, "growing is unusual while it is new"
    assert later <= labelled.RATE * 4_000 + 3 * np.sqrt(labelled.RATE * 4_000)


def test_many_wild_values_are_still_found() -> None:
    error_N = np.random.default_rng(6).standard_normal(4_000)
    error_N[::40] = 12.0
    assert residuals(forecasts_watched(0), error_N) >= 95


def test_of_one_value_that_several_forecasts_told_the_last_is_judged() -> None:
    tick_N, lead_N = np.array([5, 5, 6]) * made.HOUR, np.array([3, 0, 1])
    scored = Scored(tick_N, np.zeros(3, np.int64), lead_N, np.array([9.0, 0.1, 0.2]), *np.zeros((3, 3)))
    assert scored.nearest().error_N.tolist() == [0.1, 0.2]
