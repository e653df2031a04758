"""Which cycles a series holds and how strong they are: pure numbers. Knows nothing of configs, frames or figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import detrend, get_window
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.stattools import acf

from lstm_ray.explore.analysis import filled, varies

SEASONAL_CYCLES = 25
"""Cycles over which STL lets the season change. The usual 7 finds a strength of 0.35 in white noise, 25 finds 0.09."""
FALSE_ALARM = 0.001
"""Nominal chance that noise shows a cycle; the background is itself estimated, which makes it 0.05 at 200 steps."""
LEAST_SHARE = 0.005
"""A cycle with less of the variance is real at times, but no season."""
HARMONIC, NOISE_DEVIATIONS = 0.8, 4
"""A cycle is half, a third or a quarter of a longer one where it repeats itself less than this much as well,
by more than that many times 1 / sqrt(T), the deviation of an autocorrelation of noise."""
BACKGROUND_BINS, MOST_PEAKS = 51, 20
RESOLVED = 0.25
"""Cycles in the whole series to which a peak's place is trusted; the autocorrelation decides within."""
MOST_STEPS = 20_000
"""STL looks at the newest steps up to this many: it costs a second for every million."""


NEIGHBOURS, SPIKE = 3, 12.0
"""A spike lasts two steps at most and lies so many robust deviations from the median of so many neighbours on each side."""
FEW, RARE = 3, 0.001
"""Spikes that are more than both, the latter a share of the values, are how the series is."""


@dataclass(frozen=True)
class Period:
    """A cycle of ``steps`` that carries ``share`` of the detrended variance; ``correlation`` one cycle apart."""

    steps: int
    share: float
    correlation: float


@dataclass(frozen=True)
class Decomposition:
    """STL's parts, each of shape [T], and the strengths of season and trend in [0, 1]; None where nothing varies."""

    observed: NDArray
    trend: NDArray
    season: NDArray
    rest: NDArray
    seasonal_strength: float | None
    trend_strength: float | None


def decompose(values_T: NDArray, season: int) -> Decomposition | None:
    """STL (Cleveland et al., 1990) of the newest steps, gaps bridged; None where there are no two whole seasons.

    A few spikes count to the rest that is returned, and to no strength: one would halve that of a clear season. Strengths
    are max(0, 1 - Var(rest) / Var(part + rest)): Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed.,
    section 4.3.
    """
    values_T = filled(values_T)[-MOST_STEPS:]
    if season < 2 or len(values_T) < 2 * season:
        return None
    if not varies(values_T):
        nothing = np.zeros_like(values_T)
        return Decomposition(values_T, values_T, nothing, nothing, None, None)
    # Loess at every third step and a line between costs a third and moves the strengths by 0.003 at most; where a season has
    # a thousand steps, its smoothers are so wide that every thirtieth does.
    jumps = {"trend_jump": max(5, season // 40), "low_pass_jump": max(3, season // 50)}
    calm_T = without_spikes(values_T)
    fit = STL(calm_T, period=season, seasonal=SEASONAL_CYCLES, seasonal_jump=3, **jumps).fit()
    return Decomposition(
        values_T,
        fit.trend,
        fit.seasonal,
        fit.resid + values_T - calm_T,
        _strength(fit.seasonal, fit.resid),
        _strength(fit.trend, fit.resid),
    )


def without_spikes(values_T: NDArray) -> NDArray:
    """Values with the median of their neighbours in the place of spikes, where these are few; where not, as they are."""
    if len(values_T) <= NEIGHBOURS:
        return values_T
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values_T, NEIGHBOURS, mode="edge"), 2 * NEIGHBOURS + 1)
    median_T = np.median(np.delete(around, NEIGHBOURS, axis=1), axis=1)
    off_T = np.abs(values_T - median_T)
    scale = 1.4826 * float(np.median(off_T))
    spikes_T = off_T > SPIKE * scale
    if scale <= 1e-9 * float(np.abs(values_T).max()) or spikes_T.sum() > max(FEW, RARE * len(values_T)):
        return values_T
    return np.where(spikes_T, median_T, values_T)


def _strength(part_T: NDArray, rest: NDArray) -> float | None:
    total = float(np.var(part_T + rest))
    return max(0.0, 1 - float(np.var(rest)) / total) if total > 1e-24 else None


def find_periods(values_T: NDArray, longest: int) -> list[Period]:
    """The cycles that stand out of a series, strongest first.

    A cycle must pass twice (Vlachos et al., On Periodicity Detection and Structural Similarity, 2005): as a peak of the
    periodogram of the differences, which are nearly white where the values wander, above the level that noise hardly
    passes; and on a hill of the autocorrelation, which a harmonic (12 hours of a daily curve) is not on.

    Args:
        values_T: one series, NaN where missing.
        longest: the longest cycle looked for, in steps; a third of the series bounds it too.
    """
    longest = min(longest, len(values_T) // 3)
    if longest < 2 or not varies(values_T):
        return []
    level_T = detrend(without_spikes(filled(values_T)))
    if not varies(level_T):
        return []
    size = len(level_T)
    correlation = acf(level_T, nlags=min(size - 1, longest + longest // 2 + 2), adjusted=True, fft=True)
    power = _power(level_T)
    found: dict[int, Period] = {}
    for cycles in _peaks(_power(np.diff(level_T, prepend=level_T[0])), size, longest):
        # The window spreads a line over its two neighbours on either side.
        at = round(cycles)
        share = float(power[max(1, at - 2) : at + 3].sum() / power[1:].sum())
        steps = _hill(correlation, size / (cycles + RESOLVED), size / (cycles - RESOLVED), longest)
        if steps is None or share < LEAST_SHARE:
            continue
        steps = _fundamental(correlation, steps, longest, size)
        share += found[steps].share if steps in found else 0.0
        found[steps] = Period(steps, min(share, 1.0), float(correlation[steps]))
    ranked = sorted(found.values(), key=lambda period: -period.share)
    return [period for i, period in enumerate(ranked) if not any(_explains(other, period) for other in ranked[:i])]


def _explains(stronger: Period, weaker: Period) -> bool:
    """Whether the weaker is a harmonic, or a side line: a daily curve that weekends change shows 21 and 28 hours."""
    return stronger.steps % weaker.steps == 0 or 2 / 3 < weaker.steps / stronger.steps < 3 / 2


def _power(values_T: NDArray) -> NDArray:
    windowed_T = (values_T - values_T.mean()) * get_window("hann", len(values_T))
    return np.asarray(np.abs(np.fft.rfft(windowed_T)) ** 2)


def _peaks(power: NDArray, size: int, longest: int) -> NDArray:
    """Frequencies, as cycles in the whole series, whose power stands out of its neighbourhood; strongest first."""
    # The median of exponentially distributed power is ln 2 times its mean. Bin 0 was emptied by taking the mean out.
    median = median_filter(power[1:], size=min(BACKGROUND_BINS, len(power) - 1), mode="reflect")
    background = np.concatenate([[np.inf], median / np.log(2)])
    ratio = power / np.maximum(background, 1e-9 * power.max())
    at = np.arange(2, len(power) - 1)
    high = (power[at] >= power[at - 1]) & (power[at] >= power[at + 1])
    clear = ratio[at] > -np.log(FALSE_ALARM / len(power))
    peaks = at[high & clear & (size / at <= longest * 1.05)]
    peaks = peaks[np.argsort(-power[peaks])][:MOST_PEAKS]
    # Between the bins, at the top of the parabola through the logarithms: a cycle seldom fits a whole number of times.
    before, top, after = (np.log(power[peaks + k] + 1e-300) for k in (-1, 0, 1))
    bend = before - 2 * top + after
    return np.asarray(peaks + np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0.0))


def _hill(correlation: NDArray, low: float, high: float, longest: int) -> int | None:
    """The autocorrelation's peak between two lags, or None where there is no hill there.

    The parabola through one cycle around it is taken out first: where the level wanders the autocorrelation falls all
    the way, and a daily cycle's peak would be read at 23 hours or not at all.
    """
    middle = (low + high) / 2
    first, last = max(1, int(middle / 2)), min(int(np.ceil(middle * 1.5)), len(correlation) - 1)
    lags = np.arange(first, last + 1)
    around = correlation[first : last + 1]
    level = around - np.polyval(np.polyfit(lags - middle, around, 2), lags - middle) if len(lags) > 4 else around
    # A hill is wider than the noise of one lag.
    width = max(1, int(middle / 8)) | 1
    level = np.convolve(np.pad(level, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    inside = (lags >= max(2, round(low))) & (lags <= min(round(high), longest)) & (around > 0)
    if not inside.any():
        return None
    top = int(np.argmax(np.where(inside, level, -np.inf)))
    return int(lags[top]) if level[top] > 0 else None


def _fundamental(correlation: NDArray, steps: int, longest: int, size: int) -> int:
    """The shortest multiple, up to four times, at which the series repeats itself clearly better; or ``steps``."""
    multiples = [k * steps for k in (1, 2, 3, 4) if k * steps <= min(longest, len(correlation) - 1)]
    best = float(max(correlation[multiple] for multiple in multiples))
    enough = min(HARMONIC * best, best - NOISE_DEVIATIONS / np.sqrt(size))
    return next(multiple for multiple in multiples if correlation[multiple] >= enough)
