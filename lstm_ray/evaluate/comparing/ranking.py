"""Who comes first how often: ranks over series, or over blocks of time where series are few (Demsar 2006).

Knows errors of cases; knows no runs and no files. Shapes: M cases, K contenders, N series or blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f, rankdata, studentized_range, wilcoxon

from lstm_ray.evaluate.comparing.pairs import SIGNIFICANT, holm
from lstm_ray.evaluate.comparing.runs import Matched

FEWEST = 6
"""Series or blocks, at least: of five, even five wins in a row happen by luck in one of 16 comparisons."""
MOST_BLOCKS = 40
SEQUENCES = 10
"""Sequences of a block, at least."""


@dataclass(frozen=True)
class Ranking:
    """Average ranks, the best first, and who cannot be told apart."""

    over: str
    """What was ranked over, in words: ``27 series``."""
    num: int
    names: list[str]
    ranks: list[float]
    """Average rank of each; equals share theirs."""
    p: float | None
    """That ranks differ so much by luck (Friedman 1937, as F of Iman & Davenport 1980); None for two contenders, whose
    Wilcoxon test says it all."""
    critical: float
    """Nemenyi's critical difference: average ranks farther apart differ, whoever they are of."""
    adjusted: dict[tuple[str, str], float]
    """p of each pair: Wilcoxon's signed-rank test (1945) with Holm's correction (Benavoli, Corani & Mangili 2016)."""
    groups: list[list[str]]
    """Neighbours in rank of whom no two can be told apart, from two on."""


def ranking(found: Matched) -> Ranking | None:
    """Ranks over series where there are FEWEST, else over blocks of time; None where these are too few as well."""
    group_M, words = _groups(found)
    num = int(group_M.max()) + 1
    if num < FEWEST:
        return None
    count_N = np.bincount(group_M, minlength=num)
    error_NK = np.stack([np.bincount(group_M, error, minlength=num) / count_N for error in found.error_MK.T], axis=1)
    return rank(error_NK, found.names, words)


def rank(error_NK: NDArray, names: Sequence[str], words: str) -> Ranking:
    """Contenders by their mean errors in each of some series or blocks."""
    num, contenders = error_NK.shape
    average_K = rankdata(error_NK.round(12), axis=1).mean(axis=0)
    order = np.argsort(average_K, kind="stable")
    ordered = [names[k] for k in order]
    couples = list(combinations(range(contenders), 2))
    raw = [_wilcoxon(error_NK[:, order[a]] - error_NK[:, order[b]]) for a, b in couples]
    adjusted = dict(zip(couples, holm(raw), strict=True))
    critical = studentized_range.ppf(1 - SIGNIFICANT, contenders, np.inf) / np.sqrt(2)
    return Ranking(
        over=words,
        num=num,
        names=ordered,
        ranks=[float(average_K[k]) for k in order],
        p=_friedman(error_NK) if contenders > 2 else None,
        critical=float(critical * np.sqrt(contenders * (contenders + 1) / (6 * num))),
        adjusted={(ordered[a], ordered[b]): p for (a, b), p in adjusted.items()},
        groups=[[ordered[k] for k in range(first, last + 1)] for first, last in _cliques(adjusted, contenders)],
    )


def _groups(found: Matched) -> tuple[NDArray, str]:
    """Each case's series or block, from 0 without gaps, and what these are in words."""
    if found.task != "classify" and len(found.series) >= FEWEST:
        return found.series_M, f"{len(found.series):,} series"
    if found.task == "classify":
        # A sequence is right or wrong; only shares of some can be ranked.
        num = min(MOST_BLOCKS, len(found.step_M) // SEQUENCES)
        block_M = np.arange(len(found.step_M)) * max(num, 1) // len(found.step_M)
        return block_M, f"{num} blocks of sequences in their order"
    span = int(found.step_M.max()) + 1
    length = max(2 * found.dependence, -(-span // MOST_BLOCKS))
    _, block_M = np.unique(found.step_M // length, return_inverse=True)
    few = f"{len(found.series)} series are" if len(found.series) > 1 else "one series is"
    return block_M, f"{int(block_M.max()) + 1} blocks of {length:,} steps ({few} too few to rank over)"


def _wilcoxon(difference_N: NDArray) -> float:
    different = difference_N[np.abs(difference_N) > 1e-12]
    return float(wilcoxon(different).pvalue) if len(different) else 1.0


def _friedman(error_NK: NDArray) -> float:
    """Of the null that all contenders are equally good, with Iman & Davenport's F, exact about ties."""
    num, contenders = error_NK.shape
    rank_NK = rankdata(error_NK.round(12), axis=1)
    spread = (rank_NK**2).sum() - num * contenders * (contenders + 1) ** 2 / 4
    if spread <= 0:
        return 1.0
    chi = (contenders - 1) * ((rank_NK.sum(axis=0) - num * (contenders + 1) / 2) ** 2).sum() / spread
    left = num * (contenders - 1) - chi
    if left <= 1e-12:
        return 0.0
    return float(f.sf((num - 1) * chi / left, contenders - 1, (contenders - 1) * (num - 1)))


def _cliques(adjusted: dict[tuple[int, int], float], number: int) -> list[tuple[int, int]]:
    """Longest runs of neighbours in rank without a pair that differs; first and last of each."""
    found: list[tuple[int, int]] = []
    for first in range(number):
        last = first
        while last + 1 < number and all(adjusted[at, last + 1] >= SIGNIFICANT for at in range(first, last + 1)):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return found
