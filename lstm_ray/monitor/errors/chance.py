"""How far a mean of newest errors may lie over validation's by chance, and the limit that it rarely passes. NumPy alone.

Errors of successive steps, and of the leads of one forecast, are not independent: what counts is their long-run variance (all
autocovariances summed), which the validation part tells where a policy is bundled. A rolling mean is looked at all the time, so
the limit is one that its whole course through a window passes at the stated rate: such a mean of independent values is all but
Slepian's process, that passes a level u within a window with probability u phi(u) + Q(u) (Pickands 1969), widened by Student's
t because the variance is itself estimated. The newest half and quarter of the window are looked at too, each at its part of the
rate: they see a large change sooner. Measured on absolute AR(1) errors with coefficients 0, 0.8 and 0.95 at a stated 1 %,
for 12 steps ahead: 0, 0 and 0.3 % of 760 windows raised an alarm, and 0, 1 and 15 % by a fixed limit of 1.25 times
validation's error; a doubled error is seen after 44, 101 and 380 steps, a trebled one after 20, 52 and 158 (417 make a window).
Shapes: M windows, H horizon, K steps of time, C targets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.errors.changes import LEAST_CORRELATION, MOST_BLOCKS, block_of, split_of

WRONG, EXPECTED, VALUES, SERIES = range(4)
"""Sums that are kept of a step of time."""
FEWEST = 4.0
"""Degrees of freedom at the least."""
FARTHEST = 3
"""Autocovariances reach over a third of a path at the most."""
MOST_BIAS = 0.5
PARTS = (1, 2, 4)
"""Of the window, the newest so-manieth part is looked at."""


def spread(relative_MH: NDArray, series_M: NDArray, step_M: NDArray) -> dict[str, float] | None:
    """How errors of validation windows vary in the long run; None where there are too few windows to tell.

    Args:
        relative_MH: absolute errors over those to expect so far ahead; NaN where not known.
        series_M, step_M: of the windows' origins.

    Returns:
        ``{"common", "own", "steps", "freedom"}``: the mean of S series over n steps of time varies by
        ``(common + own / S) / n``; steps of time that it was told from, and degrees of freedom.
    """
    horizon, known_M = relative_MH.shape[1], np.isfinite(relative_MH).any(axis=1)
    value_M, series_M, step_M = np.nanmean(relative_MH[known_M], axis=1), series_M[known_M], step_M[known_M]
    steps = np.unique(step_M)
    if len(steps) < 2:
        return None
    apart = max(1, int(np.median(np.diff(steps))))
    # Windows that do not overlap: a server may be asked but once a horizon, and then nothing averages out over leads.
    turns = -(-horizon // apart)
    by_series = [_ordered(value_M[series_M == one], step_M[series_M == one]) for one in np.unique(series_M)]
    at = np.searchsorted(steps, step_M)
    together = np.bincount(at, value_M) / np.bincount(at)
    single, _ = _long_run(by_series, turns)
    mixed, freedom = _long_run([together], turns)
    if freedom <= 0:
        return None
    number = len(value_M) / len(steps)
    own = max(0.0, single - mixed) * number / (number - 1) if number > 1 else 0.0
    length = turns * apart
    return {
        "common": length * max(0.0, single - own),
        "own": length * own,
        "steps": int(steps[-1] - steps[0] + apart),
        "freedom": freedom,
    }


def _ordered(value_N: NDArray, step_N: NDArray) -> NDArray:
    found: NDArray = value_N[np.argsort(step_N)]
    return found


def _long_run(series: Sequence[NDArray], turns: int) -> tuple[float, float]:
    """Long-run variance of every so-manieth value, and degrees of freedom that it is known with; 0 where it is not."""
    paths = [own[turn::turns] - own.mean() for own in series for turn in range(turns)]
    longest = max(map(len, paths))
    lags = max(1, longest // FARTHEST)
    paths = [path for path in paths if len(path) > lags]
    if longest < MOST_BLOCKS:
        return 0.0, 0.0
    total = np.zeros(lags + 1)
    for path in paths:
        spectrum = np.abs(np.fft.rfft(path, 2 * len(path))) ** 2
        total += np.fft.irfft(spectrum, 2 * len(path))[: lags + 1]
    covariance = total / sum(map(len, paths))
    end = int(np.argmax(covariance < LEAST_CORRELATION * covariance[0])) or len(covariance)
    if covariance[0] <= 0:
        return 0.0, float(longest)
    time = max(1.0, 1 + 2 * float(covariance[1:end].sum() / covariance[0]))
    # The mean that was taken off took some of the slow variation with it.
    bias = 1 - min(MOST_BIAS, time / longest)
    return float(covariance[0] * time / bias), max(FEWEST, longest / time - 1)


class Lately:
    """Errors of the newest steps of time, over all series.

    Args:
        most: steps kept; those scored longest ago make room, so that a time told wrong stays no longer than any other.
        has_time: without times, every value is a step of its own.
    """

    def __init__(self, most: int, num_targets: int, has_time: bool = True) -> None:
        self._most, self._has_time = most, has_time
        self._slots: OrderedDict[int, int] = OrderedDict()
        self._sums_K4C = np.zeros((most, 4, num_targets))
        self._next = 0

    def add(self, tick_N: NDArray, target_N: NDArray, wrong_N: NDArray, expected_N: NDArray) -> None:
        """Take in what one series scored."""
        if not self._has_time:
            tick_N = self._next + np.arange(len(tick_N))
            self._next += len(tick_N)
        ticks, at_N = np.unique(tick_N, return_inverse=True)
        gone = max(0, len(ticks) - self._most)
        slots = np.array([self._slot(tick) for tick in ticks[gone:].tolist()])
        kept_N = at_N >= gone
        slot_N, target_N = slots[at_N[kept_N] - gone], target_N[kept_N]
        value_N3 = np.stack([wrong_N, expected_N, np.ones(len(wrong_N))], axis=1)[kept_N]
        # Indices on both sides of a slice: [N, 3], each added though a step comes several times.
        np.add.at(self._sums_K4C.transpose(0, 2, 1)[:, :, :SERIES], (slot_N, target_N), value_N3)
        told = np.unique(np.stack([slot_N, target_N]), axis=1)
        self._sums_K4C[told[0], SERIES, told[1]] += 1

    def sums(self, target: int | None = None) -> NDArray:
        """[K, 4, C] of the steps kept, or [K, 4, 1] of those with values of this target, the one scored last at the end."""
        found: NDArray = self._sums_K4C[list(self._slots.values())]
        return found if target is None else found[found[:, VALUES, target] > 0][:, :, [target]]

    def _slot(self, tick: int) -> int:
        if (slot := self._slots.get(tick)) is None:
            slot = len(self._slots)
            if slot >= self._most:
                _, slot = self._slots.popitem(last=False)
            self._slots[tick] = slot
            self._sums_K4C[slot] = 0.0
        return slot


def newest(
    sums_K4C: NDArray, spreads: Sequence[Mapping[str, float] | None], rate: float
) -> Iterator[tuple[NDArray, float | None]]:
    """The sums of the window and of its newest parts, each with the limit that all of them together pass in this share of
    windows. Where a spread is not known, the window alone: a part would be too short to tell it."""
    parts = PARTS if all(each is not None for each in spreads) else PARTS[:1]
    for part in parts:
        held = sums_K4C[-max(1, len(sums_K4C) // part) :]
        # A part that is a quarter as long passes four times as often at the same level.
        yield held, limit(held, spreads, rate / len(parts) / part)


def limit(sums_K4C: NDArray, spreads: Sequence[Mapping[str, float] | None], rate: float) -> float | None:
    """The ratio of errors to those expected that means over so many steps pass in this share of windows, where errors are as
    they were on validation; None where that cannot be told yet.

    Args:
        sums_K4C: of the steps that the ratio is taken over.
        spreads: of each target, ``spread``. Where one's is not known, the steps themselves tell how errors vary.
    """
    if not len(sums_K4C):
        return None
    if any(each is None for each in spreads):
        wrong_K = sums_K4C[:, WRONG].sum(axis=1) / np.maximum(sums_K4C[:, VALUES].sum(axis=1), 1)
        if len(wrong_K) < MOST_BLOCKS:
            return None
        # A change of level, which is what is looked for, is no variation: the likeliest is taken off.
        split = split_of(wrong_K)
        apart_K = wrong_K - np.repeat([wrong_K[:split].mean(), wrong_K[split:].mean()], [split, len(wrong_K) - split])
        size = block_of(apart_K)
        mean_B = apart_K[: len(apart_K) // size * size].reshape(-1, size).mean(axis=1)
        error = float(mean_B.std(ddof=1) / np.sqrt(len(mean_B)) / max(wrong_K.mean(), 1e-300))
        return float(np.exp(times(rate, len(mean_B) - 1) * error))
    share_C = sums_K4C[:, EXPECTED].sum(axis=0) / max(sums_K4C[:, EXPECTED].sum(), 1e-300)
    error, freedom = 0.0, np.inf
    for c, given in enumerate(spreads):
        own_K = sums_K4C[sums_K4C[:, SERIES, c] > 0, SERIES, c]
        if given is None or not len(own_K):
            continue
        variance = given["common"] + given["own"] * float((1 / own_K).mean())
        # Targets may go wrong together.
        error += float(share_C[c]) * np.sqrt(variance * (1 / len(own_K) + 1 / given["steps"]))
        freedom = min(freedom, given["freedom"])
    # Means of absolute errors lean to the right; their logarithms hardly do.
    return float(np.exp(times(rate, freedom) * error))


def times(rate: float, freedom: float) -> float:
    """Standard errors that a rolling mean passes in this share of windows."""
    normal, low, high = NormalDist(), 1.0, 40.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        passed = middle * normal.pdf(middle) + normal.cdf(-middle)
        low, high = (middle, high) if passed > rate else (low, middle)
    # Student's quantile by its expansion about the normal one (Fisher and Cornish 1960).
    first, second = (high**3 + high) / 4, (5 * high**5 + 16 * high**3 + 3 * high) / 96
    return high + first / freedom + second / freedom**2
