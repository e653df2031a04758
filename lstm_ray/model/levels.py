"""What lies between the quantiles that a policy tells: other levels, and the mean. NumPy alone; knows no network.

A few quantiles are read as a quantile function that is a straight line between them, and beyond the outermost, over the
normal score of the level: exact where values are normal, and the way that futures are sampled. The mean is that function's
integral over all levels (Pearson & Tukey 1965 weigh quantiles likewise), so both are weights of the quantiles told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError

NORMAL = NormalDist()


def require_between(asked: Sequence[float], own: Sequence[float]) -> None:
    """Raises InputError for a level that lies outside those which a policy tells."""
    for level in asked:
        if own[0] <= level <= own[-1]:
            continue
        if len(own) == 1:
            raise InputError(f"quantile {level:g} was asked for, but this policy forecasts no quantiles; ask for none")
        raise InputError(
            f"quantile {level:g} is not known to this policy, whose lowest is {own[0]:g} and highest {own[-1]:g}; ask for "
            "levels between them, or train with others (model.quantiles)"
        )


def between(values_HCQ: NDArray, own: Sequence[float], asked: Sequence[float]) -> NDArray:
    """Quantiles [..., A] at levels within those told, [..., Q]."""
    return values_HCQ @ _weights(tuple(own), tuple(asked))


def mean(values_HCQ: NDArray, own: Sequence[float]) -> NDArray:
    """Means [...] of what has these quantiles [..., Q]; of a single one, itself."""
    return values_HCQ @ _mean_weights(tuple(own))


@lru_cache(maxsize=64)
def _weights(own: tuple[float, ...], asked: tuple[float, ...]) -> NDArray:
    """[Q, A]"""
    scores = [NORMAL.inv_cdf(level) for level in own]
    each = np.eye(len(own))
    return np.array([[np.interp(NORMAL.inv_cdf(level), scores, row) for level in asked] for row in each], np.float32)


@lru_cache(maxsize=64)
def _mean_weights(own: tuple[float, ...]) -> NDArray:
    """Of each stretch between two scores, the integral of a straight line under the normal density, [Q]."""
    if len(own) == 1:
        return np.ones(1, np.float32)
    scores = np.array([NORMAL.inv_cdf(level) for level in own])
    found = np.zeros(len(own))
    ends = [-np.inf, *scores[1:-1], np.inf]
    for q, (low, high) in enumerate(pairwise(ends)):
        share = _below(high) - _below(low)
        moment = _density(low) - _density(high)
        rise = (moment - share * scores[q]) / (scores[q + 1] - scores[q])
        found[q] += share - rise
        found[q + 1] += rise
    return found.astype(np.float32)


def _below(score: float) -> float:
    return float(score > 0) if np.isinf(score) else NORMAL.cdf(score)


def _density(score: float) -> float:
    return 0.0 if np.isinf(score) else NORMAL.pdf(score)
