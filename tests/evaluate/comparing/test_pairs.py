"""Corrections and intervals of pairs, held against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from lstm_ray.evaluate.comparing.pairs import bootstrap, holm, pairs
from lstm_ray.evaluate.comparing.runs import Matched


def _matched(error_MK: np.ndarray, step_M: np.ndarray | None = None, dependence: int = 6) -> Matched:
    number = len(error_MK)
    step_M = np.arange(number) if step_M is None else step_M
    names = [f"r{k}" for k in range(error_MK.shape[1])]
    return Matched(
        "forecast",
        names,
        len(names),
        error_MK,
        step_M,
        step_M,
        np.zeros(number, int),
        ["s"],
        dependence,
        dependence,
        {},
    )


def test_holm_is_that_of_statsmodels() -> None:
    p = [0.04, 0.001, 0.3, 0.012, 0.012, 0.9]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    assert holm([]) == []


def test_block_intervals_of_correlated_errors_hold_the_true_difference_about_as_often_as_they_say() -> None:
    held, random = 0, np.random.default_rng(1)
    for turn in range(60):
        shocks = random.normal(size=(905, 1))
        # A moving sum over six steps, as errors of overlapping windows are; the true difference is 0.
        gain = np.convolve(shocks[:, 0], np.ones(6) / 6, "valid")
        low, high = bootstrap(_matched(np.stack([np.zeros(900), gain], axis=1)), [(0, 1)], seed=turn)[0]  # type: ignore[misc]
        held += low <= 0 <= high
    assert 50 <= held <= 60


def test_the_interval_of_a_constant_difference_has_no_width() -> None:
    error = np.random.default_rng(0).random(400)
    [interval] = bootstrap(_matched(np.stack([error, error + 0.25], axis=1)), [(0, 1)])
    assert interval == pytest.approx((0.25, 0.25))


def test_luck_is_not_called_better() -> None:
    random = np.random.default_rng(5)
    found = pairs(_matched(1 + 0.3 * random.normal(size=(600, 4))))
    assert len(found) == 6
    assert not any(pair.is_clear for pair in found)
    assert all(pair.difference >= 0 and pair.p <= pair.adjusted <= 1 for pair in found)
