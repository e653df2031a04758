"""Skill and how sure it is, where neighbouring windows are anything but independent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from lstm_ray.evaluate.skill import mean_interval, paired_p, skill


def _errors(rng: np.random.Generator, num: int, lag: int) -> np.ndarray:
    """Positive errors that share ``lag`` steps with their neighbours, mean 3."""
    return np.convolve(rng.exponential(3.0, num + lag - 1), np.full(lag, 1 / lag), mode="valid")


def test_skill_is_the_share_of_error_that_is_gone():
    found = skill(np.full(1000, 3.0), np.full(1000, 4.0), np.arange(1000), 24)
    assert found.value == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25, 0.25))
    assert found.is_clear


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = skill(0.9 * _errors(rng, 1200, 24), _errors(rng, 1200, 24), np.arange(1200), 24)
        held += found.interval[0] <= 0.1 <= found.interval[1]
    assert 0.90 <= held / 300 <= 0.99


def test_windows_that_share_steps_make_the_interval_wider_than_if_independent():
    rng = np.random.default_rng(1)
    mine, other = _errors(rng, 2000, 48), _errors(rng, 2000, 48)
    found = skill(mine, other, np.arange(2000), 48)
    order = rng.permutation(2000)
    shuffled = skill(mine[order], other[order], np.arange(2000), 48)
    assert np.ptp(found.interval) > 2 * np.ptp(shuffled.interval)


def test_series_of_one_time_are_left_out_together():
    """Ten copies of a series hold no more evidence than one."""
    rng = np.random.default_rng(2)
    mine, other, step = _errors(rng, 1000, 24), _errors(rng, 1000, 24), np.arange(1000)
    one = skill(mine, other, step, 24)
    ten = skill(np.tile(mine, 10), np.tile(other, 10), np.tile(step, 10), 24)
    assert ten.interval == pytest.approx(one.interval)


def test_a_short_test_part_gives_no_interval():
    found = skill(np.ones(100), np.full(100, 2.0), np.arange(100), 24)
    assert found.value == 0.5
    assert found.interval is None
    assert not found.is_clear


def test_a_baseline_without_error_leaves_nothing_to_gain():
    assert skill(np.ones(10), np.zeros(10), np.arange(10), 1) is None


def test_the_paired_p_value_is_the_exact_binomial_one():
    mine = np.array([True] * 30 + [False] * 12 + [True] * 40)
    other = np.array([False] * 30 + [True] * 12 + [True] * 40)
    assert paired_p(mine, other) == pytest.approx(binomtest(30, 42).pvalue)
    assert paired_p(mine, mine) == 1.0


def test_the_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says_for_each_column_as_if_alone():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        value = np.stack([_errors(rng, 1200, 24), _errors(rng, 1200, 24)], axis=1)
        mean, reach = mean_interval(value, np.arange(1200), 24)
        alone = mean_interval(value[:, 1], np.arange(1200), 24)
        assert (mean[1], reach[1]) == pytest.approx(alone)
        held += (np.abs(mean - 3) <= reach).sum()
    assert 180 <= held <= 198
    assert mean_interval(value, np.zeros(1200, int), 24)[1] is None
