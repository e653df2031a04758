"""Every statistic of a batch of forecasts, worked on once and added up by group. Knows arrays; knows no model or file.

Legend: M windows, H horizon, W slots (``layout``), C target channels, Q quantiles, K statistics, G groups, B bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.forecasts.layout import TRUTH, Index, Sums, Truth
from lstm_ray.evaluate.forecasts.metrics import ForecastSums, below, median_index, pinball

VALUES_AT_A_TIME = 65_536
"""Steps whose statistics are held at once: what fits the processor's cache is several times as fast."""
POINT = ("error", "absolute", "squared", "symmetric", "percentage", "scaled", "scaled_squared")
INTERVAL = ("inside", "width", "scaled_interval")
ERROR, ABSOLUTE = POINT.index("error"), POINT.index("absolute")
BIN_EDGES = np.linspace(-3, 3, 61)
"""Residual histogram, in training deviations; what lies beyond is counted in the outermost bins."""


def names_of(quantiles: Sequence[float]) -> tuple[str, ...]:
    """All that is summed of a forecast with these levels, beside TRUTH."""
    if len(quantiles) == 1:
        return POINT
    return (*POINT, *(name(q) for q in quantiles for name in (pinball, below)), *INTERVAL)


class Tally:
    """One forecaster's running sums by group.

    Args:
        deviation_C: unit of the histogram of residuals; none: there is no histogram.
    """

    def __init__(self, quantiles: Sequence[float], deviation_C: NDArray | None = None) -> None:
        self._deviation_C = deviation_C
        self.histogram_B = np.zeros(len(BIN_EDGES) - 1, dtype=np.int64)
        """How many residuals (actual minus forecast, in training deviations) fall between neighbouring BIN_EDGES."""
        self.quantiles = tuple(float(q) for q in quantiles)
        self._names = names_of(self.quantiles)
        self._total_KGC: dict[str, NDArray] = {}

    def add(self, truth: Truth, of_truth: Mapping[str, NDArray], forecast_MHCQ: NDArray) -> Sums:
        """Count a batch, and give its own sums of what ``names_of`` names.

        Args:
            of_truth: ``truth.sums().by_group()``.
            forecast_MHCQ: finite.
        """
        found = Sums(truth, len(self._names))
        channels, horizon, width = truth.shape
        at_once = max(1, VALUES_AT_A_TIME // max(1, horizon * width))
        for first in range(0, channels, at_once):
            some = slice(first, first + at_once)
            for k, values_CHW in enumerate(_statistics(truth, forecast_MHCQ[:, :, some], some, self.quantiles)):
                found.take(k, some, values_CHW)
                if k == 0 and self._deviation_C is not None:
                    self._bin(truth.seen_CHW[some], values_CHW, self._deviation_C[some])
        for name, sums_KGC in found.by_group().items():
            self._into(name, truth, np.concatenate([of_truth[name], sums_KGC]))
        return found

    def by(self) -> dict[str, ForecastSums]:
        names = (*TRUTH, *self._names)
        return {
            grouping: ForecastSums(self.quantiles, dict(zip(names, total, strict=True)))
            for grouping, total in self._total_KGC.items()
        }

    def _bin(self, seen_CHW: NDArray, error_CHW: NDArray, deviation_C: NDArray) -> None:
        num, low, high = len(self.histogram_B), BIN_EDGES[0], BIN_EDGES[-1]
        width_C = deviation_C * (high - low) / num
        place = error_CHW * (-1 / width_C).astype(error_CHW.dtype)[:, None, None] + error_CHW.dtype.type(num / 2)
        cell = np.clip(place, 0, num - 1, out=place).astype(np.intp)
        self.histogram_B += np.bincount(cell.ravel(), minlength=num)
        # Where nothing was measured the error is 0.
        self.histogram_B[num // 2] -= seen_CHW.size - np.count_nonzero(seen_CHW)

    def _into(self, name: str, truth: Truth, sums_KGC: NDArray) -> None:
        groups = truth.by_window.get(name) or truth.by_row.get(name)
        if name not in self._total_KGC:
            num = groups.num if groups else sums_KGC.shape[1]
            self._total_KGC[name] = np.zeros((len(sums_KGC), num, sums_KGC.shape[2]))
        self._total_KGC[name][:, groups.held if groups else slice(None)] += sums_KGC


def forecast_sums(
    actual_MHC: NDArray,
    observed_MHC: NDArray,
    forecast_MHCQ: NDArray,
    quantiles: Sequence[float],
    scale_MC: NDArray,
    by_window: Mapping[str, Index] | None = None,
    square_scale_MC: NDArray | None = None,
) -> dict[str, ForecastSums]:
    """The sums of windows under several groupings at once, ``horizon`` (step ahead) always among them.

    Args:
        observed_MHC: 1 where the actual value was measured, 0 where it was imputed (and may be NaN).
        quantiles: levels of the last axis, ascending, with the median among them; [0.5] for a point forecast.
        scale_MC: in-sample seasonal naive error of each window's series (``seasonal_scale``), NaN where unknown.
        by_window: name -> (group index, int [M] or [M, C]; number of groups).
        square_scale_MC: the root of its mean square, likewise; none: unknown.
    """
    tally, square = Tally(quantiles), np.full_like(scale_MC, np.nan) if square_scale_MC is None else square_scale_MC
    size = max(1, VALUES_AT_A_TIME // max(1, actual_MHC[:1].size))
    for first in range(0, max(len(actual_MHC), 1), size):
        some = slice(first, first + size)
        groups = {name: (index[some], num) for name, (index, num) in (by_window or {}).items()}
        truth = Truth.of(actual_MHC[some], observed_MHC[some], scale_MC[some], square[some], groups)
        tally.add(truth, truth.sums().by_group(), forecast_MHCQ[some])
    return tally.by()


def _statistics(
    truth: Truth, forecast_MHCQ: NDArray, channels: slice, quantiles: tuple[float, ...]
) -> Iterator[NDArray]:
    """What ``names_of`` names in turn, [C, H, W] each: 0 where nothing was measured and in empty slots."""
    middle = median_index(quantiles)
    point = _point(truth, channels, _level(truth, forecast_MHCQ, channels, middle))
    return point if len(quantiles) == 1 else chain(point, _intervals(truth, forecast_MHCQ, channels, quantiles))


def _level(truth: Truth, forecast_MHCQ: NDArray, channels: slice, level: int) -> NDArray:
    values = forecast_MHCQ[..., level]
    if truth.hidden_MHC is not None:
        values = np.where(truth.hidden_MHC[:, :, channels], 0, values)
    return truth.slots.laid_out(values, truth.dtype)


def _point(truth: Truth, some: slice, forecast: NDArray) -> Iterator[NDArray]:
    error = forecast - truth.actual_CHW[some]
    yield error
    absolute = np.abs(error)
    yield absolute
    yield np.square(error, out=error)
    sizes = np.add(np.abs(forecast, out=forecast), truth.size_CHW[some], out=forecast)
    # Where both are 0 so is the error, and a right forecast counts as 0.
    np.divide(absolute, np.maximum(sizes, np.finfo(sizes.dtype).tiny, out=sizes), out=sizes)
    yield sizes
    yield np.multiply(absolute, truth.inverse_CHW[some], out=sizes)
    yield np.multiply(absolute, truth.inverse_scale_CW[some, None], out=sizes)
    np.multiply(absolute, truth.inverse_square_scale_CW[some, None], out=sizes)
    yield np.square(sizes, out=sizes)


def _intervals(truth: Truth, forecast_MHCQ: NDArray, some: slice, quantiles: tuple[float, ...]) -> Iterator[NDArray]:
    actual, seen = truth.actual_CHW[some], truth.seen_CHW[some]
    score = np.zeros_like(actual)
    for index, level in enumerate(quantiles):
        forecast = _level(truth, forecast_MHCQ, some, index)
        if index == 0:
            low = forecast
        short = actual - forecast
        loss = np.maximum(level * short, (level - 1) * short)
        yield loss
        yield (short <= 0) * seen
        # Pinball losses of the outermost levels over their tails make the interval's score (Gneiting and Raftery 2007).
        if index == 0:
            score += loss / level
        if index == len(quantiles) - 1:
            score += loss / (1 - level)
    yield ((low <= actual) & (actual <= forecast)) * seen
    yield forecast - low
    yield score * truth.inverse_scale_CW[some, None]
