"""How often means of errors that stay as they are pass their limit, and how soon those that grow do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from scipy.stats import norm, t

from lstm_ray.monitor.errors import chance
from lstm_ray.monitor.errors.chance import Lately, limit, newest, spread, times

HORIZON, STEPS, VALIDATION = 12, 417, 1_300
WORSE, EASE, RATE = 1.25, 0.9, 0.01


def errors_of(seed: int, number: int, coefficient: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=number + 500)
    return np.abs(lfilter([1], [1, -coefficient], noise)[500:] * np.sqrt(1 - coefficient**2))


def told_of(errors: np.ndarray, series: int = 0) -> tuple[dict[str, float] | None, float]:
    """What windows at every step tell of errors in the order of time, and their mean."""
    window_MH = sliding_window_view(errors, HORIZON)
    origin_M = np.arange(len(window_MH))
    return spread(window_MH / window_MH.mean(), np.full(len(origin_M), series), origin_M), float(window_MH.mean())


def sums_of(values: np.ndarray, expected: float) -> np.ndarray:
    return np.stack([values, np.full(len(values), expected), *np.ones((2, len(values)))], axis=1)[:, :, None]


def begun(ratios: np.ndarray, limits: np.ndarray) -> int:
    """Alarms, each of which ends only where the ratio has come down to well under its limit."""
    on, number = False, 0
    for ratio, most in zip(ratios, limits, strict=True):
        now = ratio >= most or (on and ratio >= EASE * most)
        number += now and not on
        on = now
    return number


def over(errors: np.ndarray, given: dict[str, float] | None) -> np.ndarray:
    """From the first whole window on: how far the mean of it or of a newest part of it lies over its limit."""
    found = []
    for held, most in newest(sums_of(np.ones(STEPS), 1.0), [given], RATE):
        rolling = np.convolve(errors, np.full(len(held), 1 / len(held)), "valid")[STEPS - len(held) :]
        assert most is not None
        found.append(rolling / max(WORSE, most))
    return np.max(found, axis=0)


@pytest.mark.parametrize("coefficient", [0.0, 0.8, 0.95])
def test_errors_like_validations_pass_the_limit_at_most_at_the_stated_rate(coefficient: float) -> None:
    """Looked at all the time, over 19 windows each of 40 policies with a validation part of their own."""
    told = fixed = 0
    for seed in range(40):
        given, base = told_of(errors_of(1_000 + seed, VALIDATION, coefficient))
        errors = errors_of(seed, 20 * STEPS, coefficient) / base
        passed = over(errors, given)[::4]
        told += begun(passed, np.ones(len(passed)))
        rolling = np.convolve(errors, np.full(STEPS, 1 / STEPS), "valid")[::4]
        fixed += begun(rolling, np.full(len(rolling), WORSE))
    print(f"coefficient {coefficient}: {told} alarms in {40 * 19} windows, by a fixed limit of {WORSE} {fixed}")
    # 1 % of 760 is 7.6; more than 15 would come up once in 100 times.
    assert told <= 15
    assert fixed > 60 or coefficient < 0.9, "the limit would not be needed"


@pytest.mark.parametrize("coefficient", [0.0, 0.8, 0.95])
def test_where_validation_tells_no_spread_the_errors_themselves_do(coefficient: float) -> None:
    told = windows = 0
    for seed in range(12):
        errors = errors_of(seed, 6 * STEPS, coefficient)
        base = float(errors_of(1_000 + seed, 100_000, coefficient).mean())
        stretches = sliding_window_view(errors, STEPS)[::40]
        limits = np.array([limit(sums_of(stretch, base), [None], RATE) for stretch in stretches], float)
        told += begun(stretches.mean(axis=1) / base, np.maximum(WORSE, limits))
        windows += 5
    print(f"coefficient {coefficient}: {told} alarms in {windows} windows")
    # 1 % of 60 is 0.6; more than 3 would come up once in 300 times.
    assert told <= 3


def test_a_change_of_level_is_not_taken_for_variation() -> None:
    found = limit(sums_of(np.repeat([0.9, 3.0], 200), 1.0), [None], RATE)
    assert found == pytest.approx(1.0, abs=1e-6)
    noisy = np.repeat([1.0, 2.0], 200) * errors_of(0, 400, 0.8)
    found = limit(sums_of(noisy, 1.0), [None], RATE)
    assert found is not None
    assert found < 1.4


@pytest.mark.parametrize(("coefficient", "doubled", "trebled"), [(0.0, 60, 30), (0.8, 140, 70), (0.95, 500, 220)])
def test_an_error_that_grows_is_seen_and_the_sooner_the_more_it_grows(
    coefficient: float, doubled: int, trebled: int
) -> None:
    medians = []
    for times_ in (2, 3):
        delays = []
        for seed in range(9):
            given, base = told_of(errors_of(1_000 + seed, VALIDATION, coefficient))
            errors = errors_of(seed, 4 * STEPS, coefficient) / base
            errors[STEPS:] *= times_
            passed = over(errors, given)[1:] >= 1
            delays.append(int(np.argmax(passed)) + 1 if passed.any() else 10_000)
        medians.append(np.median(delays))
        print(f"coefficient {coefficient}: an error {times_} times as large seen after {sorted(delays)} steps")
    assert medians[0] <= doubled
    assert medians[1] <= trebled


def test_series_that_err_each_for_itself_make_the_mean_surer_and_those_that_err_together_do_not() -> None:
    rng, origin = np.random.default_rng(0), np.arange(600)
    alone = np.abs(rng.normal(size=(8, 600)))
    together = np.tile(alone[0], (8, 1))
    spreads = []
    for value_SM in (alone, together):
        given = spread(value_SM.reshape(-1, 1) / value_SM.mean(), np.repeat(np.arange(8), 600), np.tile(origin, 8))
        assert given is not None
        spreads.append(given)
    assert spreads[0]["common"] < 0.2 * spreads[0]["own"]
    assert spreads[1]["own"] == pytest.approx(0, abs=0.05 * spreads[1]["common"])
    sums = sums_of(np.ones(100), 1.0)
    one = limit(sums, spreads[:1], RATE)
    sums[:, chance.SERIES] = 8
    eight = limit(sums, spreads[:1], RATE)
    assert one is not None
    assert eight is not None
    assert eight - 1 < 0.6 * (one - 1)


def test_a_few_steps_of_time_are_no_evidence_however_many_series_they_have() -> None:
    """A storm that hits a thousand series at once is one event."""
    found = Lately(50, 1)
    for _ in range(1_000):
        found.add(np.array([7, 8]), np.zeros(2, int), np.array([3.0, 3.0]), np.ones(2))
    given, _ = told_of(errors_of(0, VALIDATION, 0.8))
    assert given is not None
    most = limit(found.sums(), [given | {"own": 0.0}], RATE)
    assert most is not None
    assert most > 3
    assert limit(found.sums(), [None], RATE) is None


def test_the_newest_steps_are_kept_and_late_values_join_their_step() -> None:
    found = Lately(3, 1)
    for tick in (5, 6, 7, 6, 8):
        found.add(np.array([tick]), np.zeros(1, int), np.array([float(tick)]), np.ones(1))
    sums = found.sums()
    assert sums[:, chance.WRONG, 0].tolist() == [12.0, 7.0, 8.0]
    assert sums[:, chance.SERIES, 0].tolist() == [2.0, 1.0, 1.0]
    found.add(np.arange(100), np.zeros(100, int), np.arange(100.0), np.ones(100))
    assert sorted(found.sums()[:, chance.WRONG, 0]) == [97.0, 98.0, 99.0]


def test_too_few_windows_tell_no_spread() -> None:
    assert spread(np.ones((5, 4)), np.zeros(5, int), np.arange(5)) is None
    assert spread(np.ones((1, 4)), np.zeros(1, int), np.arange(1)) is None
    assert spread(np.full((50, 4), np.nan), np.zeros(50, int), np.arange(50)) is None


def test_the_level_is_that_of_a_rolling_mean_and_widened_as_student_does() -> None:
    level = times(0.01, np.inf)
    assert level * norm.pdf(level) + norm.sf(level) == pytest.approx(0.01, rel=1e-2)
    for freedom in (9, 30):
        assert times(0.01, freedom) == pytest.approx(t.isf(norm.sf(level), freedom), rel=0.03)
