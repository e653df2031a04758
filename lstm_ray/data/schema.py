"""What the columns mean and how they are scaled: what a policy carries to speak the data's units. Opens no data."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lstm_ray.data import calendar

EPOCH = np.datetime64(0, "us")
MIN_DEVIATION = 1e-7
"""A column that varies less than this share of its mean in training is constant, as float32 sees it, and scaled by 1."""


MAX_LOGARITHM = 80.0
"""Largest logarithm that is raised again: what float32 still holds."""
DIGITS = 9
"""Significant digits of training statistics: more than float32 inputs have."""


class Schema(BaseModel):
    """Columns by role, and the time axis they lie on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: list[str]
    past: list[str]
    known: list[str]
    """Known and static columns of the table; the calendar's columns follow them in every array."""
    calendar: list[Literal["hour", "weekday", "month"]]
    classes: list[str]
    """Class names in the order of their indices (task: classify, or label where labels are classes)."""
    label: str | None = None
    """Column whose class or value each step has (task: label)."""
    categories: dict[str, list[str]] = {}
    """Each categorical column's values in the training part, in the order of their codes from 1; code 0 is any other."""
    step: int
    """Length of one step: microseconds for time stamps, units of the integer for steps."""
    is_time: bool
    axis_start: int
    """Time of step 0: microseconds since 1970, or the smallest integer."""

    @property
    def num_known(self) -> int:
        return len(self.known) + 2 * len(self.calendar)

    @property
    def observed(self) -> list[str]:
        """The columns of which segments tell measured values from imputed ones: targets, or past inputs where each step
        has a label."""
        return self.past if self.label else self.target

    def times(self, steps: NDArray) -> NDArray:
        """datetime64[us] (or the integers) of step numbers on the common axis."""
        ticks = self.axis_start + np.asarray(steps, dtype=np.int64) * self.step
        return EPOCH + ticks.astype("timedelta64[us]") if self.is_time else ticks

    def calendar_features(self, times: NDArray) -> NDArray:
        """float32 [T, 2 * cycles]; no columns where time is no calendar."""
        if not self.calendar:
            return np.empty((len(times), 0), dtype=np.float32)
        return calendar.features(times, self.calendar)


class ColumnScale(BaseModel):
    """Mean and deviation of some columns over the training part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: list[float]
    deviation: list[float]


class LogScale(BaseModel):
    """Targets as logarithms of value plus offset, and the mean and deviation of those over the training part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: list[float]
    mean: list[float]
    deviation: list[float]


class Scaler(BaseModel):
    """Standardisation fitted on the training part alone; calendar columns are left as they are.

    Targets may be learned as logarithms. ``target`` (``target_mean``, ``target_deviation``) holds their own statistics
    also then: "scaled" errors are measured in those.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: ColumnScale
    past: ColumnScale
    known: ColumnScale
    label: ColumnScale | None = None
    """Of the labels of steps, where these are values; they are never clipped."""
    limit: float | None = None
    """Scaled inputs are clipped to this many deviations; None: never."""
    log: LogScale | None = None
    """How targets become logarithms; None: they stay as they are."""

    @property
    def target_mean(self) -> NDArray:
        return np.asarray(self.target.mean, dtype=np.float32)

    @property
    def target_deviation(self) -> NDArray:
        return np.asarray(self.target.deviation, dtype=np.float32)

    def scale(self, values: NDArray, role: Literal["target", "past", "known"]) -> NDArray:
        """Standardise columns of one role (last axis); missing becomes 0, the training part's mean."""
        columns: ColumnScale | LogScale = getattr(self, role)
        if role == "target" and self.log is not None:
            columns, values = self.log, self._logarithm(values)
        mean, deviation = (np.asarray(v, dtype=np.float32) for v in (columns.mean, columns.deviation))
        scaled = np.nan_to_num((values - mean) / deviation, nan=0.0).astype(np.float32, copy=False)
        return scaled if self.limit is None else np.clip(scaled, -self.limit, self.limit)

    def unscale(self, values: NDArray, *, quantile_axis: bool = False) -> NDArray:
        """The inverse of ``scale(values, "target")``, float32 of any shape [..., C]; with logarithms never below 0.

        Args:
            quantile_axis: the shape is [..., C, Q].
        """
        columns: ColumnScale | LogScale = self.log or self.target
        mean, deviation = (np.asarray(v, dtype=np.float32) for v in (columns.mean, columns.deviation))
        if quantile_axis:
            mean, deviation = mean[:, None], deviation[:, None]
        found: NDArray = values * deviation + mean
        return found if self.log is None else self._exponential(found, quantile_axis)

    def scale_label(self, values: NDArray) -> NDArray:
        """Labels of steps as a network learns them: values standardised, classes as they are; NaN stays NaN."""
        if self.label is None:
            return values.astype(np.float32, copy=False)
        scaled: NDArray = ((values - self.label.mean[0]) / self.label.deviation[0]).astype(np.float32)
        return scaled

    def unscale_label(self, values: NDArray) -> NDArray:
        """The inverse of ``scale_label`` for values, float32 of any shape."""
        assert self.label is not None, "classes have no units"
        return np.asarray(values * self.label.deviation[0] + self.label.mean[0], dtype=np.float32)

    def centre(self, role: Literal["target", "past", "known"]) -> list[float]:
        """The value of each column that scaling turns into 0: what stands for a missing one."""
        if role == "target" and self.log is not None:
            return [float(value) for value in self.unscale(np.zeros(len(self.log.mean), np.float32))]
        columns: ColumnScale = getattr(self, role)
        return columns.mean

    def difference(self, actual: NDArray, forecast: NDArray) -> NDArray:
        """Errors [..., C] that ``moved`` adds to other forecasts: of the logarithms where those are learned, for there a
        series' errors grow with its size."""
        if self.log is None:
            return actual - forecast
        error: NDArray = self._logarithm(actual) - self._logarithm(forecast)
        return error

    def moved(self, forecast: NDArray, difference: NDArray) -> NDArray:
        """Forecasts [..., C] with errors added: ``moved(forecast, difference(actual, forecast))`` is the actual values."""
        if self.log is None:
            return forecast + difference
        return self._exponential(self._logarithm(forecast) + difference)

    def _logarithm(self, values: NDArray) -> NDArray:
        """What lies below 0, as a damaged input may, is read as 0."""
        assert self.log is not None
        found: NDArray = np.log(np.maximum(values, 0) + np.asarray(self.log.offset, dtype=np.float32))
        return found

    def _exponential(self, values: NDArray, quantile_axis: bool = False) -> NDArray:
        assert self.log is not None
        offset = np.asarray(self.log.offset, dtype=np.float32)
        raised = np.exp(np.minimum(values, MAX_LOGARITHM)) - (offset[:, None] if quantile_axis else offset)
        found: NDArray = np.maximum(raised, 0)
        return found


def column_scale(count: NDArray, total: NDArray, squares: NDArray) -> ColumnScale:
    """Mean and deviation from sums that add over workers: counts, sums and sums of squares per column.

    A column without values in training gets mean 0 and deviation 1.
    """
    count = np.maximum(count, 1)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation = np.where(deviation <= MIN_DEVIATION * np.abs(mean), 1.0, deviation)
    return ColumnScale(mean=_rounded(mean), deviation=_rounded(deviation))


def _rounded(values: NDArray) -> list[float]:
    """To DIGITS, so that the order in which blocks are summed leaves no trace in a run that must repeat."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
