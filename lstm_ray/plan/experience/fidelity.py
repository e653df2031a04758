"""How like real sequences the synthetic ones are, kind by kind, in numbers. Knows windows as arrays; knows no policy.

Windows are scaled. What is simulated may be only a window's end (a rollout goes on from a real history), so all kinds are
judged there: by the distribution of its values, by how these hang on values before, by how columns move together, and by
whether a classifier can tell them from real ones. Real windows judged against others of their own are the control.
Shapes: N windows, T steps, of which the last E are judged, F columns, C of them targets, K lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.ensemble import ExtraTreesClassifier

from lstm_ray.data.windows import Segments
from lstm_ray.plan.experience.making import Real
from lstm_ray.plan.experience.synthetic import Synthetic

CONTROL = "real, others"
TREES, FOLDS, FEWEST = 100, 5, 20
"""Of the classifier that tries to tell them apart; below so many windows of a kind it is not asked."""
MOST_POINTS = 64
"""Values that the classifier sees of each column of a window: means over equal stretches where there are more."""
MOST_WINDOWS = 300
"""Of a kind, and of the real ones beside it."""
SHORTEST = 0.25
"""Share of sequences that may be shorter than the windows that are judged; these are left out."""
LEVELS = np.linspace(0.01, 0.99, 33)
"""Of the quantiles that are shown."""


@dataclass(frozen=True)
class Pair:
    """A kind's windows and the real ones beside them."""

    made_NTF: NDArray
    real_NTF: NDArray
    group_N: NDArray
    """Order of both in time: neighbours share steps, so the classifier is tested on stretches it has not seen. What a window
    was made from has its number."""
    real_group_N: NDArray


@dataclass(frozen=True)
class Fidelity:
    """Distances of one kind from real windows; 0 is alike."""

    windows: int
    wasserstein: float
    """First Wasserstein distance of values, in training deviations."""
    ks: float
    """Largest gap of the distribution functions (Kolmogorov-Smirnov)."""
    autocorrelation: float | None
    """Mean distance of autocorrelations; None where values never vary."""
    correlation: float | None
    """Mean distance of correlations between columns; None where there is one."""
    accuracy: float | None
    """Of the classifier on windows it has not seen: 0.5 cannot tell them apart; None where there are too few."""
    acf_K: NDArray
    real_acf_K: NDArray
    quantiles: NDArray
    real_quantiles: NDArray


def fidelity_of(real: Real, made: Synthetic) -> dict[str, Fidelity]:
    """Every kind against windows of the training part, and these against others of it (CONTROL), the last."""
    config, random = real.config, np.random.default_rng([real.config.seed, *b"fidelity"])
    window, bounds = config.window, made.segments.bounds
    made_M2 = np.stack([bounds[:-1], bounds[1:]], axis=1)
    lengths = np.concatenate([real.range_M2[:, 1] - real.range_M2[:, 0], np.diff(bounds)])
    steps = int(np.quantile(lengths, SHORTEST, method="lower"))
    end = steps
    if config.task == "forecast":
        steps = min(steps, window.history + window.horizon)
        end = min(steps, config.plan.steps or 2 * window.horizon)
    elif config.task == "label":
        end = steps = min(steps, window.history)
    lags = min(2 * window.season, steps // 2)
    channels = real.scaled.target_RC.shape[1]
    some, others = _halves(_long(real.range_M2, steps), config.task == "forecast", random)
    here = (
        _windows(real.scaled, real.range_M2[some], steps, random),
        _order(real.scaled, real.range_M2[some], config.task),
    )
    found = {}
    for kind in dict.fromkeys(made.kind_M.tolist()):
        own = made.of(kind)
        own = own[_long(made_M2[own], steps)]
        own = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), MOST_WINDOWS)).astype(np.int64))]
        if not len(own):
            continue
        # Of a rollout the end alone is simulated; of other kinds every row was made.
        values = _windows(made.segments, made_M2[own], steps, None if kind == "rollouts" else random)
        group = made.source_M[own] if config.task == "classify" else _order(made.segments, made_M2[own], config.task)
        found[kind] = judged(Pair(values, here[0], group, here[1]), channels, end, lags)
    beside = _windows(real.scaled, real.range_M2[others], steps, random)
    pair = Pair(beside, here[0], _order(real.scaled, real.range_M2[others], config.task), here[1])
    return found | {CONTROL: judged(pair, channels, end, lags)}


def judged(pair: Pair, num_channels: int, end: int, lags: int) -> Fidelity:
    """Judge a kind's windows by the last ``end`` steps of their first ``num_channels`` columns (all, where these are none)."""
    channels = num_channels or pair.made_NTF.shape[2]
    made, real = (values[:, :, :channels].astype(np.float64) for values in (pair.made_NTF, pair.real_NTF))
    distances = [
        (wasserstein_distance(m, r), float(ks_2samp(m, r).statistic))
        for m, r in ((made[:, -end:, c].ravel(), real[:, -end:, c].ravel()) for c in range(channels))
    ]
    acf, real_acf = (autocorrelations(values, end, lags) for values in (made, real))
    gaps = np.abs(acf - real_acf)
    both = [correlations(values[:, -end:].astype(np.float64)) for values in (pair.made_NTF, pair.real_NTF)]
    apart = np.abs(both[0] - both[1])
    return Fidelity(
        windows=len(made),
        wasserstein=float(np.mean([w for w, _ in distances])),
        ks=float(np.mean([k for _, k in distances])),
        autocorrelation=float(np.nanmean(gaps)) if np.isfinite(gaps).any() else None,
        correlation=float(np.nanmean(apart)) if apart.size and np.isfinite(apart).any() else None,
        accuracy=_accuracy(made, real, pair.group_N, pair.real_group_N, end, lags),
        acf_K=acf,
        real_acf_K=real_acf,
        quantiles=np.quantile(made[:, -end:], LEVELS),
        real_quantiles=np.quantile(real[:, -end:], LEVELS),
    )


def autocorrelations(values_NTC: NDArray, end: int, lags: int) -> NDArray:
    """Correlation of each judged step with the one so many before, within windows, mean over columns, float64 [K]; NaN where
    nothing varies."""
    centred = values_NTC - values_NTC.mean(1, keepdims=True)
    steps = centred.shape[1]
    found = []
    for lag in range(1, lags + 1):
        first = max(steps - end, lag)
        now, then = centred[:, first:], centred[:, first - lag : steps - lag]
        size_C = np.sqrt((now**2).sum((0, 1)) * (then**2).sum((0, 1)))
        found.append(np.where(size_C > 0, (now * then).sum((0, 1)) / np.where(size_C > 0, size_C, 1), np.nan))
    held = np.asarray(found)
    return np.where(np.isfinite(held).any(1), np.nansum(held, 1) / np.maximum(1, np.isfinite(held).sum(1)), np.nan)


def correlations(values_NTF: NDArray) -> NDArray:
    """Of every two columns within windows, float64 [pairs]; NaN where one never varies."""
    centred = values_NTF - values_NTF.mean(1, keepdims=True)
    product_FF = np.einsum("ntf,ntg->fg", centred, centred)
    size_F = np.sqrt(np.diag(product_FF))
    scale_FF = np.outer(size_F, size_F)
    found = np.where(scale_FF > 0, product_FF / np.where(scale_FF > 0, scale_FF, 1), np.nan)
    pairs: NDArray = found[np.triu_indices(len(found), 1)]
    return pairs


def features(values_NTC: NDArray, end: int, season: int) -> NDArray:
    """What the classifier sees of each window: its judged values from where they set off, and what sums them up, [N, J]."""
    judged_NEC = values_NTC[:, -end:]
    # A rollout shows where it is joined on.
    before_N1C = values_NTC[:, -end - 1 : -end] if values_NTC.shape[1] > end else judged_NEC.mean(1, keepdims=True)
    risen = judged_NEC - before_N1C
    step, bend = np.diff(judged_NEC, axis=1), np.diff(judged_NEC, 2, axis=1)
    centred = judged_NEC - judged_NEC.mean(1, keepdims=True)
    variance = (centred**2).mean(1) + 1e-9
    sums = [judged_NEC.mean(1), np.sqrt(variance), judged_NEC.min(1), judged_NEC.max(1), risen[:, 0]]
    sums += [values.std(1) if values.shape[1] else np.zeros_like(variance) for values in (step, bend)]
    for lag in {1, season}:
        if lag < end:
            sums.append((centred[:, lag:] * centred[:, :-lag]).mean(1) / variance)
    stretch = -(-end // MOST_POINTS)
    points = [part.mean(1) for part in np.split(risen, np.arange(stretch, end, stretch), axis=1)]
    return np.concatenate([*points, *sums], axis=1)


def _accuracy(
    made: NDArray, real: NDArray, group_N: NDArray, real_group_N: NDArray, end: int, lags: int
) -> float | None:
    """Balanced accuracy of trees in cross-validation over stretches of time (Geurts et al. 2006; a classifier two-sample test:
    Lopez-Paz & Oquab 2017)."""
    if min(len(made), len(real)) < FEWEST:
        return None
    x = np.concatenate([features(values, end, max(1, lags // 2)) for values in (made, real)])
    y = np.repeat([1, 0], [len(made), len(real)])
    _, at = np.unique(np.concatenate([group_N, real_group_N]), return_inverse=True)
    fold = at * FOLDS // (int(at.max()) + 1)
    told = np.full(len(y), -1)
    for number in np.unique(fold):
        held = fold == number
        if len(np.unique(y[~held])) < 2:
            return None
        trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=0)
        told[held] = trees.fit(x[~held], y[~held]).predict(x[held])
    return float(np.mean([(told[y == label] == label).mean() for label in (0, 1)]))


def _long(range_M2: NDArray, steps: int) -> NDArray:
    return np.flatnonzero(range_M2[:, 1] - range_M2[:, 0] >= steps)


def _halves(items: NDArray, again: bool, random: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Two samples of real items, neither with an item of the other. Of a forecast's long items each gives many windows."""
    drawn = random.permutation(items)
    some, others = np.array_split(drawn, 2) if len(drawn) > 1 else (drawn, drawn)
    number = MOST_WINDOWS if again else min(MOST_WINDOWS, len(some))
    return np.resize(some, number), np.resize(others, number if again else min(MOST_WINDOWS, len(others)))


def _windows(segments: Segments, range_N2: NDArray, steps: int, random: np.random.Generator | None) -> NDArray:
    """Targets and past inputs of so many rows in each range: where the draw says, or the last, [N, T, F]."""
    first_N, last_N = range_N2[:, 0], range_N2[:, 1] - steps
    start_N = last_N if random is None else random.integers(first_N, last_N + 1)
    rows_NT = start_N[:, None] + np.arange(steps)
    return np.concatenate([segments.target_RC[rows_NT], segments.past_RP[rows_NT]], axis=2)


def _order(segments: Segments, range_N2: NDArray, task: str) -> NDArray:
    """Place of each range among all: its last step, or its segment where sequences are whole."""
    last_N = range_N2[:, 1] - 1
    return segments.series_of(last_N) if task == "classify" else segments.steps(last_N)
