"""One pass over windows: what every forecaster gets right and wrong, batch by batch. Knows no files and no figures.

Legend: M windows, H horizon, C target channels, Q quantiles, B residual bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.windows import Segments, chunks
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.metrics import ForecastSums, forecast_sums, median_index
from lstm_ray.evaluate.gather import HOURS, Forecaster, future_rows, hour_of_day, narrow, series_names
from lstm_ray.evaluate.predictions import writer
from lstm_ray.sections.prepare import WindowConfig

POLICY = "policy"
"""Name of the forecaster whose forecasts are kept."""
DAY_MICROSECONDS = 86_400_000_000
BIN_EDGES = np.linspace(-3, 3, 61)
"""Residual histogram, in training deviations; what lies beyond is counted in the outermost bins."""


@dataclass(frozen=True)
class Scores:
    """One forecaster's errors. ``a + b`` is the pass over a's windows and then b's."""

    by: dict[str, ForecastSums]
    """By group: ``horizon`` (step ahead), ``series`` (in the order of ``series_names``), and ``hour`` where time has any."""
    count_M: NDArray
    """Measured values of each window."""
    absolute_M: NDArray
    """Sum of each window's absolute errors, in the data's own units."""
    scaled_M: NDArray
    """Mean of each window's absolute errors in training deviations, NaN where nothing was measured."""
    first_residual_MC: NDArray
    """Actual minus forecast of each window's first step, in training deviations, NaN where not measured."""
    histogram_B: NDArray
    """How many residuals (actual minus forecast, in training deviations) fall between neighbouring BIN_EDGES."""

    def __add__(self, other: Scores) -> Scores:
        return join([self, other])

    @property
    def total(self) -> ForecastSums:
        return self.by["horizon"].total()


@dataclass(frozen=True)
class Yardstick:
    """What forecasts are held against, beside what came: the same for every batch and every worker."""

    window: WindowConfig
    scale_NC: NDArray
    """MASE's denominators (``metrics.seasonal_scale``)."""
    deviation_C: NDArray
    """The training part's deviations."""
    batch: int = 512
    """Windows at a time."""
    before: int = 0
    """Further steps that decide what a window is read as (``clean.lookback``)."""


def score(
    forecasters: Mapping[str, Forecaster],
    segments: Segments,
    origins_M: NDArray,
    given: Yardstick,
    advance: Callable[[str], None] = lambda words: None,
    out: Path | None = None,
) -> dict[str, Scores]:
    """Score forecasters on the same windows, each window's truth read once and its forecasts dropped after scoring.

    Args:
        origins_M: ascending, at least one.
        advance: called once for every batch.
        out: Parquet file for every forecast of ``policy`` beside what came, written as they come (``predictions``).

    Raises:
        InputError: a forecast is not finite.
    """
    running: dict[str, list[Scores]] = {name: [] for name in forecasters}
    names, series_S = series_names(segments)
    window = given.window
    with writer(out, segments) as write:
        for some in chunks(origins_M, given.batch):
            truth = _read(segments, some, given, (series_S, len(names)))
            nearby, origin = narrow(segments, some, reach(window) + given.before, window.horizon)
            for name, forecaster in forecasters.items():
                forecast = forecaster.forecast_windows(nearby, origin, given.batch)
                _must_be_finite(name, forecast, segments, some)
                running[name].append(_score_batch(truth, forecast, forecaster.quantiles))
                # Group sums are as large as the series are many: keep few of them, at a cost of log2(batches) joins.
                while len(running[name]) > 1 and len(running[name][-1].absolute_M) >= len(running[name][-2].absolute_M):
                    running[name][-2:] = [join(running[name][-2:])]
                if name == POLICY:
                    write(some, forecast, forecaster.quantiles)
            advance(f"{len(some)} windows")
    return {name: join(parts) for name, parts in running.items()}


@dataclass(frozen=True)
class _Truth:
    """What a batch's forecasts are held against."""

    actual_MHC: NDArray
    observed_MHC: NDArray
    scale_MC: NDArray
    deviation_C: NDArray
    groupings: dict[str, tuple[NDArray, int]]


def _read(segments: Segments, origins_M: NDArray, given: Yardstick, series: tuple[NDArray, int]) -> _Truth:
    horizon = given.window.horizon
    rows = future_rows(origins_M, horizon)
    series_S, num_series = series
    series_M = series_S[segments.series_of(origins_M)]
    groupings = {"horizon": (np.arange(horizon)[None], horizon), "series": (series_M[:, None], num_series)}
    if has_hours(segments):
        groupings["hour"] = (hour_of_day(segments, rows), HOURS)
    actual, observed = segments.target_RC[rows], segments.observed_RC[rows]
    deviation_C = np.asarray(given.deviation_C, dtype=np.float64)
    return _Truth(actual, observed, given.scale_NC[series_M], deviation_C, groupings)


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
        by=sums,
        count_M=count,
        absolute_M=np.abs(residual).sum(axis=(1, 2), dtype=np.float64),
        scaled_M=np.where(count > 0, np.abs(scaled).sum(axis=(1, 2)) / np.maximum(count, 1), np.nan),
        first_residual_MC=np.where(seen[:, 0], scaled[:, 0], np.nan).astype(np.float32),
        histogram_B=np.histogram(inside, BIN_EDGES)[0],
    )


def join(parts: Sequence[Scores]) -> Scores:
    """Scores of windows that follow each other."""
    values: dict[str, Any] = {}
    for field in fields(Scores):
        items = [getattr(part, field.name) for part in parts]
        if field.name.endswith(("_M", "_MC")):
            values[field.name] = np.concatenate(items)
        elif field.name == "by":
            values[field.name] = {name: reduce(add, [item[name] for item in items]) for name in items[0]}
        else:
            values[field.name] = sum(items)
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
