"""How far values lie from those of training: PSI, Kolmogorov-Smirnov and Wasserstein distances. NumPy; knows no columns.

The last two are what SciPy's ``ks_2samp(grid, window).statistic`` and ``wasserstein_distance(grid, window)`` are, without the
p-value: that one takes values for independent, which steps of a series are not (``limits`` come from stretches of training).
A server needs no SciPy for them; tests hold them to SciPy's.
Shapes: K bins, G quantiles of training, S windows, W values of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEASURES = ("psi", "ks", "wasserstein_deviations")
SMALLEST = 1e-4
"""Share given to an empty bin, at the least: the logarithm of nothing would hide every other bin."""


def psi(expected_K: Sequence[float] | NDArray, found_K: NDArray) -> float:
    """Population stability index of counts against expected shares: 0 where they agree.

    An empty bin counts as half a value: of few values one is often empty by chance, and would outweigh all others.
    """
    expected, number = np.maximum(expected_K, SMALLEST), max(found_K.sum(), 1)
    found = np.maximum(found_K / number, max(0.5 / number, SMALLEST))
    return float(((found - expected) * np.log(found / expected)).sum())


def binned(edges: Sequence[float] | NDArray, values: NDArray) -> NDArray:
    """How many values each bin holds, float64 [K]: in bin k where ``edges[k - 1] < x <= edges[k]``."""
    edges = np.asarray(edges, dtype=np.float32)
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(np.float64)


def ks(grid: NDArray, window: NDArray) -> float:
    """Largest distance of the cumulative shares of two samples, each sorted."""
    at = np.concatenate([grid, window])
    one, other = (np.searchsorted(sample, at, side="right") / len(sample) for sample in (grid, window))
    return float(np.abs(one - other).max())


def wasserstein(grid: NDArray, window: NDArray) -> float:
    """Area between the cumulative shares of two samples, each sorted: how far values must move, on average."""
    at = np.sort(np.concatenate([grid, window]))
    one, other = (np.searchsorted(sample, at[:-1], side="right") / len(sample) for sample in (grid, window))
    return float((np.abs(one - other) * np.diff(at)).sum())


def unit(given: Mapping[str, Any]) -> float:
    """The training deviation; a column that stood still in training has none, and its own units stand in."""
    deviation: float = given["deviation"]
    return deviation if deviation > 1e-12 * (abs(given["mean"]) + 1) else 1.0


def measured(given: Mapping[str, Any], window_SW: NDArray, *, inside: bool = False) -> NDArray:
    """The MEASURES of windows against training, float64 [S, 3].

    Args:
        given: a column of a reference, with its ``grid``.
        window_SW: finite values.
        inside: windows are stretches of the training values, and are held against the others of these: against all, of
            which they are some, they would lie nearer than new values do.
    """
    grid = np.sort(np.asarray(given["grid"], dtype=np.float32)).astype(np.float64)
    sorted_SW = np.sort(window_SW.astype(np.float32), axis=1).astype(np.float64)
    shares_K, count, width = np.asarray(given["shares"]), given["count"], window_SW.shape[1]
    left = max(count - width, 1)
    # The distribution of all is the weighted mean of a stretch's and the rest's: so the distance grows by this.
    grown = count / left if inside else 1.0
    found = np.empty((len(window_SW), len(MEASURES)))
    for s, window in enumerate(sorted_SW):
        bins_K = binned(given["edges"], window)
        expected_K = np.maximum(count * shares_K - bins_K, 0) / left if inside else shares_K
        far = wasserstein(grid, window) / unit(given)
        found[s] = psi(expected_K, bins_K), grown * ks(grid, window), grown * far
    return found
