"""One pass over windows: what every forecaster gets right and wrong, batch by batch. Knows no files and no figures.

Legend: M windows, H horizon, C target channels, Q quantiles, B residual bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.windows import Segments, chunks
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.metrics import ForecastSums, forecast_sums, median_index
from lstm_ray.evaluate.gather import HOURS, Forecaster, future_rows, hour_of_day, narrow, series_names
from lstm_ray.sections.prepare import WindowConfig

DAY_MICROSECONDS = 86_400_000_000
BIN_EDGES = np.linspace(-3, 3, 61)
"""Residual histogram, in training deviations; what lies beyond is counted in the outermost bins."""


@dataclass(frozen=True)
class Scores:
    """One forecaster's errors. ``a + b`` is the pass over a's windows and then b's."""

    by_horizon: ForecastSums
    by_series: ForecastSums
    by_hour: ForecastSums | None
    """None where time has no hours."""
    absolute_M: NDArray
    """Sum of each window's absolute errors."""
    scaled_M: NDArray
    """Mean of each window's absolute errors in training deviations, NaN where nothing was measured."""
    first_residual_MC: NDArray
    """Actual minus forecast of each window's first step, in training deviations, NaN where not measured."""
    histogram_B: NDArray
    """How many residuals (actual minus forecast, in training deviations) fall between neighbouring BIN_EDGES."""

    def __add__(self, other: Scores) -> Scores:
        return _join([self, other])

    @property
    def total(self) -> ForecastSums:
        return self.by_horizon.total()


def score(
    forecasters: Mapping[str, Forecaster],
    segments: Segments,
    origins_M: NDArray,
    window: WindowConfig,
    scale_NC: NDArray,
    deviation_C: NDArray,
    batch: int,
    advance: Callable[[str], None] = lambda words: None,
    before: int = 0,
) -> dict[str, Scores]:
    """Score forecasters on the same windows, each window's truth read once and its forecasts dropped after scoring.

    Args:
        origins_M: ascending, at least one.
        scale_NC: MASE's denominators (``metrics.seasonal_scale``).
        deviation_C: the training part's deviations.
        advance: called once for every batch.
        before: further steps that decide what a window is read as (``clean.lookback``).

    Raises:
        InputError: a forecast is not finite.
    """
    running: dict[str, list[Scores]] = {name: [] for name in forecasters}
    names, series_S = series_names(segments)
    for some in chunks(origins_M, batch):
        truth = _read(segments, some, window, (series_S, len(names)), scale_NC, deviation_C)
        nearby, origin = narrow(segments, some, reach(window) + before, window.horizon)
        for name, forecaster in forecasters.items():
            forecast = forecaster.forecast_windows(nearby, origin, batch)
            _must_be_finite(name, forecast, segments, some)
            running[name].append(_score_batch(truth, forecast, forecaster.quantiles))
            # Group sums are as large as the series are many: keep few of them, at a cost of log2(batches) joins.
            while len(running[name]) > 1 and len(running[name][-1].absolute_M) >= len(running[name][-2].absolute_M):
                running[name][-2:] = [_join(running[name][-2:])]
        advance(f"{len(some)} windows")
    return {name: _join(parts) for name, parts in running.items()}


@dataclass(frozen=True)
class _Truth:
    """What a batch's forecasts are held against."""

    actual_MHC: NDArray
    observed_MHC: NDArray
    scale_MC: NDArray
    deviation_C: NDArray
    groupings: dict[str, tuple[NDArray, int]]


def _read(
    segments: Segments,
    origins_M: NDArray,
    window: WindowConfig,
    series: tuple[NDArray, int],
    scale_NC: NDArray,
    deviation_C: NDArray,
) -> _Truth:
    rows = future_rows(origins_M, window.horizon)
    series_S, num_series = series
    series_M = series_S[segments.series_of(origins_M)]
    groupings = {
        "by_horizon": (np.arange(window.horizon)[None], window.horizon),
        "by_series": (series_M[:, None], num_series),
    }
    if has_hours(segments):
        groupings["by_hour"] = (hour_of_day(segments, rows), HOURS)
    actual, observed = segments.target_RC[rows], segments.observed_RC[rows]
    return _Truth(actual, observed, scale_NC[series_M], np.asarray(deviation_C, dtype=np.float64), groupings)


def has_hours(segments: Segments) -> bool:
    """Whether the hour of the day tells steps apart."""
    return segments.schema.is_time and segments.schema.step < DAY_MICROSECONDS


def _score_batch(truth: _Truth, forecast_MHCQ: NDArray, quantiles: list[float]) -> Scores:
    seen = truth.observed_MHC > 0
    sums = forecast_sums(
        truth.actual_MHC, truth.observed_MHC, forecast_MHCQ, quantiles, truth.scale_MC, truth.groupings
    )
    residual = np.where(seen, truth.actual_MHC - forecast_MHCQ[..., median_index(quantiles)], 0)
    scaled = residual / truth.deviation_C
    count = seen.sum(axis=(1, 2))
    inside = np.clip(scaled[seen], BIN_EDGES[0], BIN_EDGES[-1])
    return Scores(
        by_horizon=sums["by_horizon"],
        by_series=sums["by_series"],
        by_hour=sums.get("by_hour"),
        absolute_M=np.abs(residual).sum(axis=(1, 2), dtype=np.float64),
        scaled_M=np.where(count > 0, np.abs(scaled).sum(axis=(1, 2)) / np.maximum(count, 1), np.nan),
        first_residual_MC=np.where(seen[:, 0], scaled[:, 0], np.nan).astype(np.float32),
        histogram_B=np.histogram(inside, BIN_EDGES)[0],
    )


def _join(parts: list[Scores]) -> Scores:
    values: dict[str, Any] = {}
    for field in fields(Scores):
        items = [getattr(part, field.name) for part in parts]
        if field.name.endswith(("_M", "_MC")):
            values[field.name] = np.concatenate(items)
        else:
            total = items[0]
            for item in items[1:]:
                total = None if total is None else total + item
            values[field.name] = total
    return Scores(**values)


def _must_be_finite(name: str, forecast_MHCQ: NDArray, segments: Segments, origins_M: NDArray) -> None:
    bad = ~np.isfinite(forecast_MHCQ).all(axis=(1, 2, 3))
    if bad.any():
        first = origins_M[bad][:1]
        series, time = segments.series[int(segments.series_of(first)[0])], segments.times(first)[0]
        raise InputError(
            f"'{name}' forecasts values that are not finite in {bad.sum()} windows, the first in series '{series}' "
            f"after {time}; train again with a lower train.learning_rate or train.clip_norm"
        )
