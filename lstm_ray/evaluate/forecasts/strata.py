"""What windows and steps are told apart by: the calendar of what is forecast, and how high and how restless the history was.

Knows segments; knows no model and no forecast. A window's level is the mean of its newest season, its volatility that season's
standard deviation, both in the deviations of its series' training part; strata are fifths of the training windows. Nothing
that comes after an origin decides its stratum.

Legend: M windows, N series, C target channels, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.timeline import calendar
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.forecasts.layout import Index
from lstm_ray.evaluate.gather import HOURS, history, series_names
from lstm_ray.sections.prepare import WindowConfig

DAY_MICROSECONDS = 86_400_000_000
WEEKDAYS, MONTHS = 7, 12
FIFTHS = 5
EDGES_FROM = 20_000
"""Training windows that the edges of strata are read from, evenly spread."""


@dataclass(frozen=True)
class Strata:
    """How windows are told apart by their history."""

    steps: int
    """Of the newest history: a season, or all of it where that is shorter or there is no season."""
    mean_NC: NDArray
    """Of each series' training part; of all series' where it has none."""
    deviation_NC: NDArray
    level_edges: NDArray
    """The four between fifths."""
    volatility_edges: NDArray

    def of(self, segments: Segments, origins_M: NDArray, series_M: NDArray) -> dict[str, Index]:
        """The fifth of each window, int64 [M, C], from 0 for the lowest."""
        level_MC, volatility_MC = _recent(segments, origins_M, self.steps)
        unit_MC = self.deviation_NC[series_M]
        level_MC = (level_MC - self.mean_NC[series_M]) / unit_MC
        return {
            "level": (np.searchsorted(self.level_edges, level_MC, side="right"), FIFTHS),
            "volatility": (np.searchsorted(self.volatility_edges, volatility_MC / unit_MC, side="right"), FIFTHS),
        }


def strata_of(segments: Segments, parts: Boundaries, window: WindowConfig) -> Strata | None:
    """Read from the training part alone; None where it holds no window."""
    train_M = origins(segments, parts, "train", window)
    if not len(train_M):
        return None
    train_M = train_M[:: -(-len(train_M) // EDGES_FROM)]
    mean_NC, deviation_NC = _of_series(segments, parts)
    steps = window.season if 1 < window.season <= window.history else window.history
    _, series_S = series_names(segments)
    series_M = series_S[segments.series_of(train_M)]
    level_MC, volatility_MC = _recent(segments, train_M, steps)
    fifths = np.arange(1, FIFTHS) / FIFTHS
    level_edges = np.quantile((level_MC - mean_NC[series_M]) / deviation_NC[series_M], fifths)
    return Strata(
        steps, mean_NC, deviation_NC, level_edges, np.quantile(volatility_MC / deviation_NC[series_M], fifths)
    )


def calendar_cells(segments: Segments, rows: NDArray) -> dict[str, Index]:
    """Where rows stand in the calendar, on its clock: ``weekday_hour`` (24 for each day from Monday) where steps are shorter
    than a day, ``weekday`` where they are days, and ``month`` from January; nothing where time is no calendar.

    Args:
        rows: [...], or [H, M] with each window's in one column.
    """
    schema = segments.schema
    if not schema.has_dates:
        return {}
    head = rows if rows.ndim == 1 else rows[0]
    step = rows + (segments.steps(head) - head)
    first, last = int(step.min()), int(step.max())
    # Windows share most of their steps: each is looked up in the calendar once.
    is_dense = last - first < step.size
    asked = np.arange(first, last + 1) if is_dense else step
    times = calendar.local(schema.times(asked), schema.time_zone)
    weekday = calendar.weekdays(times)
    found: dict[str, Index] = {"month": (calendar.months(times), MONTHS)}
    if schema.is_time and schema.step < DAY_MICROSECONDS:
        found["weekday_hour"] = weekday * HOURS + calendar.hours(times), WEEKDAYS * HOURS
    elif schema.is_time and schema.step % (WEEKDAYS * DAY_MICROSECONDS):
        found["weekday"] = weekday, WEEKDAYS
    return {name: (index[step - first] if is_dense else index, num) for name, (index, num) in found.items()}


def _recent(segments: Segments, origins_M: NDArray, steps: int) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of the newest steps of each window, [M, C]."""
    values_MLC = history(segments, origins_M, steps)
    return values_MLC.mean(axis=1), values_MLC.std(axis=1)


def _of_series(segments: Segments, parts: Boundaries) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of each series' measured training values, float64 [N, C]; 1 for a deviation of 0."""
    names, series_S = series_names(segments)
    rows = np.flatnonzero(rows_in(segments, parts, "train"))
    series_R, num = series_S[segments.series_of(rows)], len(names)
    means, deviations = [], []
    for c in range(segments.target_RC.shape[1]):
        seen = segments.observed_RC[rows, c] > 0
        value, series = segments.target_RC[rows, c][seen].astype(np.float64), series_R[seen]
        count = np.bincount(series, minlength=num)
        pooled = value.mean() if len(value) else 0.0
        mean = np.where(count, np.bincount(series, value, num) / np.maximum(count, 1), pooled)
        square = np.bincount(series, (value - mean[series]) ** 2, num) / np.maximum(count, 1)
        means.append(mean)
        deviations.append(np.sqrt(np.where(count, square, value.var() if len(value) else 0.0)))
    deviation_NC = np.stack(deviations, axis=1)
    return np.stack(means, axis=1), np.where(deviation_NC > 0, deviation_NC, 1.0)
