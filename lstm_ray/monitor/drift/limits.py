"""How far windows of data like training's lie from training, and the limits that they rarely pass. NumPy and SciPy.

Steps of a series are not independent, so the textbook p-value of a KS test, which takes them for it, would call most windows
shifted (Weiss 1978, "Modification of the Kolmogorov-Smirnov statistic for use with correlated data"): the mean of 200 values
of an AR(1) with a coefficient of 0.9 is known as well as that of 10. So limits come from stretches of the training part as
long as a window, each held against the rest of it. All columns and measures share one rate: each distance is told in its own
deviations, and the largest of a stretch decides (maxT, Westfall and Young 1993), which knows that they move together.

Stretches that do not overlap are few, so the far tail is an extrapolation: Gumbel's distribution, the limit of maxima, is
fitted by its moments to the largest of overlapping stretches, and widened as a prediction from so few must be (Student's t,
Hahn and Meeker 1991). Distances are fitted by their roots. On series made up (white, AR(1), daily, yearly, rain) 0.1 to 0.9 %
of 800 new windows each passed limits of 1 %; with a normal tail 1 to 5 % did, by the distances themselves up to 12 %. Where
training holds few windows, or seasons, limits are wide: what it has seen raises no alarm, and a limit is never below its
largest distance.
Shapes: S stretches, M measures of all columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gumbel_r, norm, t

FEWEST = 5
"""Stretches side by side without which no limit is told."""
MARGIN = 1.05
"""A limit over the largest distance in training."""
POWER = np.array([0.25, 0.5, 0.5])
"""By which PSI, KS and Wasserstein are fitted: PSI grows as the square of the others."""
LEAST = np.array([0.02, 0.02, 0.02])
"""Limits at the least, for columns that stand still in training."""
MOST = np.array([np.inf, 0.98, np.inf])
"""Limits at the most, unless training holds more: at a KS distance of 1 no value is like training's, whatever a tail says."""


def starts(num_apart: int, most: int) -> NDArray:
    """Where stretches begin, as shares of the way from the first to the last: a quarter of a window apart, or farther."""
    return np.linspace(0, 1, min(4 * num_apart, most))


def limits(distance_SM: NDArray, num_apart: int, num_columns: int, false_alarms: float) -> NDArray:
    """What this share of windows passes in any measure at most, [M].

    Args:
        distance_SM: of stretches against the rest of training, the measures of a column side by side.
        num_apart: how many stretches fit side by side.
        num_columns: whose measures they are.
    """
    power_M, least_M, most_M = (np.tile(each, num_columns) for each in (POWER, LEAST, MOST))
    root_SM = distance_SM**power_M
    mean_M, deviation_M = root_SM.mean(axis=0), root_SM.std(axis=0) * np.sqrt(num_apart / (num_apart - 1)) + 1e-9
    largest_S = ((root_SM - mean_M) / deviation_M).max(axis=1)
    scale = max(largest_S.std() * np.sqrt(6) / np.pi, 1e-9)
    quantile = gumbel_r.isf(false_alarms, loc=largest_S.mean() - np.euler_gamma * scale, scale=scale)
    # Of many columns the one farthest out decides, so the tail is as far out as a column's part of the rate.
    part = false_alarms / num_columns
    widened = t.isf(part, num_apart - 1) * np.sqrt(1 + 1 / num_apart) / norm.isf(part)
    fitted_M = (mean_M + deviation_M * quantile * widened) ** (1 / power_M)
    seen_M = MARGIN * distance_SM.max(axis=0)
    found: NDArray = np.maximum.reduce([np.minimum(fitted_M, most_M), seen_M, least_M])
    return found
