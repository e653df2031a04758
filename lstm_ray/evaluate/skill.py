"""How much better than a baseline, and how sure that is. Knows errors by window or by case; knows no model.

Windows a step apart share nearly all their steps, so their errors are anything but independent: intervals come from
leaving out long blocks of time, across all series at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    value, reach = block_jackknife(lambda error, bar: 1 - error / bar, [error_M, baseline_M], step_M, dependence_steps)
    if reach is None or not np.isfinite(reach):
        return Skill(float(value), None)
    return Skill(float(value), (float(value - reach), float(value + reach)))


def mean_interval(value_M: NDArray, step_M: NDArray, dependence_steps: int) -> tuple[NDArray, NDArray | None]:
    """Mean over windows of values [M, ...], and how far its 95 % interval reaches to either side; None where too few blocks
    tell it."""
    return block_jackknife(np.divide, [value_M, np.ones_like(value_M)], step_M, dependence_steps)


def block_jackknife(
    statistic: Callable[..., NDArray], parts: Sequence[NDArray], step_M: NDArray, dependence_steps: int
) -> tuple[NDArray, NDArray | None]:
    """A statistic of sums over windows, and how far its 95 % interval reaches to either side.

    Args and None as in ``standard_error``."""
    value, deviation, num = standard_error(statistic, parts, step_M, dependence_steps)
    if deviation is None:
        return value, None
    return value, float(stdtrit(num - 1, (1 + CONFIDENCE) / 2)) * deviation


def standard_error(
    statistic: Callable[..., NDArray], parts: Sequence[NDArray], step_M: NDArray, dependence_steps: int
) -> tuple[NDArray, NDArray | None, int]:
    """A statistic of sums over windows, its standard error by leaving out one block of time after another (Künsch 1989),
    and the number of blocks.

    Args:
        statistic: of the sum over windows of each part, with any further axes as they are.
        parts: [M, ...] each.
        step_M: each window's origin on the common time axis.
        dependence_steps: how far apart windows still share steps; blocks are at least twice as long.

    Returns:
        None for the error where there are fewer than MIN_BLOCKS blocks; not finite where the statistic is not without one.
    """
    parts = [part.astype(np.float64) for part in parts]
    total = [part.sum(0) for part in parts]
    value = statistic(*total)
    offset = step_M - step_M.min()
    length = max(2 * dependence_steps, -(-int(offset.max() + 1) // MAX_BLOCKS))
    _, block_M = np.unique(offset // length, return_inverse=True)
    num = int(block_M.max()) + 1
    if num < MIN_BLOCKS:
        return value, None, num
    without = []
    for part, whole in zip(parts, total, strict=True):
        block_NX = np.zeros((num, *part.shape[1:]))
        np.add.at(block_NX, block_M, part)
        without.append(whole - block_NX)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = statistic(*without)
    deviation = np.sqrt((num - 1) / num * ((left_out - left_out.mean(0)) ** 2).sum(0))
    return value, deviation, num


def paired_p(right_M: NDArray, baseline_right_M: NDArray) -> float:
    """Exact McNemar test: how probable so lopsided a set of cases that only one of two classifiers gets right is, were
    both equally good (McNemar 1947). 1 where they never differ."""
    only = int((right_M & ~baseline_right_M).sum())
    other = int((~right_M & baseline_right_M).sum())
    return min(1.0, 2 * float(bdtr(min(only, other), only + other, 0.5))) if only + other else 1.0
