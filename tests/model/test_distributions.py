"""Likelihoods and quantiles agree with SciPy's, counts are whole and quantiles never cross."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lstm_ray.model.distributions import MIN_FREEDOM, NUM_PARAMETERS, negative_log_likelihood, quantiles

LEVELS = [0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.45, 0.5, 0.55, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999]
MEANS = torch.tensor([0.01, 0.3, 1, 5, 20, 100, 240, 260, 300, 500, 1e3, 1e4, 1e5, 1e6])
DISPERSIONS = torch.tensor([1e-3, 0.01, 0.1, 0.12, 0.13, 0.3, 0.5, 1, 2, 5, 10])


def scipy_of(name: str, parameters: np.ndarray) -> object:
    first, second, *more = np.moveaxis(parameters.astype(np.float64), -1, 0)
    if name == "gaussian":
        return stats.norm(first, second)
    if name == "student_t":
        return stats.t(more[0], first, second)
    return stats.nbinom(1 / second, 1 / (1 + second * first))


def random_parameters(name: str, size: int = 200) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    parameters = torch.rand(size, NUM_PARAMETERS[name], generator=draw) * 5 + 0.05
    if name == "student_t":
        parameters[:, 2] = MIN_FREEDOM + parameters[:, 2] ** 3
    return parameters


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_likelihoods_are_scipy_s(name: str) -> None:
    parameters, scipy = random_parameters(name), scipy_of(name, random_parameters(name).numpy())
    actual = torch.arange(200.0) % 37 if name == "negative_binomial" else torch.linspace(-9, 9, 200)
    density = scipy.logpmf if name == "negative_binomial" else scipy.logpdf  # type: ignore[attr-defined]
    found = negative_log_likelihood(name, parameters, actual)
    np.testing.assert_allclose(found.numpy(), -density(actual.numpy()), rtol=1e-4, atol=1e-4)


def test_large_counts_keep_their_likelihood() -> None:
    parameters, counts = torch.tensor([[1e6, 0.1], [3e6, 0.01]]), torch.tensor([1.2e6, 2.9e6])
    expected = -scipy_of("negative_binomial", parameters.numpy()).logpmf(counts.numpy())  # type: ignore[attr-defined]
    np.testing.assert_allclose(negative_log_likelihood("negative_binomial", parameters, counts), expected, rtol=1e-4)


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_the_likelihood_falls_towards_the_truth_by_its_gradient(name: str) -> None:
    parameters = random_parameters(name, 50).requires_grad_()
    negative_log_likelihood(name, parameters, torch.full((50,), 9.0)).sum().backward()
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()
    assert (parameters.grad[:, 0] < 0).all(), "all means lie below"


def test_quantiles_of_the_normal_and_of_student_s_t_are_scipy_s() -> None:
    freedom = torch.cat([torch.linspace(MIN_FREEDOM, 6, 100), torch.logspace(0.8, 5, 50)])
    found = quantiles("student_t", torch.stack([freedom * 0, freedom * 0 + 1, freedom], -1), LEVELS)
    expected = stats.t.ppf(np.array(LEVELS), freedom.numpy().astype(float)[:, None])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-9)
    for name in ("gaussian", "student_t"):
        parameters = random_parameters(name)
        expected = scipy_of(name, parameters.numpy()[:, None]).ppf(np.array(LEVELS))  # type: ignore[attr-defined]
        np.testing.assert_allclose(quantiles(name, parameters, LEVELS).numpy(), expected, rtol=1e-3, atol=5e-3)


def test_quantiles_of_counts_are_scipy_s_exactly_where_small_and_closely_where_large() -> None:
    parameters = torch.cartesian_prod(MEANS, DISPERSIONS)
    found = quantiles("negative_binomial", parameters, LEVELS).numpy()
    expected = scipy_of("negative_binomial", parameters.numpy()[:, None]).ppf(np.array(LEVELS))  # type: ignore[attr-defined]
    small = expected < 256
    assert small.mean() > 0.3
    np.testing.assert_array_equal(found[small], expected[small])
    mean, dispersion = parameters.T.numpy()[:, :, None]
    deviation = np.sqrt(mean + dispersion * mean**2)
    assert (np.abs(found - expected) / np.broadcast_to(deviation, found.shape))[~small].max() < 0.01
    assert np.array_equal(found, np.round(found))


@given(
    st.sampled_from(sorted(NUM_PARAMETERS)),
    st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 10), st.floats(MIN_FREEDOM, 200)),
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=6, unique=True),
)
def test_quantiles_never_cross(name: str, given_parameters: tuple[float, ...], levels: list[float]) -> None:
    parameters = torch.tensor(given_parameters[: NUM_PARAMETERS[name]]).reshape(1, 1, -1)
    found = quantiles(name, parameters, sorted(levels))
    assert found.shape == (1, 1, len(levels))
    assert (found.diff() >= 0).all()


def test_the_median_of_a_symmetric_distribution_is_its_centre() -> None:
    for name in ("gaussian", "student_t"):
        parameters = random_parameters(name)
        assert torch.equal(quantiles(name, parameters, [0.5])[:, 0], parameters[:, 0])
