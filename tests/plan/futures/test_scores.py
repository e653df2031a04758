"""Normal scores: there and back, beyond the quantiles, and where quantiles are tied or cross."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, poisson

from lstm_ray.plan.futures.scores import MOST, deviates, scores, untied, values

LEVELS = (0.1, 0.5, 0.9)
FINE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
GRAIN = 1e-6


@given(st.floats(-3, 3), st.floats(0.1, 50), st.floats(0.1, 50), st.floats(-1e3, 1e3))
def test_a_value_is_found_again_at_its_score(score: float, below: float, above: float, middle: float) -> None:
    quantile = np.array([[middle - below, middle, middle + above]])
    value = values(np.array([score]), quantile, LEVELS)
    np.testing.assert_allclose(scores(value, quantile, LEVELS, GRAIN, 0), [score], atol=1e-3)


def test_scores_of_a_normal_forecast_are_standard_normal_wherever_it_lies() -> None:
    random = np.random.default_rng(0)
    mean, size = random.normal(size=5_000), random.uniform(0.1, 4, 5_000)
    quantile = mean[:, None] + size[:, None] * deviates(LEVELS)
    shock = random.normal(size=5_000)
    np.testing.assert_allclose(scores(mean + size * shock, quantile, LEVELS, GRAIN, 0), shock, atol=1e-3)


def test_the_outermost_line_goes_on_and_what_is_all_but_impossible_is_bounded() -> None:
    quantile = np.array([[-1.0, 0.0, 2.0]])
    edge = deviates(LEVELS)[2]
    np.testing.assert_allclose(values(np.array([3 * edge]), quantile, LEVELS), [6.0], rtol=1e-5)
    np.testing.assert_allclose(values(np.array([-3 * edge]), quantile, LEVELS), [-3.0], rtol=1e-5)
    assert scores(np.array([1e9]), quantile, LEVELS, GRAIN, 0) == MOST
    assert scores(np.array([-1e9]), quantile, LEVELS, GRAIN, 0) == -MOST


def test_quantiles_that_cross_are_read_in_order() -> None:
    value, crossed = np.array([0.3]), np.array([[0.0, -1.0, 2.0]])
    np.testing.assert_array_equal(
        scores(value, crossed, LEVELS, GRAIN, 0), scores(value, np.sort(crossed), LEVELS, GRAIN, 0)
    )


def test_a_forecast_that_is_sure_and_right_draws_any_score_within_its_tie() -> None:
    found = scores(np.zeros(2_000), np.zeros((2_000, 3)), LEVELS, GRAIN, 0)
    assert abs(found.mean()) < 0.1
    assert 0.5 < found.std() < 1.5
    assert np.isfinite(scores(np.ones(3), np.zeros((3, 3)), LEVELS, GRAIN, 0)).all()
    np.testing.assert_array_equal(values(found[:5], np.full((5, 3), 7.0), LEVELS), np.full(5, 7.0))


@pytest.mark.parametrize("mean", [0.2, 1.0, 30.0])
def test_counts_come_back_with_their_own_distribution(mean: float) -> None:
    """A calibrated forecast of counts: its scores, drawn again, give counts with the same mean, variance and zeros."""
    random = np.random.default_rng(1)
    count = random.poisson(mean, 8_000).astype(float)
    quantile = np.tile(poisson.ppf(FINE, mean), (8_000, 1))
    score = scores(count, quantile, FINE, np.ones(1), 0)
    again = np.rint(values(random.permutation(score), untied(quantile), FINE)).clip(0)
    assert again.mean() == pytest.approx(count.mean(), rel=0.05)
    assert again.var() == pytest.approx(count.var(), rel=0.12)
    assert (again == 0).mean() == pytest.approx((count == 0).mean(), abs=0.03)
    if mean == 30:
        assert score.std() == pytest.approx(1.0, abs=0.05)


def test_deviates_are_those_of_the_normal_distribution() -> None:
    np.testing.assert_allclose(deviates(FINE), norm.ppf(FINE), rtol=1e-9)
