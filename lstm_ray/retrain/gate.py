"""Whether a challenger takes the champion's place: better on what is new, and nowhere much worse. Errors in, verdict out.

The challenger must be better on the newest held-out stretch, which neither has seen, with a stated confidence (a paired test
over times, ``evaluate.paired``). And no slice may be much worse: the reference slice, which no challenger learns from, and of
both stretches each series (or tenth of the series, where there are many), third of the leads and target. Much worse is a
slice where the error grows by more than the bound, and the lower end of the 90 % interval around that growth lies beyond the
bound, too: a slice that only scatters is no reason. Where there are too few times for an interval, the growth itself decides.

Legend: M cases (windows, or labelled steps), C cells of a case (leads in thirds by targets; 1 for labels), S series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.paired import Paired
from lstm_ray.sections.operate import RetrainConfig

NEWEST, REFERENCE = "newest", "reference"
WHOLE = "all"
"""Name of the slice that is a whole stretch."""
OF_SERIES = "series '"
"""How names of slices begin that are one series; its name and a quotation mark follow."""
MANY, GROUPS = 20, 10
"""So many series are told one by one; more, in so many groups, from those that are easiest for the champion."""
Test = Callable[[NDArray, NDArray], Paired]
"""Gains [M] at steps [M] to what speaks for their mean: as ``paired.over_times`` with its horizon."""


@dataclass(frozen=True)
class Errors:
    """One policy's errors on some cases."""

    sum_MC: NDArray
    """Absolute errors in training deviations (1 for a class told wrong), summed over the measured values of each cell."""
    count_MC: NDArray
    """Those values."""
    num_not_finite: int = 0
    """Values that the policy could not tell."""


@dataclass(frozen=True)
class Stretch:
    """Both policies' errors on the same cases of a stretch of time."""

    name: str
    champion: Errors
    challenger: Errors
    step_M: NDArray
    """Origin of each window (step of each label) on the common time axis."""
    series_M: NDArray
    """Index into ``series``."""
    series: list[str]
    cells: Mapping[str, NDArray]
    """Slices within a case, bool [C] each, such as a third of the leads."""


@dataclass(frozen=True)
class Slice:
    """Both policies' mean errors on some cases, and how sure the difference is."""

    stretch: str
    name: str
    champion: float
    challenger: float
    num: int
    growth: float | None
    """The challenger's error over the champion's, less 1; None where the champion makes none."""
    interval: tuple[float, float] | None
    """That holds the growth with 90 %; None where there are too few times to tell."""
    p: float
    """How probable a gain this large is where there is none."""

    def much_worse(self, bound: float) -> bool:
        """Beyond the bound, and not by chance."""
        if self.growth is None:
            return self.challenger > 0
        low = self.growth if self.interval is None else self.interval[0]
        return self.growth > bound and low > bound


@dataclass(frozen=True)
class Verdict:
    """Whether it is promoted, why, and by which numbers."""

    promoted: bool
    reasons: list[str]
    """Against it, in words with numbers; where it is promoted, for it."""
    slices: list[Slice] = field(default_factory=list)
    """The whole newest stretch first."""

    def evidence(self) -> dict[str, Any]:
        """As plain values, for the ledger."""
        return {
            "promoted": self.promoted,
            "reasons": self.reasons,
            "slices": [
                {**vars(one), "interval": None if one.interval is None else list(one.interval)} for one in self.slices
            ],
        }


def judge(newest: Stretch, reference: Stretch, config: RetrainConfig, test: Test, smoke: str = "") -> Verdict:
    """The verdict.

    Args:
        smoke: what the bundle's smoke input says against it; empty: nothing.
    """
    against = [f"its bundle does not answer as the policy did: {smoke}"] if smoke else []
    for stretch in (newest, reference):
        if num := stretch.challenger.num_not_finite:
            against.append(f"{num:,} of its answers on the {stretch.name} stretch are not finite")
    if against:
        return Verdict(False, against)
    slices = [found for stretch in (newest, reference) for found in slices_of(stretch, test)]
    whole = slices[0]
    better = f"error {whole.challenger:.4g} on the newest {whole.num:,} cases, the champion's {whole.champion:.4g}"
    if not (whole.challenger < whole.champion and whole.p <= 1 - config.confidence):
        against.append(
            f"it is not better for sure: {better}, p {whole.p:.3g} where {1 - config.confidence:.3g} is asked"
        )
    against += [
        f"{one.stretch} stretch, {one.name}: the error grows by {_share(one.growth)}{_between(one)}, more than "
        f"{config.max_worse:.0%}"
        for one in slices
        if one.much_worse(config.max_worse)
    ]
    if against:
        return Verdict(False, against, slices)
    worst = max(slices, key=lambda one: one.growth or 0.0)
    held = f"nowhere much worse (at most {_share(worst.growth)}, {worst.stretch} stretch, {worst.name})"
    return Verdict(True, [f"better: {better}, p {whole.p:.3g}", held], slices)


def slices_of(stretch: Stretch, test: Test) -> Iterator[Slice]:
    """All of a stretch's slices, the whole first."""
    num_cells = stretch.champion.sum_MC.shape[1]
    all_M, all_C = np.ones(len(stretch.step_M), bool), np.ones(num_cells, bool)
    yield _slice(stretch, WHOLE, all_M, all_C, test)
    if len(stretch.series) > 1:
        for name, group_M in _by_series(stretch):
            yield _slice(stretch, name, group_M, all_C, test)
    for name, cells_C in stretch.cells.items():
        yield _slice(stretch, name, all_M, cells_C, test)


def _by_series(stretch: Stretch) -> Iterator[tuple[str, NDArray]]:
    num = len(stretch.series)
    if num <= MANY:
        for index, name in enumerate(stretch.series):
            if (own_M := stretch.series_M == index).any():
                yield f"{OF_SERIES}{name}'", own_M
        return
    total_S = np.bincount(stretch.series_M, stretch.champion.sum_MC.sum(axis=1), num)
    count_S = np.bincount(stretch.series_M, stretch.champion.count_MC.sum(axis=1), num)
    order_S = np.argsort(total_S / np.maximum(count_S, 1), kind="stable")
    for place, some in enumerate(np.array_split(order_S[count_S[order_S] > 0], GROUPS), 1):
        words = f"tenth {place} of {num} series, from the champion's easiest"
        yield words, np.isin(stretch.series_M, some)


def _slice(stretch: Stretch, name: str, cases_M: NDArray, cells_C: NDArray, test: Test) -> Slice:
    champion_M, challenger_M, count_M = (
        values_MC[:, cells_C].sum(axis=1)
        for values_MC in (stretch.champion.sum_MC, stretch.challenger.sum_MC, stretch.champion.count_MC)
    )
    held_M = cases_M & (count_M > 0)
    if not held_M.any():
        return Slice(stretch.name, name, 0.0, 0.0, 0, 0.0, None, 1.0)
    count_M, step_M = count_M[held_M], stretch.step_M[held_M]
    champion_M, challenger_M = champion_M[held_M] / count_M, challenger_M[held_M] / count_M
    found = test(champion_M - challenger_M, step_M)
    before, after = float(champion_M.mean()), float(challenger_M.mean())
    interval = None
    if found.interval is not None and before > 0:
        interval = (-found.interval[1] / before, -found.interval[0] / before)
    growth = after / before - 1 if before > 0 else None if after > 0 else 0.0
    return Slice(stretch.name, name, before, after, int(held_M.sum()), growth, interval, found.p)


def _share(growth: float | None) -> str:
    return "from nothing" if growth is None else f"{growth:+.1%}"


def _between(one: Slice) -> str:
    if one.interval is None:
        return " (too few times for an interval)"
    return f" (90 % interval {one.interval[0]:+.1%} to {one.interval[1]:+.1%})"
