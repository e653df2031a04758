"""One pass over windows: what every forecaster gets right and wrong, batch by batch. Knows no files and no figures.

Legend: M windows, H horizon, C target channels, Q quantiles, B residual bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, chunks
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.churn import revisions
from lstm_ray.evaluate.forecasts.layout import LARGEST, Index, Truth
from lstm_ray.evaluate.forecasts.metrics import ForecastSums, median_index, seasonal_scale
from lstm_ray.evaluate.forecasts.strata import WEEKDAYS, Strata, calendar_cells
from lstm_ray.evaluate.forecasts.sums import ABSOLUTE, ERROR, Tally
from lstm_ray.evaluate.gather import HOURS, Forecaster, ahead, narrow, series_names
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.predictions import writer
from lstm_ray.sections.prepare import WindowConfig


@dataclass(frozen=True)
class Scores:
    """One forecaster's errors. ``a + b`` is the pass over a's windows and then b's."""

    by: dict[str, ForecastSums]
    """By group: ``horizon`` (step ahead) and ``series`` (in the order of ``series_names``); by the time of what is forecast,
    where time has any, ``hour``, ``weekday`` and ``weekday_hour`` (from Monday) and ``month``; and by fifths of ``level`` and
    ``volatility``, from the lowest, where there are ``Yardstick.strata``."""
    count_M: NDArray
    """Measured values of each window."""
    absolute_M: NDArray
    """Sum of each window's absolute errors, in the data's own units."""
    scaled_M: NDArray
    """Mean of each window's absolute errors in training deviations, NaN where nothing was measured."""
    bias_M: NDArray
    """Mean of each window's errors (forecast minus actual) in training deviations, NaN where nothing was measured."""
    first_residual_MC: NDArray
    """Actual minus forecast of each window's first step, in training deviations, NaN where not measured."""
    histogram_B: NDArray
    """How many residuals (actual minus forecast, in training deviations) fall between neighbouring BIN_EDGES."""
    revision_LC: NDArray
    """Sums of how far the median moves from one origin to the next (``churn.revisions``), within batches."""
    num_pairs: int
    """Of such origins."""

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
    square_scale_NC: NDArray | None = None
    """RMSSE's denominators (``metrics.seasonal_scale`` with power 2); None: there is no RMSSE."""
    strata: Strata | None = None
    """How windows are told apart by their history."""

    def scales(self, series_M: NDArray) -> tuple[NDArray, NDArray]:
        """MASE's and RMSSE's denominators of windows, by the number of each one's series, [M, C] each; NaN where unknown."""
        square_NC = np.full_like(self.scale_NC, np.nan) if self.square_scale_NC is None else self.square_scale_NC
        return self.scale_NC[series_M], square_NC[series_M]

    @classmethod
    def of(
        cls,
        segments: Segments,
        bounds: Boundaries,
        window: WindowConfig,
        scaler: Scaler,
        batch: int,
        strata: Strata | None = None,
    ) -> Yardstick:
        """What the training part of some segments holds forecasts against."""
        scales = (seasonal_scale(segments, bounds, window.season, power) for power in (1, 2))
        return cls(window, next(scales), scaler.target_deviation, batch, lookback(scaler), next(scales), strata)


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
    running = {name: _Running(forecaster.quantiles, given.deviation_C) for name, forecaster in forecasters.items()}
    names, series_S = series_names(segments)
    window = given.window
    with writer(out, segments) as write:
        for some in chunks(origins_M, given.batch):
            batch = _Batch.read(segments, some, given, (series_S, len(names)))
            nearby, origin = narrow(segments, some, reach(window) + given.before, window.horizon)
            for name, forecaster in forecasters.items():
                forecast = forecaster.forecast_windows(nearby, origin, given.batch)
                low, high = float(forecast.min()), float(forecast.max())
                if not np.isfinite(high - low):
                    raise _not_finite(name, forecast, segments, some)
                if max(high, -low) > LARGEST and batch.truth.dtype != np.float64:
                    batch = _Batch.read(segments, some, given, (series_S, len(names)), np.float64)
                running[name].add(batch, some, forecast)
                if name == POLICY:
                    write(some, forecast, forecaster.quantiles)
            advance(f"{len(some)} windows")
    return {name: found.scores() for name, found in running.items()}


@dataclass(frozen=True)
class _Batch:
    """What a batch's forecasts are held against."""

    truth: Truth
    of_truth: dict[str, NDArray]
    count_M: NDArray
    first_MC: NDArray
    """The first step's actual value, NaN where it was not measured."""

    @classmethod
    def read(
        cls,
        segments: Segments,
        origins_M: NDArray,
        given: Yardstick,
        series: tuple[NDArray, int],
        dtype: type | None = None,
    ) -> _Batch:
        series_S, num_series = series
        series_M = series_S[segments.series_of(origins_M)]
        by_window: dict[str, Index] = {"series": (series_M, num_series)}
        if given.strata is not None:
            by_window |= given.strata.of(segments, origins_M, series_M)
        horizon = given.window.horizon
        actual, observed = (ahead(values, origins_M, horizon) for values in (segments.target_RC, segments.observed_RC))
        cells = partial(calendar_cells, segments) if segments.schema.has_dates else None
        truth = Truth.of(actual, observed, *given.scales(series_M), by_window, origins_M, cells, dtype)
        truths = truth.sums()
        return cls(
            truth,
            truths.by_group(),
            np.rint(truths.of_windows(0).sum(axis=0)).astype(np.int64),
            np.where(observed[:, 0] > 0, actual[:, 0], np.nan),
        )


class _Running:
    """One forecaster's scores as batches come."""

    def __init__(self, quantiles: list[float], deviation_C: NDArray) -> None:
        self._deviation_C = np.asarray(deviation_C, dtype=np.float64)
        self._tally = Tally(quantiles, self._deviation_C)
        self._middle = median_index(quantiles)
        self._by_window: list[tuple[NDArray, ...]] = []
        self._revision_LC: NDArray | float = 0.0
        self._num_pairs = 0

    def add(self, batch: _Batch, origins_M: NDArray, forecast_MHCQ: NDArray) -> None:
        sums = self._tally.add(batch.truth, batch.of_truth, forecast_MHCQ)
        error_CM, absolute_CM = (sums.of_windows(which).astype(np.float64) for which in (ERROR, ABSOLUTE))
        count_M = batch.count_M
        bias_M, scaled_M = (
            np.where(count_M > 0, (sum_CM / self._deviation_C[:, None]).sum(axis=0) / np.maximum(count_M, 1), np.nan)
            for sum_CM in (error_CM, absolute_CM)
        )
        residual_MC = (batch.first_MC - forecast_MHCQ[:, 0, :, self._middle]) / self._deviation_C
        revision_LC, num_pairs = revisions(forecast_MHCQ[..., self._middle], origins_M)
        self._revision_LC, self._num_pairs = self._revision_LC + revision_LC, self._num_pairs + num_pairs
        found = (
            count_M,
            absolute_CM.sum(axis=0),
            scaled_M,
            bias_M,
            residual_MC.astype(np.float32),
        )
        self._by_window.append(found)

    def scores(self) -> Scores:
        by = self._tally.by()
        if "weekday_hour" in by:
            by |= _marginals(by["weekday_hour"])
        by_window = [np.concatenate(one) for one in zip(*self._by_window, strict=True)]
        count_M, absolute_M, scaled_M, bias_M, first_MC = by_window
        left = self._tally.histogram_B, np.asarray(self._revision_LC), self._num_pairs
        return Scores(by, count_M, absolute_M, scaled_M, bias_M, first_MC, *left)


def _marginals(sums: ForecastSums) -> dict[str, ForecastSums]:
    """Hours of all days, and days of all hours."""
    split = {name: value.reshape(WEEKDAYS, HOURS, -1) for name, value in sums.sums.items()}
    return {
        name: ForecastSums(sums.quantiles, {key: value.sum(axis=axis) for key, value in split.items()})
        for name, axis in {"hour": 0, "weekday": 1}.items()
    }


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


def _not_finite(name: str, forecast_MHCQ: NDArray, segments: Segments, origins_M: NDArray) -> InputError:
    bad = ~np.isfinite(forecast_MHCQ).all(axis=(1, 2, 3))
    first = origins_M[bad][:1]
    series, time = segments.series[int(segments.series_of(first)[0])], segments.times(first)[0]
    return InputError(
        f"'{name}' forecasts values that are not finite in {bad.sum()} windows, the first in series '{series}' "
        f"after {time}; train again with a lower train.learning_rate or train.clip_norm"
    )
