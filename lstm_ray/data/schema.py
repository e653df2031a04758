"""What the columns mean and how they are scaled: what a policy carries to speak the data's units. Opens no data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.timeline import calendar

EPOCH = np.datetime64(0, "us")
MIN_DEVIATION = 1e-7
"""A column that varies less than this share of its mean in training is constant, as float32 sees it, and scaled by 1."""
MIN_OWN = 8
"""Measured values that a series must have for units of its own."""
MIN_OWN_DEVIATION = 1e-6
"""A series that varies less than this share of its values is constant, as float32 sees a history."""
NORMAL_QUARTILES = 1.349
"""Distance between the quartiles of a normal distribution, in deviations."""
Role = Literal["target", "past", "known"]
ROLES: tuple[Role, ...] = ("target", "past", "known")


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
    weight: str | None = None
    """Column of how much each row counts in the training loss; no input (data.weight)."""
    categories: dict[str, list[str]] = {}
    """Each categorical column's values in the training part, in the order of their codes from 1; code 0 is any other."""
    step: int
    """Length of one step: microseconds for time stamps, months where these are counted, units of the integer for steps."""
    is_time: bool
    """Ticks are the microseconds of time stamps."""
    in_months: bool = False
    """Ticks are months since 1970 (data.frequency: 1mo), and times the first days of them."""
    axis_start: int
    """Time of step 0: microseconds or months since 1970, or the smallest integer."""
    time_zone: str | None = None
    """Whose clock the calendar follows; None: UTC, or the clock of the times themselves."""
    local_clock: bool = False
    """Times are those of a zone's clock, not UTC: steps are whole days there (data.time_zone with data.frequency)."""
    holidays: list[str] = []
    """ISO dates, in order, on which the last calendar column is 1; empty: no such column. None lies more than ten years
    after the data, so a policy older than that knows no holidays."""

    @property
    def has_dates(self) -> bool:
        """Times are datetime64, not the integers of steps."""
        return self.is_time or self.in_months

    @property
    def on_own_clock(self) -> bool:
        """A time is read as it is written, whatever offset it names: the axis is that of no zone in particular."""
        return self.local_clock or self.in_months

    @property
    def num_known(self) -> int:
        return len(self.known) + 2 * len(self.calendar) + bool(self.holidays)

    @property
    def observed(self) -> list[str]:
        """The columns of which segments tell measured values from imputed ones: targets, or past inputs where each step
        has a label."""
        return self.past if self.label else self.target

    def times(self, steps: NDArray) -> NDArray:
        """datetime64[us] (or the integers) of step numbers on the common axis."""
        return self.of_ticks(self.axis_start + np.asarray(steps, dtype=np.int64) * self.step)

    def of_ticks(self, ticks: NDArray) -> NDArray:
        """datetime64[us] (or the integers) of int64 ticks."""
        if self.in_months:
            return ticks.astype("datetime64[M]").astype("datetime64[us]")
        return EPOCH + ticks.astype("timedelta64[us]") if self.is_time else ticks

    def ticks(self, times: NDArray) -> NDArray:
        """int64 ticks of datetime64 times (or of the integers). A day of a month stands for it."""
        if self.in_months:
            return times.astype("datetime64[M]").astype(np.int64)
        return (times - EPOCH).astype("timedelta64[us]").astype(np.int64) if self.is_time else times.astype(np.int64)

    def calendar_features(self, times: NDArray) -> NDArray:
        """float32 [T, 2 * cycles + 1]: the cycles, and whether a holiday lies in the step, both on the local clock; no columns
        where time is no calendar."""
        if not self.calendar and not self.holidays:
            return np.empty((len(times), 0), dtype=np.float32)
        clock = calendar.local(times, self.time_zone)
        cycles = calendar.features(clock, self.calendar)
        if not self.holidays:
            return cycles
        ends = calendar.local(self.of_ticks(self.ticks(times) + self.step), self.time_zone) - np.timedelta64(1, "us")
        return np.concatenate([cycles, calendar.holidays(clock, ends, self.holidays)[:, None]], axis=1)


class ColumnScale(BaseModel):
    """Mean and deviation of some columns over the training part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: list[float]
    deviation: list[float]


class Units(BaseModel):
    """How columns are told to a network, where not in deviations from their mean: less ``zero``, in ``unit``. Of targets that
    are transformed, all of it is of the transformed values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zero: list[float]
    unit: list[float]
    typical: list[float]
    """Stands for a missing value."""
    spread: list[float]
    """Deviation: what a value's distance from the typical one is judged by."""


class Fence(BaseModel):
    """What lies outside, in the data's own units, is an outlier of its column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: list[float]
    high: list[float]


class SeriesUnits(BaseModel):
    """The units of each series' targets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: dict[str, list[float]]
    """By a series' name: the zero of each target, then the unit of each. Series that training knows too little of are left
    out, as those that it does not know."""
    scale: Literal["standard", "robust", "minmax"]
    """How those of another series are measured, over the history that is sent."""
    steps: int
    """Length of a history."""


@dataclass(frozen=True)
class Own:
    """Zero and unit of the targets of B series, windows or rows, float32 [B, C] each; of transformed values."""

    zero_BC: NDArray
    unit_BC: NDArray

    def take(self, index: NDArray) -> Own:
        return Own(self.zero_BC[index], self.unit_BC[index])

    def repeat(self, counts: NDArray | int) -> Own:
        return Own(self.zero_BC.repeat(counts, axis=0), self.unit_BC.repeat(counts, axis=0))

    def across(self, ndim: int, quantile_axis: bool = False) -> tuple[NDArray, NDArray]:
        """Zero and unit in a shape that meets values [B, ..., C], or [B, ..., C, Q]."""
        batch, channels = self.zero_BC.shape
        shape = (batch, *[1] * (ndim - 2 - quantile_axis), channels, *[1] * quantile_axis)
        return self.zero_BC.reshape(shape), self.unit_BC.reshape(shape)


class Scaler(BaseModel):
    """How values become what a network reads, fitted on the training part alone; calendar columns are left as they are.

    ``target`` (``target_mean``, ``target_deviation``), ``past`` and ``known`` hold the columns' own statistics, whatever is
    learned: "scaled" errors are measured in those.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: ColumnScale
    past: ColumnScale
    known: ColumnScale
    label: ColumnScale | None = None
    """Of the labels of steps, where these are values; they are never clipped."""
    transform: Transform | None = None
    """What targets are learned as; None: they stay as they are."""
    read: dict[Role, Units] = {}
    """Of roles that are not told in deviations from their own mean."""
    series: SeriesUnits | None = None
    """Of targets, where each series has its own; ``read`` (or ``target``) then holds those of all together."""
    cleaning: Cleaning | None = None
    """What is done to outliers; None: they are kept."""
    fences: dict[Role, Fence] | None = None
    """Where outliers begin, for those methods that say so for a whole column; None: they are kept, or found in their place."""

    @property
    def target_mean(self) -> NDArray:
        return np.asarray(self.target.mean, dtype=np.float32)

    @property
    def target_deviation(self) -> NDArray:
        return np.asarray(self.target.deviation, dtype=np.float32)

    def units(self, role: Role) -> tuple[NDArray, NDArray]:
        """Zero and unit of each column, float32 [F] each."""
        if found := self.read.get(role):
            return np.asarray(found.zero, dtype=np.float32), np.asarray(found.unit, dtype=np.float32)
        columns: ColumnScale = getattr(self, role)
        return np.asarray(columns.mean, dtype=np.float32), np.asarray(columns.deviation, dtype=np.float32)

    def spread(self, role: Role) -> NDArray:
        """Deviation of each column as it is read, float32 [F]: 1 unless the scale is another."""
        found = self.read.get(role)
        unit = self.units(role)[1]
        return np.asarray(found.spread, dtype=np.float32) / unit if found else np.ones_like(unit)

    def scale(self, values: NDArray, role: Role, own: Own | None = None) -> NDArray:
        """Columns of one role [..., F] as a network reads them, float32; missing becomes the typical value.

        Args:
            own: of the series or windows on the first axis [B, ..., C], for targets where each series has its own units.
        """
        zero, unit = self.units(role) if own is None else own.across(values.ndim)
        found = (self.learned(values, role) - zero) / unit
        typical = self._typical(role)
        if own is None and typical.any():
            np.copyto(found, typical, where=np.isnan(found))
        return np.nan_to_num(found, copy=False, nan=0.0).astype(np.float32, copy=False)

    def learned(self, values: NDArray, role: Role) -> NDArray:
        """Columns of one role [..., F] within their fences and transformed, before they are told in units."""
        if self.fences is not None:
            fence = self.fences[role]
            values = np.clip(values, np.asarray(fence.low, np.float32), np.asarray(fence.high, np.float32))
        return self.transform.apply(values) if role == "target" and self.transform is not None else values

    def unscale(self, values: NDArray, *, quantile_axis: bool = False, own: Own | None = None) -> NDArray:
        """The inverse of ``scale(values, "target", own)``, float32 of any shape [..., C].

        Args:
            quantile_axis: the shape is [..., C, Q].
        """
        if own is not None:
            zero, unit = own.across(values.ndim, quantile_axis)
        else:
            zero, unit = self.units("target")
            if quantile_axis:
                zero, unit = zero[:, None], unit[:, None]
        found: NDArray = values * unit + zero
        return found if self.transform is None else self.transform.invert(found, quantile_axis)

    def own(self, names: Sequence[str], history: Callable[[int], NDArray]) -> Own | None:
        """The units of the targets of B series: those of training, or of a history where training knows none, or too little;
        of all together where that is short. None where all series share one.

        Args:
            history: the ``learned`` targets of the b-th one up to where it is read from [L, C], NaN where none was measured.
        """
        if self.series is None:
            return None
        zero, unit = self.units("target")
        found = Own(np.tile(zero, (len(names), 1)), np.tile(unit, (len(names), 1)))
        told = [self.series.of.get(name) for name in names]
        known = [b for b, numbers in enumerate(told) if numbers is not None]
        if known:
            zero_unit = np.asarray([told[b] for b in known], dtype=np.float32)
            found.zero_BC[known], found.unit_BC[known] = np.split(zero_unit, 2, axis=1)
        for b in (b for b, numbers in enumerate(told) if numbers is None):
            for c, column in enumerate(history(b).T):
                measured = own_units(column[~np.isnan(column)], self.series.scale)
                if measured is not None:
                    found.zero_BC[b, c], found.unit_BC[b, c] = measured
        return found

    def reach(self, scaled: NDArray, role: Role, own: Own | None = None) -> NDArray:
        """How many training deviations scaled values [..., F] lie from the typical one, float32."""
        if own is not None or role not in self.read:
            return np.abs(scaled)
        found: NDArray = np.abs(scaled - self._typical(role)) / self.spread(role)
        return found

    def _typical(self, role: Role) -> NDArray:
        """What a missing value is read as, float32 [F]."""
        zero, unit = self.units(role)
        found = self.read.get(role)
        typical = np.asarray(found.typical, dtype=np.float32) if found else zero
        if self.fences is not None:
            fence = self.fences[role]
            low, high = (self.learned(np.asarray(end, np.float32), role) for end in (fence.low, fence.high))
            typical = np.clip(typical, low, high).astype(np.float32)
        scaled: NDArray = (typical - zero) / unit
        return scaled

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

    def centre(self, role: Role) -> list[float]:
        """The value of each column that a missing one is read as, in the data's own units."""
        if role == "target" and (self.transform is not None or role in self.read):
            return [float(value) for value in self.unscale(self._typical(role))]
        found, columns = self.read.get(role), getattr(self, role)
        typical: list[float] = found.typical if found else columns.mean
        if self.fences is None:
            return typical
        return [float(value) for value in np.clip(typical, self.fences[role].low, self.fences[role].high)]

    def difference(self, actual: NDArray, forecast: NDArray, own: Own | None = None) -> NDArray:
        """Errors [..., C] that ``moved`` adds to other forecasts: of what is learned, where targets are transformed, for
        there a series' errors grow with its size; in each series' own unit, where it has one."""
        if self.transform is not None:
            actual, forecast = self.transform.apply(actual), self.transform.apply(forecast)
        error: NDArray = actual - forecast
        return error if own is None else error / own.across(error.ndim)[1]

    def moved(self, forecast: NDArray, difference: NDArray, own: Own | None = None) -> NDArray:
        """Forecasts [..., C] with errors added: ``moved(forecast, difference(actual, forecast))`` is the actual values."""
        if own is not None:
            difference = difference * own.across(difference.ndim)[1]
        if self.transform is None:
            return forecast + difference
        return self.transform.invert(self.transform.apply(forecast) + difference)


def own_units(values: NDArray, scale: Literal["standard", "robust", "minmax"]) -> tuple[float, float] | None:
    """Zero and unit of one series' measured values (of one target); None where they are few, or all alike."""
    if len(values) < MIN_OWN:
        return None
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    zero, unit = float(values.mean()), float(values.std())
    if unit <= MIN_OWN_DEVIATION * max(abs(low), abs(high)):
        return None
    if scale == "minmax":
        return low, high - low
    if scale == "robust":
        quarter, zero, last = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
        # Where half the values are alike, the deviation stays.
        unit = (last - quarter) / NORMAL_QUARTILES or unit
    return zero, unit
