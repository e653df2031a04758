"""Quantiles between those told, and means."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from lstm_ray.errors import InputError
from lstm_ray.model import levels
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.network import forecaster
from lstm_ray.model.policy import Forecast, Policy
from tests import made

NORMAL = NormalDist(3.0, 2.0)
OWN = [0.1, 0.5, 0.9]


def told(own: list[float]) -> np.ndarray:
    return np.array([NORMAL.inv_cdf(level) for level in own], np.float32)


@pytest.mark.parametrize("own", [OWN, [0.05, 0.5, 0.95], [0.02, 0.2, 0.4, 0.5, 0.7, 0.99]])
def test_of_a_normal_forecast_any_quantile_and_the_mean_are_exact(own: list[float]) -> None:
    asked = [own[0], 0.3, 0.5, 0.77, own[-1]]
    found = levels.between(told(own), own, asked)
    np.testing.assert_allclose(found, [NORMAL.inv_cdf(level) for level in asked], rtol=1e-5)
    assert levels.mean(told(own), own) == pytest.approx(3.0, rel=1e-5)


def test_of_a_skewed_forecast_the_mean_is_near_and_above_the_median() -> None:
    scores = np.array([NormalDist().inv_cdf(level) for level in OWN])
    mean = float(levels.mean(np.exp(0.5 * scores), OWN))
    assert mean == pytest.approx(np.exp(0.125), rel=2e-3)


def test_the_mean_of_a_point_forecast_is_itself() -> None:
    assert levels.mean(np.array([[7.0]]), [0.5]) == 7.0


@pytest.mark.parametrize("asked", [0.09, 0.91, float("nan")])
def test_what_lies_outside_is_refused(asked: float) -> None:
    with pytest.raises(InputError, match=r"lowest is 0\.1 and highest 0\.9"):
        levels.require_between([0.5, asked], OWN)
    with pytest.raises(InputError, match="forecasts no quantiles"):
        levels.require_between([0.4], [0.5])


def policy_of(**values: object) -> Policy:
    return made.random_policy(made.make_config(**values), made.segments_of())


def forecast_of(policy: Policy, *asked: float) -> Forecast:
    [found] = policy.predict([made.series_input(made.segments_of(), 100, 12, 6)], asked)
    assert isinstance(found, Forecast)
    return found


def test_a_distribution_tells_its_own_mean_and_exact_quantiles() -> None:
    policy = policy_of(model__quantiles=OWN, model__distribution="gaussian")
    found = forecast_of(policy, 0.3)
    np.testing.assert_allclose(found.mean_HC, found.values_HCQ[..., 1], rtol=1e-5)
    score = NormalDist().inv_cdf(0.3) / NormalDist().inv_cdf(0.1)
    low, middle = found.values_HCQ[..., 0], found.values_HCQ[..., 1]
    np.testing.assert_allclose(found.more[0.3], middle + score * (low - middle), rtol=1e-4)


def test_the_mean_of_counts_is_above_their_median_where_they_scatter() -> None:
    policy = policy_of(model__quantiles=OWN, model__distribution="negative_binomial")
    forecaster(policy.network).set_units(policy.scaler)
    raw_BHCP = torch.tensor([[[[4.0, 1.5]]] * 6]).reshape(1, 6, 1, 2)
    values_BHCQ, mean_BHC, more = policy.told(raw_BHCP, levels=[0.7])
    np.testing.assert_allclose(mean_BHC, 4.0, rtol=1e-5)
    assert (values_BHCQ[..., 1] < mean_BHC).all()
    np.testing.assert_allclose(more[0.7], np.round(more[0.7]), rtol=1e-5)


def test_learned_quantiles_are_read_between_and_a_correction_moves_them_too() -> None:
    policy = policy_of(model__quantiles=OWN)
    plain = forecast_of(policy, 0.3)
    np.testing.assert_allclose(plain.more[0.3], levels.between(plain.values_HCQ, OWN, [0.3])[..., 0])
    shift_HCQ = np.zeros((6, 1, 3), np.float32)
    shift_HCQ[..., 0] = -0.5
    policy.calibration = Conformal(tuple(OWN), shift_HCQ, np.zeros(1, np.float32), 10, 10)
    assert (forecast_of(policy, 0.3).more[0.3] < plain.more[0.3]).all()


def test_a_correction_lies_between_its_neighbours_at_levels_between() -> None:
    shift_HCQ = np.array([[[-2.0, 0.0, 4.0]]], np.float32)
    found = Conformal(tuple(OWN), shift_HCQ, np.zeros(1, np.float32), 10, 10).at([0.1, 0.3, 0.5, 0.8, 0.9])
    np.testing.assert_allclose(found.shift_HCQ[0, 0], [-2.0, -1.0, 0.0, 3.0, 4.0], rtol=1e-6)
    assert found.levels == (0.1, 0.3, 0.5, 0.8, 0.9)
