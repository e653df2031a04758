"""Two contenders at a time: how far apart they are, between which bounds, and how probable that is by luck alone.

Knows errors of cases; knows no runs and no files. Shapes: M cases, K contenders, T times, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.comparing.runs import Matched
from lstm_ray.evaluate.paired import Paired, over_blocks, over_cases, over_times
from lstm_ray.evaluate.skill import MIN_BLOCKS

SIGNIFICANT = 0.05
RESAMPLES = 2000
AT_A_TIME = 4_000_000
"""Numbers of resamples that are held at a time."""


@dataclass(frozen=True)
class Pair:
    """Two contenders on the same cases."""

    better: str
    """The one with the smaller mean error; of equals the first."""
    other: str
    difference: float
    """Mean error of the other less that of the better one, at least 0."""
    share: float | None
    """Of the other's error; None where it makes none."""
    interval: tuple[float, float] | None
    """Of the difference, 95 %: moving blocks of time, drawn anew for all series at once; None where too few blocks."""
    p: float
    """Two-sided, of the test below."""
    adjusted: float
    """The same after Holm (1979), over all pairs of runs, or over all of a run and a baseline."""
    test: str

    @property
    def is_clear(self) -> bool:
        return self.adjusted < SIGNIFICANT


def pairs(found: Matched, seed: int = 0) -> list[Pair]:
    """Every pair that holds a run; baselines among themselves are not tested.

    Pairs of runs are what is asked, and stand first; that runs are held against baselines, too, does not make them less
    certain: Holm's correction is made for either kind of pair by itself.
    """
    chosen = [(a, b) for a, b in combinations(range(len(found.names)), 2) if a < found.num_runs]
    chosen.sort(key=lambda pair: pair[1] >= found.num_runs)
    apart = bootstrap(found, chosen, seed)
    told = [_pair(found, a, b, interval) for (a, b), interval in zip(chosen, apart, strict=True)]
    number = sum(b < found.num_runs for _, b in chosen)
    adjusted = holm([pair.p for pair in told[:number]]) + holm([pair.p for pair in told[number:]])
    return [replace(pair, adjusted=p) for pair, p in zip(told, adjusted, strict=True)]


def _pair(found: Matched, a: int, b: int, interval: tuple[float, float] | None) -> Pair:
    mean_K = found.error_MK.mean(axis=0)
    if mean_K[b] < mean_K[a]:
        a, b = b, a
        interval = interval and (-interval[1], -interval[0])
    gain_M = found.error_MK[:, b] - found.error_MK[:, a]
    # Two one-sided tests, of which at most one is below a half.
    ahead, behind = _tested(gain_M, found), _tested(-gain_M, found)
    p = min(1.0, 2 * min(ahead.p, behind.p))
    difference = float(mean_K[b] - mean_K[a])
    share = difference / float(mean_K[b]) if mean_K[b] > 0 else None
    return Pair(found.names[a], found.names[b], difference, share, interval, p, p, ahead.test)


def _tested(gain_M: NDArray, found: Matched) -> Paired:
    if found.task == "forecast":
        return over_times(gain_M, found.step_M, found.horizon)
    if found.task == "classify":
        return over_cases(gain_M, 1)
    return over_blocks(gain_M, found.step_M, found.dependence)


def holm(p_P: Sequence[float]) -> list[float]:
    """P-values of some tests so adjusted that any is below a level by luck with that probability at most (Holm 1979)."""
    order = sorted(range(len(p_P)), key=lambda at: p_P[at])
    adjusted, highest = [1.0] * len(p_P), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_P) - rank) * p_P[at]))
        adjusted[at] = highest
    return adjusted


def bootstrap(
    found: Matched, chosen: Sequence[tuple[int, int]], seed: int = 0, confidence: float = 0.95
) -> list[tuple[float, float] | None]:
    """Of each pair (a, b) an interval of b's mean error less a's, from moving blocks of time (Künsch 1989; circular as of
    Politis & Romano 1992) that hold all series, so that what series have in common stays.

    Returns None for each pair where the time spans fewer than MIN_BLOCKS blocks.
    """
    # Whole sequences are independent: each is a time of its own.
    num = len(found.step_M)
    step_M, apart = (np.arange(num), 1) if found.task == "classify" else (found.step_M, found.dependence)
    times, at_M = np.unique(step_M, return_inverse=True)
    size = 1 if apart == 1 else 2 * apart
    span = int(times[-1] - times[0]) + 1
    if span < MIN_BLOCKS * size:
        return [None] * len(chosen)
    at_M = times[at_M] - times[0]
    gain_MP = np.stack([found.error_MK[:, b] - found.error_MK[:, a] for a, b in chosen], axis=1)
    sums_TP = np.stack([np.bincount(at_M, gain_MP[:, p], minlength=span) for p in range(len(chosen))], axis=1)
    both_TX = np.concatenate([sums_TP, np.bincount(at_M, minlength=span)[:, None]], axis=1)
    # A block's sum is the difference of two running sums, round the end.
    running_TX = np.concatenate(
        [np.zeros((1, both_TX.shape[1])), np.cumsum(np.concatenate([both_TX, both_TX[:size]]), axis=0)]
    )
    block_TX = running_TX[size : size + span] - running_TX[:span]
    random, number = np.random.default_rng(seed), -(-span // size)
    at_once = max(1, AT_A_TIME // (number * both_TX.shape[1]))
    drawn = []
    for first in range(0, RESAMPLES, at_once):
        starts_BN = random.integers(0, span, (min(at_once, RESAMPLES - first), number))
        total_BX = block_TX[starts_BN].sum(axis=1)
        drawn.append(total_BX[:, :-1] / np.maximum(total_BX[:, -1:], 1))
    low, high = np.quantile(np.concatenate(drawn), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
