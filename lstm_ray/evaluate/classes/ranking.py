"""How well a score tells one class from the others: counts by score that add over batches. Knows scores; knows no model.

Legend: M cases, N different scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SCORES = 100_000
"""Different scores that are counted apart. Of more, neighbours are counted together, at least half as many cells."""
HALF = int(np.float64(0.5).view(np.int64))


@dataclass(frozen=True)
class Ranking:
    """Cases of a class and of all others by the probability that it was given.

    ``a + b`` is exactly what one pass over both would have given, however cases are dealt: cells of a coarser level are
    unions of a finer one's, and the level is the finest at which all scores seen fit into MAX_SCORES cells.
    """

    cell_N: NDArray
    """int64, ascending: a probability's place among all doubles, its last ``level`` bits dropped."""
    count_N2: NDArray
    """int64: how many others and how many of the class fell into each cell."""
    level: int = 0

    def __add__(self, other: Ranking) -> Ranking:
        level = max(self.level, other.level)
        cell_M = np.concatenate([one.cell_N >> (level - one.level) for one in (self, other)])
        order = np.argsort(cell_M, kind="stable")
        counts = np.concatenate([self.count_N2, other.count_N2])[order]
        return _thinned(*_merged(cell_M[order], counts), level)

    @property
    def num(self) -> tuple[int, int]:
        """How many others and how many of the class there were."""
        others, positives = self.count_N2.sum(axis=0)
        return int(others), int(positives)

    def roc_auc(self) -> float | None:
        """Probability that a case of the class scores above another, ties counted as a half (Hanley & McNeil 1982); None
        where either is missing."""
        false_N, found_N = self.roc()
        if not all(self.num):
            return None
        return float(np.diff(false_N) @ (found_N[1:] + found_N[:-1]) / 2)

    def pr_auc(self) -> float | None:
        """Average precision: precision at each score, weighed by the recall that it adds; None as for ``roc_auc``."""
        if not all(self.num):
            return None
        found_N, precision_N = self.precision_recall()
        return float(np.diff(found_N, prepend=0.0) @ precision_N)

    def roc(self) -> tuple[NDArray, NDArray]:
        """Share of the others that is taken for the class, and share of the class that is found, at thresholds from above
        the highest score down."""
        above_N2 = np.concatenate([np.zeros((1, 2), np.int64), self._from_above()])
        false_N, found_N = (above_N2 / np.maximum(self.num, 1)).T
        return false_N, found_N

    def precision_recall(self) -> tuple[NDArray, NDArray]:
        """Share of the class that is found and how much of what is taken for it is right, at thresholds down from the
        highest score."""
        above_N2 = self._from_above()
        return above_N2[:, 1] / max(self.num[1], 1), above_N2[:, 1] / above_N2.sum(axis=1)

    def _from_above(self) -> NDArray:
        """Counts at or above each score, from the highest down, [N, 2]."""
        counts: NDArray = np.cumsum(self.count_N2[::-1], axis=0)
        return counts


def ranking(probability_M: NDArray, is_class_M: NDArray) -> Ranking:
    """Counts of a batch; probabilities lie in [0, 1]."""
    # What was so in the last bit: one sort of whole numbers is all that many cases take.
    both_M = np.sort(_place(probability_M).astype(np.uint64) * 2 + np.asarray(is_class_M, dtype=np.uint64))
    cell_M = (both_M >> 1).astype(np.int64)
    first = np.flatnonzero(np.diff(cell_M, prepend=-1))
    if not len(first):
        return Ranking(cell_M, np.zeros((0, 2), dtype=np.int64))
    positive_N = np.add.reduceat((both_M & 1).astype(np.int64), first)
    all_N = np.diff(first, append=len(cell_M))
    return _thinned(cell_M[first], np.stack([all_N - positive_N, positive_N], axis=1), 0)


def _place(probability_M: NDArray) -> NDArray:
    """Doubles numbered in their order, so that close to 1 as close to 0 neighbours differ by little, relative to what is
    left to it: 1 less a double above a half is exact. int64 [M]"""
    probability = np.clip(np.asarray(probability_M, dtype=np.float64), 0.0, 1.0) + 0.0  # no -0
    low, high = np.minimum(probability, 0.5), 1 - np.maximum(probability, 0.5)
    places: NDArray = np.where(probability <= 0.5, low.view(np.int64), 2 * HALF - high.view(np.int64))
    return places


def _merged(cell_M: NDArray, count_M2: NDArray) -> tuple[NDArray, NDArray]:
    """Each cell once, of cells in ascending order."""
    first = np.flatnonzero(np.diff(cell_M, prepend=-1))
    return cell_M[first], np.add.reduceat(count_M2, first, axis=0) if len(first) else count_M2


def _thinned(cell_N: NDArray, count_N2: NDArray, level: int) -> Ranking:
    if len(cell_N) <= MAX_SCORES:
        return Ranking(cell_N, count_N2, level)
    # Neighbours become one cell when all bits in which they differ are dropped: so many that MAX_SCORES - 1 pairs stay apart.
    differ = cell_N[1:] ^ cell_N[:-1]
    dropped = int(np.partition(differ, -MAX_SCORES)[-MAX_SCORES]).bit_length()
    return Ranking(*_merged(cell_N >> dropped, count_N2), level + dropped)
