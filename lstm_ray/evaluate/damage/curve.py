"""A score against the severity of one kind of damage, with its sampling error and where a baseline overtakes. Knows numbers.

Shapes: M cases (windows, sequences), X sums that a score is made from, N blocks that are left out, V severities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.skill import block_jackknife
from lstm_ray.sections.evaluate import Damage

Task = Literal["forecast", "classify", "label"]
Interval = tuple[float, float] | None
"""Of 95 %; None where too few blocks of time tell."""


@dataclass(frozen=True)
class Score:
    """A score of sums over cases."""

    name: str
    words: str
    unit: str
    """Said after a value; empty where it has none."""
    of: Callable[[NDArray], NDArray]
    """Sums [..., X] -> score [...], NaN where nothing was measured."""
    sign: int
    """1 where a lower score is better, -1 where a higher one is."""


@dataclass(frozen=True)
class Curve:
    """Scores under one kind of damage, of the policy, a naive baseline and maybe others, in this order."""

    kind: Damage
    metric: Score
    severity: list[float]
    """0 first: no damage."""
    score: dict[str, list[float]]
    """By model: one value for each severity."""
    harm_interval: list[Interval]
    """Of the policy's ``harm`` at each severity, over blocks of time."""
    gap_interval: dict[str, list[Interval]]
    """By baseline: of how far the policy's score is worse than its at each severity."""
    task: Task = "forecast"

    @property
    def policy(self) -> str:
        return next(iter(self.score))

    @property
    def naive(self) -> str | None:
        """The baseline that the policy should stay ahead of."""
        return next((name for name in self.score if name != self.policy), None)

    @property
    def middle(self) -> int:
        """Which severity stands for the kind."""
        return len(self.severity) // 2

    def harm(self, model: str) -> list[float | None]:
        """By how large a share each severity's score is worse than the undamaged one; less than 0: better. None where the
        undamaged one is 0."""
        first = self.score[model][0]
        return [self.metric.sign * (value / first - 1) if first else None for value in self.score[model]]

    def worse(self, at: int) -> float:
        """How far the policy's score is worse than undamaged: as a share, or where there is none as it is."""
        score, relative = self.score[self.policy], self.harm(self.policy)[at]
        return self.metric.sign * (score[at] - score[0]) if relative is None else relative

    @property
    def loss(self) -> float | None:
        """Mean harm to the policy over the range of severities: the area under it."""
        harm = self.harm(self.policy)
        told = [value for value in harm if value is not None]
        if len(told) < len(harm):
            return None
        return float(np.trapezoid(told, self.severity)) / (self.severity[-1] - self.severity[0])

    def gap(self, baseline: str) -> list[float]:
        """How far the policy's score is worse than a baseline's at each severity; less than 0: better."""
        pairs = zip(self.score[self.policy], self.score[baseline], strict=True)
        return [self.metric.sign * (mine - its) for mine, its in pairs]

    def overtaken_at(self, baseline: str) -> float | None:
        """Severity from which a baseline is better, between two that were tried by a straight line; 0 where it is better
        undamaged; None: at none."""
        gaps = self.gap(baseline)
        for at, gap in enumerate(gaps):
            if gap > 0:
                if at == 0:
                    return 0.0
                low, high = self.severity[at - 1 : at + 1]
                return low + (high - low) * -gaps[at - 1] / (gap - gaps[at - 1])
        return None

    @property
    def overtakers(self) -> list[str]:
        """Baselines that are no better undamaged and better under some severity."""
        return [who for who in self.gap_interval if self.gap(who)[0] <= 0 and self.overtaken_at(who) is not None]

    def is_harmed(self, at: int) -> bool:
        """Whether one severity does harm that is more than sampling error."""
        return _above_0(self.harm_interval[at], self.worse(at))

    def is_clearly_overtaken(self, baseline: str) -> bool:
        """Whether a baseline overtakes, and is better at some severity by more than sampling error."""
        if baseline not in self.overtakers:
            return False
        return any(map(_above_0, self.gap_interval[baseline], self.gap(baseline)))

    def details(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "kind": self.kind,
            "metric": self.metric.name,
            "severity": self.severity,
            "score": self.score,
            "overtaken_at": {name: self.overtaken_at(name) for name in self.gap_interval},
            "harm": {model: self.harm(model) for model in self.score},
            "harm_interval": self.harm_interval,
            "mean_harm": self.loss,
        }


def _above_0(interval: Interval, value: float) -> bool:
    """Without an interval the value alone tells."""
    return (value if interval is None else interval[0]) > 0


@dataclass(frozen=True)
class Cases:
    """What was measured on each case: by model, sums [M, X]; and when."""

    sums: dict[str, NDArray]
    step_M: NDArray
    dependence_steps: int
    """How far apart cases still share steps (``skill``)."""

    def is_told(self, score: Score) -> bool:
        """Whether anything was measured."""
        return all(bool(np.isfinite(score.of(sums.sum(0)))) for sums in self.sums.values())

    def take(self, kept_M: NDArray) -> Cases:
        return Cases(
            {name: sums[kept_M] for name, sums in self.sums.items()}, self.step_M[kept_M], self.dependence_steps
        )


def curve_of(
    kind: Damage, metric: Score, severity: list[float], measured: list[Cases], task: Task = "forecast"
) -> Curve:
    """Args: measured: the same cases under each severity, undamaged first."""
    undamaged, names = measured[0], list(measured[0].sums)

    def interval(change: Callable[..., NDArray], parts: list[NDArray]) -> Interval:
        value, reach = block_jackknife(change, parts, undamaged.step_M, undamaged.dependence_steps)
        if reach is None or not np.isfinite(reach):
            return None
        return float(value - reach), float(value + reach)

    def harm(damaged: NDArray, whole: NDArray) -> NDArray:
        first = metric.of(whole)
        return metric.sign * (metric.of(damaged) / np.where(first == 0, np.nan, first) - 1)

    def gap(mine: NDArray, other: NDArray) -> NDArray:
        return metric.sign * (metric.of(mine) - metric.of(other))

    policy, *others = names
    harms: list[Interval] = [(0.0, 0.0)]
    harms += [interval(harm, [cases.sums[policy], undamaged.sums[policy]]) for cases in measured[1:]]
    gaps = {name: [interval(gap, [cases.sums[policy], cases.sums[name]]) for cases in measured] for name in others}
    score = {name: [float(metric.of(cases.sums[name].sum(0))) for cases in measured] for name in names}
    return Curve(kind, metric, severity, score, harms, gaps, task)


def mean_absolute(sums: NDArray) -> NDArray:
    """Of sums of absolute errors and counts, [..., 2]."""
    total, count = np.moveaxis(sums, -1, 0)
    return total / np.where(count == 0, np.nan, count)


def macro_f1(sums: NDArray) -> NDArray:
    """Of hits, and of true and predicted counts added up, by class, [..., 2 * K]; classes in neither are left out."""
    hits, both = np.split(sums, 2, axis=-1)
    present = both > 0
    f1 = np.where(present, 2 * hits / np.where(present, both, 1), 0)
    count = present.sum(-1)
    found: NDArray = f1.sum(-1) / np.where(count == 0, np.nan, count)
    return found


def class_counts(label_N: NDArray, predicted_N: NDArray, case_N: NDArray, shape: tuple[int, int]) -> NDArray:
    """The sums of ``macro_f1`` for answers of M cases and K classes, [M, 2 * K]."""
    num, classes = shape

    def count(class_N: NDArray, case_N: NDArray) -> NDArray:
        found = np.bincount(case_N * classes + class_N, minlength=num * classes)
        return found.reshape(num, classes).astype(np.float64)

    right = label_N == predicted_N
    both = count(label_N, case_N) + count(predicted_N, case_N)
    return np.concatenate([count(label_N[right], case_N[right]), both], axis=1)


MAE = Score("mae", "error", "training deviations", mean_absolute, 1)
MACRO_F1 = Score("macro_f1", "macro F1", "", macro_f1, -1)
