"""Paired tests hold what they say: their size where nothing differs, their power where something does, known values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t, ttest_1samp

from lstm_ray.evaluate.paired import over_blocks, over_cases, over_times
from lstm_ray.evaluate.skill import paired_p


def moving(random: np.random.Generator, num: int, horizon: int) -> np.ndarray:
    """Gains of overlapping windows: each shares all but one of its steps with the next."""
    return np.convolve(random.normal(size=num + horizon - 1), np.ones(horizon) / horizon, "valid")


def test_the_statistic_is_the_papers() -> None:
    """The equal-weighted cosine estimate with as many degrees of freedom as waves, written out sum by sum."""
    gain = np.array([0.5, 0.4, 0.1, -0.3, -0.2, 0.1, 0.6, 0.7, 0.3, -0.1, 0.2, 0.5])
    n, waves = len(gain), 2
    size = []
    for j in range(1, waves + 1):
        wave = [np.cos(np.pi * j * (step + 0.5) / n) for step in range(n)]
        size.append(np.sqrt(2 / n) * sum(w * g for w, g in zip(wave, gain - gain.mean(), strict=True)))
    statistic = gain.mean() / np.sqrt(np.mean(np.square(size)) / n)
    found = over_times(gain, np.arange(n), 3)
    assert found.p == pytest.approx(t.sf(statistic, waves), rel=1e-9)
    assert found.freedom == waves


@pytest.mark.parametrize(("num", "horizon"), [(12, 6), (24, 6), (48, 24), (96, 24), (192, 24)])
def test_few_times_to_a_horizon_are_not_taken_for_more_than_they_are(num: int, horizon: int) -> None:
    random = np.random.default_rng(8)
    wrong = [over_times(moving(random, num, horizon), np.arange(num), horizon).p < 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(wrong) < 0.09


def test_gains_that_stay_alike_for_longer_than_a_horizon_are_not_taken_for_many() -> None:
    random, wrong = np.random.default_rng(9), []
    for _ in range(400):
        gain, noise = np.zeros(400), random.normal(size=400)
        for step in range(1, 400):
            gain[step] = 0.8 * gain[step - 1] + noise[step]
        wrong.append(over_times(gain[100:], np.arange(300), 2).p < 0.05)
    assert np.mean(wrong) < 0.1


@pytest.mark.parametrize(("num", "horizon"), [(400, 6), (1200, 24), (60, 1)])
def test_where_nothing_differs_one_test_in_twenty_says_so(num: int, horizon: int) -> None:
    random = np.random.default_rng(1)
    wrong = [over_times(moving(random, num, horizon), np.arange(num), horizon).p < 0.05 for _ in range(600)]
    assert 0.025 < np.mean(wrong) < 0.085
    naive = [ttest_1samp(moving(random, num, horizon), 0, alternative="greater").pvalue < 0.05 for _ in range(200)]
    assert horizon == 1 or np.mean(naive) > 0.15, "a test that knew nothing of the overlap would be fooled"


def test_a_gain_of_all_series_at_a_time_counts_once() -> None:
    gain = np.random.default_rng(2).normal(0.1, 1, 90)
    alone = over_times(gain, np.arange(90), 4)
    tenfold = over_times(np.tile(gain, 10), np.tile(np.arange(90), 10), 4)
    assert (tenfold.p, tenfold.num) == (pytest.approx(alone.p), 90)
    weighed = over_times(np.append(gain, 9.0), np.append(np.arange(90), 0), 4, np.append(np.ones(90), 0.0))
    assert weighed.p == pytest.approx(alone.p), "what was not measured has no say"


def test_a_clear_gain_is_found_and_its_interval_holds_it() -> None:
    random = np.random.default_rng(3)
    found = [over_times(0.4 + moving(random, 600, 12), np.arange(600), 12) for _ in range(100)]
    assert np.mean([one.p < 0.05 for one in found]) > 0.95
    assert np.mean([one.interval[0] < 0.4 < one.interval[1] for one in found if one.interval]) > 0.8


def test_times_may_be_missing_and_too_few_tell_nothing() -> None:
    random = np.random.default_rng(4)
    gain = 0.3 + moving(random, 500, 6)
    kept = random.random(500) > 0.2
    assert over_times(gain[kept], np.arange(500)[kept], 6).p < 0.01
    short = over_times(gain[:6], np.arange(6), 6)
    assert (short.p, short.interval) == (1.0, None)


def test_equal_errors_are_no_gain_and_one_that_never_varies_is_certain() -> None:
    assert over_times(np.zeros(50), np.arange(50), 3).p == 1.0
    assert over_times(np.full(50, 0.5), np.arange(50), 3).p == 0.0
    assert over_blocks(np.zeros(50), np.arange(50), 2).p == 1.0
    assert over_cases(np.zeros(9), 3).p == 1.0


def test_blocks_of_time_hold_the_size_too() -> None:
    random = np.random.default_rng(5)
    wrong = [over_blocks(moving(random, 800, 12), np.arange(800), 12).p < 0.05 for _ in range(600)]
    assert 0.025 < np.mean(wrong) < 0.085
    assert over_blocks(0.5 + moving(random, 800, 12), np.arange(800), 12).p < 0.05
    assert over_blocks(np.ones(40), np.arange(40), 12).p == 1.0, "two blocks tell nothing"


def test_with_one_try_the_test_of_cases_is_mcnemars() -> None:
    gain = np.array([1] * 14 + [-1] * 5 + [0] * 30, dtype=float)
    found = over_cases(gain, 1)
    assert found.p == pytest.approx(binomtest(14, 19, alternative="greater").pvalue)
    assert 2 * found.p == pytest.approx(paired_p(gain > 0, gain < 0))
    assert over_cases(-gain, 1).p > 0.9


def test_the_test_of_cases_is_exact_for_several_tries() -> None:
    gain = np.array([2, 1, -1, 3, 0, 2, -2, 1]) / 3
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    every = (np.abs(gain)[:, None] * signs).sum(0)
    assert over_cases(gain, 3).p == pytest.approx((every >= gain.sum() - 1e-9).mean())


def test_what_seeds_disagree_about_is_no_clear_gain() -> None:
    gain = np.random.default_rng(6).normal(0.3, 1, 400)
    found = over_times(gain, np.arange(400), 1)
    assert found.p < 1e-4
    assert found.over_tries(np.array([0.3])) == found, "one try knows no spread"
    assert found.over_tries(np.array([0.3, 0.3, 0.3])) == found, "nor do tries that agree"
    apart = found.over_tries(np.array([0.9, 0.3, -0.3]))
    assert apart.p > 0.1
    assert apart.interval is not None
    assert apart.interval[0] < 0 < apart.interval[1]
    assert apart.gain == found.gain


def test_tries_that_gain_by_luck_alone_are_told_so_nineteen_times_in_twenty() -> None:
    """Each try differs from the next by chance, and all are measured on the same cases."""
    random = np.random.default_rng(7)
    wrong, fooled = [], []
    for _ in range(600):
        tries = random.normal(0, 0.3, (3, 1)) + random.normal(0, 1, 200) * 0.5 + random.normal(0, 0.2, (3, 200))
        alone = over_times(tries.mean(0), np.arange(200), 1)
        fooled.append(alone.p < 0.05)
        wrong.append(alone.over_tries(tries.mean(1)).p < 0.05)
    assert np.mean(wrong) < 0.075
    assert np.mean(fooled) > 0.2
