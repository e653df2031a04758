"""How much better than a baseline, and how sure that is. Knows errors by window or by case; knows no model.

Windows a step apart share nearly all their steps, so their errors are anything but independent: intervals come from
leaving out long blocks of time, across all series at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtrit

MIN_BLOCKS, MAX_BLOCKS = 8, 20
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Skill:
    """Share of a baseline's error that is gone (negative: error was added), with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None
    """None where the test part is too short to tell: fewer than MIN_BLOCKS blocks."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def skill(error_M: NDArray, baseline_M: NDArray, step_M: NDArray, dependence_steps: int) -> Skill | None:
    """1 - sum(error) / sum(baseline error), with a delete-one-block jackknife interval (Künsch 1989).

    Args:
        error_M: each window's sum of absolute errors; ``baseline_M`` the baseline's on the same measured steps.
        step_M: each window's origin on the common time axis.
        dependence_steps: how far apart windows still share errors; blocks are at least twice as long.

    Returns:
        None where the baseline makes no error at all.
    """
    if baseline_M.sum() == 0:
        return None
    value = 1 - float(error_M.sum() / baseline_M.sum())
    offset = step_M - step_M.min()
    length = max(2 * dependence_steps, -(-int(offset.max() + 1) // MAX_BLOCKS))
    block = offset // length
    _, block = np.unique(block, return_inverse=True)
    num = int(block.max()) + 1
    if num < MIN_BLOCKS:
        return Skill(value, None)
    left_out = 1 - (error_M.sum() - np.bincount(block, error_M)) / (baseline_M.sum() - np.bincount(block, baseline_M))
    if not np.isfinite(left_out).all():
        return Skill(value, None)
    deviation = float(np.sqrt((num - 1) / num * ((left_out - left_out.mean()) ** 2).sum()))
    reach = float(stdtrit(num - 1, (1 + CONFIDENCE) / 2)) * deviation
    return Skill(value, (value - reach, value + reach))


def paired_p(right_M: NDArray, baseline_right_M: NDArray) -> float:
    """Exact McNemar test: how probable so lopsided a set of cases that only one of two classifiers gets right is, were
    both equally good (McNemar 1947). 1 where they never differ."""
    only = int((right_M & ~baseline_right_M).sum())
    other = int((~right_M & baseline_right_M).sum())
    return min(1.0, 2 * float(bdtr(min(only, other), only + other, 0.5))) if only + other else 1.0
