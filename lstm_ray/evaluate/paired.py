"""Whether one policy's errors are smaller than another's on the same cases, or were so by luck. Knows errors, no models.

A gain is the other's error less one's own, so more than 0 is better. Tests are one-sided: how probable a mean gain this
large is where there is none. Shapes: M cases (windows, sequences, labelled steps), N times or blocks of time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from scipy.stats import binom

from lstm_ray.evaluate.skill import MAX_BLOCKS, MIN_BLOCKS

CONFIDENCE = 0.90
"""Of intervals: they lie above 0 just where the one-sided p is below 0.05."""


@dataclass(frozen=True)
class Paired:
    """The mean gain and what speaks for it."""

    gain: float
    """Mean, in the unit of the errors."""
    interval: tuple[float, float] | None
    """That holds the true one with 90 %; None where there are too few cases to tell."""
    p: float
    """1 where there are too few cases to tell."""
    num: int
    """Times, blocks or sequences compared."""
    test: str
    deviation: float | None = None
    """Standard error of the gain, with ``freedom`` degrees of freedom; None where there are too few cases."""
    freedom: float = 1.0

    def over_tries(self, gain_N: NDArray) -> Paired:
        """The same for several tries (seeds) whose mean gain this is: that other tries would have gained otherwise is
        one more reason for doubt, so its variance is added (degrees of freedom as of Satterthwaite 1946).

        Args:
            gain_N: the mean gain of each try.
        """
        if len(gain_N) < 2 or self.deviation is None:
            return self
        cases, tries = self.deviation**2, float(gain_N.var(ddof=1)) / len(gain_N)
        if tries == 0:
            return self
        both = cases + tries
        freedom = both**2 / (cases**2 / self.freedom + tries**2 / (len(gain_N) - 1))
        told = _told(self.gain, float(np.sqrt(both)), self.num, freedom, self.test)
        # Doubt makes a gain less certain, and a loss, too.
        return replace(told, p=max(self.p, told.p)) if self.gain > 0 else told


def over_times(gain_M: NDArray, step_M: NDArray, horizon: int, count_M: NDArray | None = None) -> Paired:
    """Of forecasts: the test of Diebold & Mariano (1995) with fixed-smoothing critical values (Coroneo & Iacone 2020).

    Series at the same time have much in common, so a time counts once, with their mean gain. Windows less than a horizon
    apart share steps: the variance of the mean is read off slow waves alone, and Student's t has as many degrees of freedom
    as there are waves. With few times to a horizon the test of Harvey, Leybourne & Newbold (1997) says three times too often
    that a gain is no luck; this one does not.

    Args:
        step_M: each window's origin on the common time axis.
        count_M: measured values of each window, by which windows at the same time are weighed.
    """
    weight_M = np.ones(len(gain_M)) if count_M is None else count_M
    step_N, of_M = np.unique(step_M, return_inverse=True)
    gain_N = np.bincount(of_M, gain_M * weight_M) / np.bincount(of_M, weight_M)
    mean, num, test = float(gain_N.mean()), len(gain_N), "Diebold-Mariano"
    if num <= horizon:
        return Paired(mean, None, 1.0, num, test)
    variance, waves = _variance_of_mean(gain_N - mean, step_N - step_N[0], horizon)
    return _told(mean, np.sqrt(variance), num, waves, test)


def over_blocks(gain_M: NDArray, step_M: NDArray, dependence_steps: int) -> Paired:
    """Of labels of steps: a paired t-test over blocks of time, each with the mean gain of its steps in all series.

    Args:
        dependence_steps: how far apart answers still share what they read; blocks are at least twice as long.
    """
    offset = step_M - step_M.min()
    length = max(2 * dependence_steps, -(-int(offset.max() + 1) // MAX_BLOCKS))
    _, block_M = np.unique(offset // length, return_inverse=True)
    gain_N = np.bincount(block_M, gain_M) / np.bincount(block_M)
    num, test = len(gain_N), "paired t over blocks of time"
    if num < MIN_BLOCKS:
        return Paired(float(gain_M.mean()), None, 1.0, num, test)
    return _told(float(gain_N.mean()), float(gain_N.std(ddof=1)) / np.sqrt(num), num, num - 1, test)


def over_cases(gain_M: NDArray, tries: int) -> Paired:
    """Of classes of independent sequences: the exact test that turns each sequence's gain round at random.

    Args:
        gain_M: how much oftener a sequence was told right, of so many ``tries``: a multiple of 1 / tries. With one try
            this is McNemar's exact test (1947), one-sided.
    """
    times_M = np.rint(gain_M * tries).astype(np.int64)
    num, mean = len(times_M), float(gain_M.mean())
    total, chance = int(times_M.sum()), np.ones(1)
    for size in range(1, tries + 1):
        count = int((np.abs(times_M) == size).sum())
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, spread)
    least = -(len(chance) // 2)
    p = float(min(1.0, chance[max(0, total - least) :].sum())) if np.any(times_M) else 1.0
    test = "exact McNemar" if tries == 1 else "exact sign-flip"
    if num < 2:
        return Paired(mean, None, p, num, test)
    return replace(_told(mean, float(gain_M.std(ddof=1)) / np.sqrt(num), num, num - 1, test), p=p)


def _variance_of_mean(centred_N: NDArray, offset_N: NDArray, horizon: int) -> tuple[float, int]:
    """Variance of the mean of correlated values, and the number of cosine waves that it was read off (Lazarus, Lewis, Stock
    & Watson 2018); times between them may be missing.

    Waves are slow beside what windows of a horizon share (half a wave is two horizons at least), and never more than what
    gains that stay alike for longer than that allow.
    """
    num, span = len(centred_N), int(offset_N[-1]) + 1
    waves = max(1, min(span // (2 * horizon), int(0.4 * num ** (2 / 3))))
    turn_JN = np.pi * np.arange(1, waves + 1)[:, None] * (offset_N + 0.5) / span
    return float(2 * np.mean((np.cos(turn_JN) @ centred_N) ** 2)) / num**2, waves


def _told(mean: float, deviation: float, num: int, freedom: float, test: str) -> Paired:
    deviation = float(deviation)
    if deviation == 0:
        # All gains are alike: certain where they are gains, and nothing at all where there is no difference.
        return Paired(mean, (mean, mean), 0.0 if mean > 0 else 1.0, num, test, 0.0, freedom)
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * deviation
    p = float(stdtr(freedom, -mean / deviation))
    return Paired(mean, (mean - reach, mean + reach), p, num, test, deviation, freedom)
