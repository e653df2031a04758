"""Changes of scored errors: how often they are told of errors that stay as they are, how soon of those that do not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.signal import lfilter

from lstm_ray.monitor.errors.changes import Changes, block_of

WINDOW = 500


def errors_of(seed: int, number: int, coefficient: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=number + 500)
    values = lfilter([1], [1, -coefficient], noise)[500:] * np.sqrt(1 - coefficient**2)
    return np.abs(values) / np.sqrt(2 / np.pi)


def fed(changes: Changes, errors: np.ndarray, first: int = 0, target: int = 0) -> None:
    changes.take(first + np.arange(len(errors)), np.full(len(errors), target), errors)


@pytest.mark.parametrize("coefficient", [0.0, 0.8, 0.95])
def test_errors_that_stay_as_they_are_rarely_look_changed(coefficient: float) -> None:
    told = 0
    for seed in range(4):
        changes = Changes(["load"], WINDOW, 0.01)
        fed(changes, errors_of(seed, 20 * WINDOW, coefficient))
        told += len(changes.rows()[0]["changes"])
    print(f"coefficient {coefficient}: {told} changes in 80 windows")
    # 1 % of 80 is 0.8; more than 3 would come up once in 100 times.
    assert told <= 3


@pytest.mark.parametrize(("coefficient", "within"), [(0.0, 100), (0.8, 400), (0.95, 1_500)])
def test_a_doubled_error_is_seen_dated_and_sized(coefficient: float, within: int) -> None:
    delays = []
    for seed in range(5):
        changes, errors = Changes(["load"], WINDOW, 0.01), errors_of(seed, 5_000, coefficient)
        errors[2_000:] *= 2
        for first in range(0, 5_000, 10):
            fed(changes, errors[first : first + 10], first)
            if changes.alarms():
                break
        (change,) = changes.rows()[0]["changes"]
        delays.append(first + 10 - 2_000)
        assert abs(change["at"] - 2_000) < within
        assert change["after"] / change["before"] == pytest.approx(2, rel=0.6)
        (alarm,) = changes.alarms()
        assert (alarm["kind"], alarm["what"]) == ("change", "load")
    print(f"coefficient {coefficient}: doubled errors seen after {delays} values")
    assert np.median(delays) <= within


def test_an_error_that_has_come_down_again_ends_the_alarm_and_a_smaller_one_raises_none() -> None:
    errors = errors_of(1, 6_000, 0.5)
    errors[2_000:4_000] *= 3
    changes = Changes(["load"], WINDOW, 0.01)
    fed(changes, errors[:3_500])
    assert changes.alarms()
    fed(changes, errors[3_500:], 3_500)
    assert not changes.alarms()
    better = Changes(["load"], WINDOW, 0.01)
    fed(better, np.concatenate([errors[:2_000], errors[4_000:] / 4]))
    assert not better.alarms()
    assert better.rows()[0]["changes"], "told, though no alarm"


def test_one_value_that_many_forecasts_told_is_one_error_and_targets_are_kept_apart() -> None:
    changes = Changes(["load", "wind"], WINDOW, 0.01)
    changes.take(np.array([5, 5, 5, 6]), np.array([0, 0, 1, 0]), np.array([1.0, 3.0, 4.0, np.nan]))
    assert [row["values"] for row in changes.rows()] == [1, 1]
    assert {row["state"] for row in changes.rows()} == {"too little data"}


def test_the_unit_of_errors_does_not_matter() -> None:
    errors = errors_of(2, 3_000, 0.0)
    errors[2_000:] *= 1.5
    found = []
    for unit in (1e-3, 1.0, 1e4):
        changes = Changes(["load"], WINDOW, 0.01)
        fed(changes, unit * errors)
        found.append([change["at"] for change in changes.rows()[0]["changes"]])
    assert found[0] == found[1] == found[2] != []


def test_blocks_grow_with_how_long_errors_hang_together_and_stay_bounded() -> None:
    sizes = [block_of(errors_of(0, 5_000, coefficient)) for coefficient in (0.0, 0.8, 0.95)]
    assert sizes[0] <= 3 < sizes[1] < sizes[2]
    assert block_of(np.ones(500)) == 1
    assert block_of(np.arange(500.0)) == 50


def test_without_river_it_is_said_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river.drift", None)
    changes = Changes(["load"], WINDOW, 0.01)
    fed(changes, errors_of(0, 2 * WINDOW, 0.0))
    assert "lstm-ray[monitor]" in changes.words()
    assert changes.rows()[0]["state"] == "not looked for"
    assert not changes.alarms()
