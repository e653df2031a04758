"""Normal scores: where in a forecast distribution a value lies, and the value that lies there. Plain numbers.

A forecast is known by quantiles at a few levels. Between them its quantile function is a line over normal deviates, and
beyond the outermost the nearest line goes on: two-piece normal where there are three of them. Scores of what happened
need not be standard normal; their own distribution is what a forecast's spread was worth (a probability integral
transform, Dawid 1984; Gneiting et al. 2007), and drawing from it recalibrates.
Shapes: Q quantiles, any axes before.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MOST = 8.0
"""Largest score: what a forecast held for all but impossible is not drawn as worse than this."""


def scores(value: NDArray, quantile: NDArray, levels: Sequence[float], grain: NDArray | float, seed: int) -> NDArray:
    """Score of each value [...] among its quantiles [..., Q], float32.

    Args:
        grain: what two values must differ by to be told apart: 1 for counts. Where quantiles are tied, a value there is
            as likely any score of the tie: one is drawn (Czado, Gneiting & Held 2009).
    """
    grain = np.asarray(grain, np.float64)
    blurred = value / grain + np.random.default_rng(seed).uniform(-0.5, 0.5, value.shape)
    apart = untied(np.sort(quantile, axis=-1) / grain[..., None])
    deviate_Q = deviates(levels)
    at = np.clip((blurred[..., None] >= apart).sum(-1) - 1, 0, len(deviate_Q) - 2)
    low, high = _at(apart, at), _at(apart, at + 1)
    found = deviate_Q[at] + (blurred - low) / (high - low) * (deviate_Q[at + 1] - deviate_Q[at])
    return np.clip(found, -MOST, MOST).astype(np.float32)


def values(score: NDArray, quantile: NDArray, levels: Sequence[float]) -> NDArray:
    """The value at each score [...] of the distribution with these quantiles [..., Q], ascending."""
    deviate_Q = deviates(levels).astype(np.float32)
    at = np.clip(np.searchsorted(deviate_Q, score) - 1, 0, len(deviate_Q) - 2)
    low = _at(quantile, at)
    slope = (_at(quantile, at + 1) - low) / (deviate_Q[at + 1] - deviate_Q[at])
    found: NDArray = low + (score - deviate_Q[at]) * slope
    return found


def untied(grains: NDArray) -> NDArray:
    """Ascending quantiles in grains, rounded to whole ones, those that share one spread over it, float64."""
    whole = np.rint(grains)
    same = whole[..., 1:] == whole[..., :-1]
    before, after = np.zeros_like(whole), np.zeros_like(whole)
    for q in range(1, whole.shape[-1]):
        before[..., q] = np.where(same[..., q - 1], before[..., q - 1] + 1, 0)
    for q in range(whole.shape[-1] - 2, -1, -1):
        after[..., q] = np.where(same[..., q], after[..., q + 1] + 1, 0)
    spread: NDArray = whole + (before - after) / (2 * (before + after + 1))
    return spread


def deviates(levels: Sequence[float]) -> NDArray:
    """Standard normal quantiles at some levels, float64 [Q]."""
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def _at(values: NDArray, index: NDArray) -> NDArray:
    found: NDArray = np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return found
