"""The closed-form linear map: its sums add, its penalty is chosen on validation, what was not measured does not teach."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as ReferenceRidge

from lstm_ray.model import ridge
from lstm_ray.model.ridge import LinearSums, last_value, linear_sums, solve, spread
from lstm_ray.sections.prepare import WindowConfig

WINDOW = WindowConfig(history=12, horizon=6, patch=4, season=6)
TRAIN_M, VALIDATION_M = np.arange(11, 300), np.arange(311, 394)


def waves(noise: float = 0.3) -> NDArray:
    """Two channels of a cycle of 6 steps, float32 [400, 2]."""
    random, step = np.random.default_rng(3), np.arange(400)[:, None]
    values = np.sin(2 * np.pi * (step + np.array([0, 2])) / 6) * [1, 3] + random.normal(0, noise, (400, 2))
    return values.astype(np.float32)


def measured(values_RC: NDArray) -> NDArray:
    return np.ones_like(values_RC)


def test_sums_of_chunks_and_of_workers_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = waves()
    whole = linear_sums(values, measured(values), TRAIN_M, WINDOW, last_value)
    shares = [linear_sums(values, measured(values), TRAIN_M[rank::2], WINDOW, last_value) for rank in range(2)]
    monkeypatch.setattr(ridge, "CHUNK_VALUES", 100)
    chunked = linear_sums(values, measured(values), TRAIN_M, WINDOW, last_value)
    for found in (shares[0] + shares[1], chunked, LinearSums.from_flat(whole.flat(), *whole.xy_AH.shape)):
        np.testing.assert_allclose(found.flat(), whole.flat(), rtol=1e-4, atol=1e-2)


def test_a_window_that_reaches_into_steps_of_weight_0_teaches_nothing_of_them() -> None:
    values, weight_R = waves(), np.ones(400, np.float32)
    weight_R[150:200] = 0
    before = linear_sums(values, measured(values), TRAIN_M, WINDOW, last_value, weight_R)
    outside_M = TRAIN_M[(TRAIN_M >= 199) | (TRAIN_M + WINDOW.horizon < 150)]
    only = linear_sums(values, measured(values), outside_M, WINDOW, last_value, weight_R)
    np.testing.assert_allclose(before.flat(), only.flat(), rtol=1e-4, atol=1e-4)
    assert before.weight == 2 * len(outside_M)


def test_the_map_is_scikit_learns_at_the_penalty_it_chose() -> None:
    values = waves()
    train, validation = (
        linear_sums(values, measured(values), origins, WINDOW, last_value) for origins in (TRAIN_M, VALIDATION_M)
    )
    found_AH, penalty = solve(train, validation)
    rows = TRAIN_M[:, None] + np.arange(-11, 7)
    change = np.swapaxes(values[rows] - values[TRAIN_M][:, None], 1, 2).reshape(-1, 18).astype(float)
    x, y = change[:, :12], change[:, 12:]
    reference = ReferenceRidge(alpha=penalty * np.trace(np.cov(x.T, bias=True)) / 12 * len(x)).fit(x, y)
    np.testing.assert_allclose(found_AH[1:], reference.coef_.T, atol=2e-3)
    np.testing.assert_allclose(found_AH[0], reference.intercept_, atol=2e-3)


def test_noise_asks_for_a_larger_penalty_than_a_clean_cycle() -> None:
    def chosen(noise: float) -> float:
        values = waves(noise)
        sums = [linear_sums(values, measured(values), m, WINDOW, last_value) for m in (TRAIN_M[:40], VALIDATION_M)]
        return solve(*sums)[1]

    assert chosen(3.0) > chosen(0.0)


def test_what_was_not_measured_does_not_teach() -> None:
    values = waves()
    sums = linear_sums(values, np.zeros_like(values), TRAIN_M, WINDOW, last_value)
    assert sums.weight == 0
    assert not sums.xx_AA.any()
    assert np.isfinite(solve(sums, sums)[0]).all()


def test_many_windows_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "MAX_WINDOWS", 100)
    thin = spread(np.arange(1000), 2)
    assert 40 <= len(thin) <= 50
    assert np.ptp(thin) > 900
