"""How well paths hold single values, as sums that are added up: coverage, variance beside error, and a proper score.

Coverage is told by ranks: what happened lies above so many of W paths, and a rank is an interval of probability 1 / (W + 1)
(rank histograms, Hamill 2001), so few paths bias nothing and ties count in parts. The variance of paths and the squared
error of their mean are equal where paths and truth are exchangeable (Fortin et al. 2014).
Shapes: M values, W paths, K LEVELS; any axes after M and W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = (0.5, 0.8, 0.9)
"""Central intervals that are judged."""


@dataclass(frozen=True)
class Tally:
    """Sums over values that were measured, each with its paths, float64; leading axes alike."""

    inside: NDArray
    """Share of each value's rank that lies in the central intervals [..., K]."""
    variance: NDArray
    """Of the paths, as an error of their mean would have it: (W + 1) / W times the unbiased one."""
    error: NDArray
    """Squared, of the mean of the paths."""
    crps: NDArray
    """Continuous ranked probability score, fair to few paths (Ferro 2014)."""
    count: NDArray

    @classmethod
    def of(cls, path_MW: NDArray, actual_M: NDArray, measured_M: NDArray) -> Tally:
        """Of each value [M, ...] with its paths [M, W, ...], summed over M."""
        path_MW, num = np.sort(path_MW.astype(np.float64), axis=1), path_MW.shape[1]
        actual_M = actual_M.astype(np.float64)
        off_MW = path_MW - actual_M[:, None]
        below, tied = (off_MW < 0).sum(1), (off_MW == 0).sum(1)
        first, width = below / (num + 1), (tied + 1) / (num + 1)
        inside = np.stack(
            [
                np.clip(np.minimum(first + width, 0.5 + level / 2) - np.maximum(first, 0.5 - level / 2), 0, None)
                / width
                for level in LEVELS
            ],
            axis=-1,
        )
        mean, pairs = path_MW.mean(1), max(1, num - 1)
        variance = ((path_MW - mean[:, None]) ** 2).sum(1) / pairs * (num + 1) / num
        turn_W = (2 * np.arange(1, num + 1) - num - 1).reshape(-1, *[1] * (path_MW.ndim - 2))
        crps = np.abs(off_MW).mean(1) - (turn_W * path_MW).sum(1) / (num * pairs)
        counted = measured_M.astype(np.float64)
        return cls(
            (inside * counted[..., None]).sum(0),
            (variance * counted).sum(0),
            ((mean - actual_M) ** 2 * counted).sum(0),
            (crps * counted).sum(0),
            counted.sum(0),
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: values + vars(other)[name] for name, values in vars(self).items()})

    def pooled(self, *axes: int) -> Tally:
        """Summed over some axes of the values."""
        return Tally(**{name: values.sum(axes) for name, values in vars(self).items()})

    def coverage(self) -> NDArray:
        """[..., K]; NaN of nothing."""
        with np.errstate(invalid="ignore"):
            found: NDArray = self.inside / self.count[..., None]
        return found

    def ratio(self) -> float | None:
        """Variance of the paths over the squared error of their mean, the mean of the targets' ratios."""
        known = self.error > 0
        return float((self.variance[known] / self.error[known]).mean()) if known.any() else None
