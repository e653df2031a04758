"""Stretches of steps with one class, told and true: how many were found, not how many steps. Knows classes; knows no model.

Legend: M labelled steps, J stretches told, I true ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERLAPS = (0.1, 0.25, 0.5)
"""Shares of the union of two stretches from which on they are the same, in the order of a SegmentSums."""


@dataclass(frozen=True)
class SegmentSums:
    """Counts of stretches. ``a + b`` is what one pass over the series of both would have given."""

    matched: tuple[int, ...]
    """True stretches that one told matches, for each of OVERLAPS."""
    told: int
    true: int

    def __add__(self, other: SegmentSums) -> SegmentSums:
        matched = tuple(mine + its for mine, its in zip(self.matched, other.matched, strict=True))
        return SegmentSums(matched, self.told + other.told, self.true + other.true)

    def f1(self) -> dict[str, float | None]:
        """By overlap, in percent: 2 * matched / (told + true), as F1@k of Lea et al. (2017); None without stretches."""
        both = self.told + self.true
        return {
            f"{100 * overlap:g}": 2 * count / both if both else None
            for overlap, count in zip(OVERLAPS, self.matched, strict=True)
        }


def segment_sums(told_M: NDArray, true_M: NDArray, row_M: NDArray, series_M: NDArray) -> SegmentSums:
    """Match stretches: runs of consecutive steps of a series with one class; a step without a label ends one.

    Each told stretch is held against the true one of its class that it shares most with (the first of equals); of several
    that claim one, only one matches.

    Args:
        told_M: class of each labelled step; ``true_M`` alike.
        row_M: each step's row, ascending.
        series_M: which stretch of data each step lies in.
    """
    if not len(row_M):
        return SegmentSums((0,) * len(OVERLAPS), 0, 0)
    apart_M = np.diff(row_M, prepend=row_M[0] - 2) != 1
    apart_M |= np.diff(series_M, prepend=series_M[0]) != 0
    of_told_M, told_J = _runs(told_M, apart_M)
    of_true_M, true_I = _runs(true_M, apart_M)
    # A told and a true stretch share one run of steps at most.
    first = np.flatnonzero(np.diff(of_told_M, prepend=-1) + np.diff(of_true_M, prepend=-1))
    told_P, true_P, shared = of_told_M[first], of_true_M[first], np.diff(first, append=len(row_M))
    union = np.bincount(of_told_M)[told_P] + np.bincount(of_true_M)[true_P] - shared
    overlap_P = np.where(told_J[told_P] == true_I[true_P], shared / union, 0.0)
    # By told stretch, the largest overlap first, the earlier of equals before the later.
    order = np.lexsort((true_P, -overlap_P, told_P))
    best = order[np.diff(told_P[order], prepend=-1) != 0]
    matched = tuple(len(np.unique(true_P[best][overlap_P[best] >= least])) for least in OVERLAPS)
    return SegmentSums(matched, len(told_J), len(true_I))


def _runs(class_M: NDArray, apart_M: NDArray) -> tuple[NDArray, NDArray]:
    """The run that each step lies in, and each run's class."""
    starts_M = apart_M | (np.diff(class_M, prepend=class_M[0]) != 0)
    return np.cumsum(starts_M) - 1, class_M[starts_M]
