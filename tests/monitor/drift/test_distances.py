"""Distances from training, held to SciPy's and to sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from lstm_ray.monitor.drift.distances import MEASURES, binned, measured, psi
from lstm_ray.monitor.drift.drift import reference_column

RANDOM = np.random.default_rng(5)
TRAINING = {
    "normal": RANDOM.normal(3, 2, 4_000),
    "skewed": np.exp(RANDOM.normal(size=4_000)),
    "rain": np.maximum(RANDOM.normal(size=4_000) - 1, 0),
    "a switch": RANDOM.integers(0, 2, 4_000).astype(float),
}


def given(values: np.ndarray, grid: np.ndarray | None = None) -> dict:
    found = reference_column(values)
    assert found is not None
    return found | {"grid": (values if grid is None else grid).tolist()}


@pytest.mark.parametrize("name", TRAINING)
def test_distances_are_those_of_scipy_and_of_sums_written_out(name: str) -> None:
    training = TRAINING[name].astype(np.float32)
    column = given(training, np.quantile(training, (np.arange(200) + 0.5) / 200, method="inverted_cdf"))
    for shift in (0.0, 0.4, -7.0):
        window = (TRAINING[name][:300] + shift).astype(np.float32)
        found = dict(zip(MEASURES, measured(column, window[None])[0], strict=True))
        grid = np.asarray(column["grid"])
        assert found["ks"] == pytest.approx(ks_2samp(grid, window, method="asymp").statistic, abs=1e-12)
        expected = wasserstein_distance(grid, window.astype(np.float64)) / column["deviation"]
        assert found["wasserstein_deviations"] == pytest.approx(expected, rel=1e-9)
        edges = [-np.inf, *column["edges"], np.inf]
        total = 0.0
        for low, high, share in zip(edges[:-1], edges[1:], column["shares"], strict=True):
            here = max(np.mean([low < np.float64(value) <= high for value in window]), 0.5 / len(window))
            total += (here - max(share, 1e-4)) * np.log(here / max(share, 1e-4))
        assert found["psi"] == pytest.approx(total)


@pytest.mark.parametrize("name", TRAINING)
def test_a_stretch_of_training_is_held_against_the_others_values(name: str) -> None:
    training = TRAINING[name].astype(np.float32)
    window, rest = training[1_000:1_500], np.delete(training, np.arange(1_000, 1_500))
    found = dict(zip(MEASURES, measured(given(training), window[None], inside=True)[0], strict=True))
    column = given(training)
    assert found["ks"] == pytest.approx(ks_2samp(rest, window, method="asymp").statistic, abs=1e-9)
    apart = wasserstein_distance(rest.astype(np.float64), window.astype(np.float64)) / column["deviation"]
    assert found["wasserstein_deviations"] == pytest.approx(apart, rel=1e-6)
    shares = binned(column["edges"], rest) / len(rest)
    assert found["psi"] == pytest.approx(psi(shares, binned(column["edges"], window)))


def test_equal_values_lie_nowhere_else() -> None:
    values = TRAINING["normal"][:400].astype(np.float32)
    np.testing.assert_allclose(measured(given(values), values[None]), 0, atol=1e-12)
