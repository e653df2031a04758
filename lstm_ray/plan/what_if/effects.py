"""What scenarios do, in numbers: futures summed up origin by origin, and compared with the base on the same draws.

Knows no torch, no Ray, no figures. Shapes: M origins, W paths, S steps, C targets, Q quantiles, T thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.skill import mean_interval

LEVELS = (0.1, 0.25, 0.75, 0.9)
"""Quantiles of the paths that are kept: the middle 80 % and the middle 50 %."""
LOW, HIGH = LEVELS[0], LEVELS[-1]
RARE = 0.95
"""A threshold, where none is declared, lies above this share of a target's training values."""
MOST_READ = 4_000_000
"""Training values, at most, that such a threshold is read off."""
MOST_SERIES = 5


@dataclass(frozen=True)
class Threshold:
    """A level of one target, and from which side it is crossed."""

    target: int
    """Its place among the targets."""
    level: float
    above: bool
    words: str
    """Such as ``load above 31.2``."""


@dataclass(frozen=True)
class Summary:
    """The futures of some origins under one scenario, without their paths: all that tables and figures need."""

    mean_MSC: NDArray
    """Of the paths, float32."""
    quantile_MQSC: NDArray
    """LEVELS of the paths, float32."""
    crossed_MT: NDArray
    """Share of paths that cross each threshold at any step, float32."""
    paths: int

    @classmethod
    def joined(cls, parts: Sequence[Summary]) -> Summary:
        """Of all their origins, in this order."""
        return cls(
            mean_MSC=np.concatenate([part.mean_MSC for part in parts]),
            quantile_MQSC=np.concatenate([part.quantile_MQSC for part in parts]),
            crossed_MT=np.concatenate([part.crossed_MT for part in parts]),
            paths=parts[0].paths,
        )


def summary_of(future_MWSC: NDArray, thresholds: Sequence[Threshold]) -> Summary:
    """The summary of some origins' futures. Each origin's depends on its own paths alone."""
    # By ranks: the plain quantiles of a few paths lie too far inside them to hold what they say they hold.
    quantile_QMSC = np.quantile(future_MWSC, LEVELS, axis=1, method="weibull")
    crossed = [
        (future_MWSC[..., t.target] > t.level if t.above else future_MWSC[..., t.target] < t.level).any(2).mean(1)
        for t in thresholds
    ]
    return Summary(
        mean_MSC=future_MWSC.mean(1, dtype=np.float64).astype(np.float32),
        quantile_MQSC=np.moveaxis(quantile_QMSC, 0, 1).astype(np.float32),
        crossed_MT=np.stack(crossed, axis=1).astype(np.float32)
        if crossed
        else np.empty((len(future_MWSC), 0), np.float32),
        paths=future_MWSC.shape[1],
    )


def thresholds_of(config: Config, segments: Segments, bounds: Boundaries) -> list[Threshold]:
    """Those of ``plan.thresholds``; where there are none, what RARE of each target's measured training values lie below."""
    names, found = segments.schema.target, []
    for given in config.plan.thresholds:
        target = given.target or names[0]
        level, above = (given.above, True) if given.above is not None else (given.below, False)
        assert level is not None, "exactly one of above and below is given"
        found.append(
            Threshold(names.index(target), level, above, f"{target} {'above' if above else 'below'} {level:g}")
        )
    if found:
        return found
    rows = np.flatnonzero(rows_in(segments, bounds, "train"))
    rows = rows[:: -(-len(rows) // MOST_READ)] if len(rows) else rows
    for c, target in enumerate(names):
        values = segments.target_RC[rows, c][segments.observed_RC[rows, c] > 0]
        if len(values):
            level = float(f"{np.quantile(values, RARE):.4g}")
            found.append(Threshold(c, level, True, f"{target} above {level:g}"))
    return found


@dataclass(frozen=True)
class Effect:
    """What a scenario does to one target: its futures less the base's, each path beside that of the same draws."""

    mean: float
    """Over steps, paths and origins, in the target's units."""
    interval: tuple[float, float] | None
    """95 % interval of the mean (``evaluate.skill``); None where the origins span too little time to tell."""
    low: float
    high: float
    """The middle 80 % of origins lie between."""
    share: float | None
    """The mean, as a share of the base's; None where that is 0."""
    first_step: float
    last_step: float
    by_step: list[float]
    by_step_reach: list[float] | None
    """How far the 95 % interval of each step's mean reaches to either side."""
    by_series: dict[str, float]
    """Of the series that it moves most, at most MOST_SERIES, the most affected first."""

    @property
    def most_affected(self) -> str:
        return next(iter(self.by_series))

    @property
    def is_clear(self) -> bool:
        """Whether it lies on one side of 0: its interval, or where there is none the middle 80 % of origins."""
        low, high = self.interval or (self.low, self.high)
        return low > 0 or high < 0


@dataclass(frozen=True)
class Crossing:
    """How probable it is that a path crosses a threshold at any step."""

    base: float
    scenario: float
    interval: tuple[float, float] | None
    """95 % interval of the difference, over origins."""

    @property
    def difference(self) -> float:
        return self.scenario - self.base


def effects(found: Mapping[str, Summary], segments: Segments, origin_M: NDArray) -> dict[str, dict[str, Effect]]:
    """What each scenario does to each target of the series that it moves at all, as those that it names.

    Args:
        found: of each scenario and of the base, over the same origins.
    """
    base = found["base"]
    step_M, names_M = segments.steps(origin_M), np.array(segments.series)[segments.series_of(origin_M)]
    by_target: dict[str, dict[str, Effect]] = {}
    for name, summary in found.items():
        if name != "base":
            difference_MSC = summary.mean_MSC.astype(np.float64) - base.mean_MSC
            some = _of_series_moved(difference_MSC, names_M)
            by_target[name] = {
                target: _effect(difference_MSC[some, :, c], base.mean_MSC[some, :, c], step_M[some], names_M[some])
                for c, target in enumerate(segments.schema.target)
            }
    return by_target


def crossings(
    found: Mapping[str, Summary], thresholds: Sequence[Threshold], step_M: NDArray
) -> dict[str, dict[str, Crossing]]:
    """How probable each scenario makes it that each threshold is crossed, by scenario and by the threshold's words.

    Args:
        step_M: the origins' steps on the common time axis.
    """
    base = found["base"]
    told: dict[str, dict[str, Crossing]] = {}
    for name, summary in found.items():
        if name == "base":
            continue
        told[name] = {}
        for t, threshold in enumerate(thresholds):
            difference_M = summary.crossed_MT[:, t].astype(np.float64) - base.crossed_MT[:, t]
            interval = _interval(*mean_interval(difference_M, step_M, base.mean_MSC.shape[1]))
            told[name][threshold.words] = Crossing(
                float(base.crossed_MT[:, t].mean()), float(summary.crossed_MT[:, t].mean()), interval
            )
    return told


def _of_series_moved(difference_MSC: NDArray, names_M: NDArray) -> NDArray:
    """Which origins are of a series that is moved at any of them; all, where none is."""
    moved_M = difference_MSC.any(axis=(1, 2))
    return np.isin(names_M, names_M[moved_M]) if moved_M.any() else np.ones(len(names_M), bool)


def _effect(difference_MS: NDArray, base_MS: NDArray, step_M: NDArray, names_M: NDArray) -> Effect:
    steps, mean_M = difference_MS.shape[1], difference_MS.mean(1)
    mean, reach = mean_interval(mean_M, step_M, steps)
    by_step_S, reach_S = mean_interval(difference_MS, step_M, steps)
    series, of_M = np.unique(names_M, return_inverse=True)
    moved = np.bincount(of_M, mean_M) / np.bincount(of_M)
    level = float(base_MS.mean(dtype=np.float64))
    return Effect(
        mean=float(mean),
        interval=_interval(mean, reach),
        low=float(np.quantile(mean_M, LOW)),
        high=float(np.quantile(mean_M, HIGH)),
        share=float(mean) / abs(level) if level else None,
        first_step=float(by_step_S[0]),
        last_step=float(by_step_S[-1]),
        by_step=by_step_S.tolist(),
        by_step_reach=None if reach_S is None else reach_S.tolist(),
        by_series={str(series[s]): float(moved[s]) for s in np.argsort(-np.abs(moved), kind="stable")[:MOST_SERIES]},
    )


def _interval(mean: NDArray, reach: NDArray | None) -> tuple[float, float] | None:
    return None if reach is None else (float(mean - reach), float(mean + reach))
