"""When answers are wrong: by hour, weekday and month. Knows times and errors; knows no model.

Legend: M cases, G groups of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.words import DAYS, MONTHS
from lstm_ray.figure import Figure, bars

LEAST_CASES = 5
"""A group with fewer is left out: its mean is luck."""


CLOCKS: Mapping[str, tuple[Callable[[NDArray], NDArray], tuple[str, ...], str]] = {
    "hour": (calendar.hours, tuple(f"{hour} h" for hour in range(24)), "at"),
    "weekday": (calendar.weekdays, DAYS, "on"),
    "month": (calendar.months, MONTHS, "in"),
}
"""How to read a clock, what its hands show, and the word that goes before it."""


@dataclass(frozen=True)
class ByClock:
    """Mean errors by one way to read the clock."""

    clock: str
    names: list[str]
    count_G: NDArray
    error_G: dict[str, NDArray]
    """By model."""
    p: float
    """How probable means this uneven are where errors know nothing of the clock, nor of those at other times."""

    def extremes(self, name: str) -> tuple[int, int]:
        """Groups with the least and with the largest mean error."""
        return int(self.error_G[name].argmin()), int(self.error_G[name].argmax())

    def when(self, group: int) -> str:
        """As in a sentence: on Monday."""
        return f"{CLOCKS[self.clock][2]} {self.names[group]}"

    def figure(self, title: str, caption: str, y_title: str) -> Figure:
        """Bars for each model."""
        told = {name.replace("_", " "): error_G.tolist() for name, error_G in self.error_G.items()}
        return bars(f"error-by-{self.clock}", title, caption, self.names, told, y_title=y_title)


def by_clocks(local_M: NDArray | None, error_M: Mapping[str, NDArray]) -> list[ByClock]:
    """Mean errors by hour, weekday and month, of groups with LEAST_CASES cases; ways with fewer than two groups are left
    out.

    Args:
        local_M: times on the calendar's clock; None: there are none, and no answer.
        error_M: by model, the policy's first.
    """
    found = []
    for clock, (read, names, _) in CLOCKS.items() if local_M is not None else ():
        assert local_M is not None
        group_M, count_G = read(local_M), np.bincount(read(local_M), minlength=len(names))
        kept = np.flatnonzero(count_G >= LEAST_CASES)
        if len(kept) < 2:
            continue
        sums = {name: np.bincount(group_M, error, len(names))[kept] for name, error in error_M.items()}
        means = {name: total_G / count_G[kept] for name, total_G in sums.items()}
        inside = np.isin(group_M, kept)
        p = _uneven(local_M[inside], group_M[inside], next(iter(error_M.values()))[inside])
        found.append(ByClock(clock, [names[g] for g in kept], count_G[kept], means, p))
    return found


def _uneven(local_M: NDArray, group_M: NDArray, error_M: NDArray) -> float:
    """Of the spread between groups' means, against that between times: cases at the same time have much in common, so a
    time counts once (where each has one case, Pearson's chi-squared test)."""
    _, first, of_M = np.unique(local_M, return_index=True, return_inverse=True)
    error_T = np.bincount(of_M, error_M) / np.bincount(of_M)
    _, group_T = np.unique(group_M[first], return_inverse=True)
    count_G = np.bincount(group_T)
    variance = float(error_T.var())
    if variance == 0:
        return 1.0
    mean_G = np.bincount(group_T, error_T) / count_G
    return float(chdtrc(len(count_G) - 1, float((count_G * (mean_G - error_T.mean()) ** 2).sum()) / variance))
