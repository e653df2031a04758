"""Lengths of runs of missing time stamps, added up block by block. Knows nothing of missing values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from lstm_ray.data.timeline import order

LONGEST = (1, 6, 24, 168, 1000)
"""Steps of the longest gap in each class of lengths but the last, which is open."""
LENGTHS = ("1", "2-6", "7-24", "25-168", "169-1,000", "over 1,000")


@dataclass(frozen=True)
class Gaps:
    """Runs of steps that no row stands for, between rows of a series."""

    runs: tuple[int, ...] = (0,) * len(LENGTHS)
    """How many of each class of LENGTHS."""
    steps: int = 0
    """All steps that are missing."""
    longest: int = 0
    """Steps of the longest run, of equal ones the first by series and time."""
    series: str = ""
    """Where that is."""
    after: int = 0
    """The last tick before it."""

    def merge(self, other: Gaps) -> Gaps:
        """Those of two tables that share no series."""
        worse, _ = sorted((self, other), key=lambda gaps: (-gaps.longest, gaps.series, gaps.after))
        runs = tuple(a + b for a, b in zip(self.runs, other.runs, strict=True))
        return Gaps(runs, self.steps + other.steps, worse.longest, worse.series, worse.after)

    @property
    def words(self) -> str:
        """How many runs of which lengths there are, such as ``3 of 1 step, 2 of 7-24 steps``."""
        parts = zip(self.runs, LENGTHS, strict=True)
        return ", ".join(f"{n:,} of {length} step{'s' * (length != '1')}" for n, length in parts if n)


def gaps_of(frame: pl.DataFrame, step: int) -> Gaps:
    """The gaps of whole series.

    Args:
        frame: sorted by series and time, on the grid, before it is filled up (``grid.typed``).
        step: of that grid.
    """
    missing = order.runs_of(frame).between // step - 1
    rows = np.flatnonzero(missing > 0)
    if not len(rows):
        return Gaps()
    lengths = missing[rows]
    runs = np.bincount(np.searchsorted(LONGEST, lengths), minlength=len(LENGTHS))
    worst = int(rows[np.argmax(lengths)])
    after = int(order.ticks_of(frame)[worst - 1])
    return Gaps(tuple(runs.tolist()), int(lengths.sum()), int(lengths.max()), frame[order.SERIES][worst], after)
