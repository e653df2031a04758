"""What an analysis returns, and the words and units all of them share. Knows nothing of what any of them looks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from lstm_ray.data.timeline import frequency
from lstm_ray.data.timeline.frequency import MICROSECONDS, describe_step
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding
from lstm_ray.sections.data import DataConfig

YEAR_MICROSECONDS = 365.25 * MICROSECONDS["d"]
INTEGER_UNIT_STEPS = 1000
"""Slopes of integer time are per this many steps."""
ONLY = "all"
"""The name ``grid.load`` gives the one series of a table without series_id."""
CLIPPED = 6.0
"""Deviations that preprocess.outliers: clip leaves, unless the YAML says otherwise."""
MONTHS_FROM_DAYS = 90
NAMED = 4
"""Names listed in a sentence before it says how many more there are."""


@dataclass
class Analysis:
    """The result of one analysis; tables are rows as plain dicts, or a plain dict."""

    tables: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def say(self, severity: Literal["info", "advice", "warning"], text: str, advice: str = "") -> None:
        self.findings.append(Finding(severity=severity, text=text, advice=advice))


@dataclass(frozen=True)
class Clock:
    """The grid's step, in microseconds of time stamps, units of integers, or months since 1970."""

    step: int
    is_time: bool
    in_months: bool = False

    @property
    def unit_steps(self) -> float:
        """Steps in the unit of slopes: a year, or a thousand integer steps."""
        if self.in_months:
            return 12 / self.step
        return YEAR_MICROSECONDS / self.step if self.is_time else float(INTEGER_UNIT_STEPS)

    @property
    def unit(self) -> str:
        return "year" if self.is_time or self.in_months else f"{INTEGER_UNIT_STEPS:,} steps"

    @property
    def day_steps(self) -> int | None:
        """Steps in a day, where time stamps divide a day into at least two."""
        day = MICROSECONDS["d"]
        return day // self.step if self.is_time and day % self.step == 0 and self.step < day else None

    def span(self, num_steps: int) -> str:
        """A number of steps in words, such as ``24 steps (1d)``."""
        words = f"{num_steps:,} step{'s' if num_steps != 1 else ''}"
        if not num_steps or not (self.is_time or self.in_months):
            return words
        return f"{words} ({describe_step(self.step * num_steps, True, self.in_months)})"


def clock_of(frame: pl.DataFrame, step: int, data: DataConfig) -> Clock:
    """The clock of a typed table whose grid has this step."""
    return Clock(step, isinstance(frame.schema[TIME], pl.Datetime), bool(frequency.months(data)))


def number(value: float | None) -> str:
    """A number as people write it: three figures, thousands with commas."""
    if value is None or not math.isfinite(value):
        return "undefined"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share as a percentage; a small one that is not nothing never reads as 0 %."""
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def within(series: str) -> str:
    """`` in 'NAME'``, or nothing where the table is one series without a name."""
    return "" if series == ONLY else f" in '{series}'"


def counted(num: int, one: str, many: str = "") -> str:
    """A count with its noun, such as ``1 series``."""
    return f"{num:,} {one if num == 1 else many or one + 's'}"


def when(time: Any, clock: Clock | None = None) -> str:
    """A point in time in words; with a clock of months, such as 2010-01."""
    if clock is not None and clock.in_months:
        return f"{1970 + int(time) // 12}-{int(time) % 12 + 1:02d}"
    return time.isoformat(sep=" ", timespec="minutes") if isinstance(time, datetime) else f"step {time}"


def advise(section: str, **fields: Any) -> str:
    """The YAML line that sets fields of a config section."""
    inner = yaml.safe_dump(fields, default_flow_style=True, sort_keys=False, width=math.inf).strip()
    return f"{section}: {inner}"


def tidy(value: Any) -> Any:
    """Plain JSON values: NumPy unwrapped, floats to six figures, undefined numbers as None, times as text."""
    if isinstance(value, Mapping):
        return {str(key): tidy(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [tidy(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value


def axis_of(frame: pl.DataFrame) -> tuple[int, int]:
    """First and last time of a table as integers: microseconds since 1970, or steps."""
    ticks = frame[TIME].cast(pl.Int64)
    return int(ticks.min()), int(ticks.max())  # type: ignore[arg-type]


def stretches(column: str, clock: Clock, first: int, last: int, most: int) -> pl.Expr:
    """The start of the month a time lies in, from a quarter of a year on; otherwise of one of ``most`` equal stretches.

    Args:
        first, last: the ends of the whole span, as integers.
    """
    if clock.is_time and last - first >= MONTHS_FROM_DAYS * MICROSECONDS["d"]:
        return pl.col(column).dt.truncate("1mo")
    width = max(1, -(-((last - first) // clock.step + 1) // most)) * clock.step
    start = first + (pl.col(column).cast(pl.Int64) - first) // width * width
    return start.cast(pl.Datetime("us")) if clock.is_time else start


def values_of(frame: pl.DataFrame, series: str, column: str) -> NDArray:
    """One series' column on the regular grid as float64, NaN where missing. Shape [T]."""
    found = frame.filter(pl.col(SERIES) == series)[column].cast(pl.Float64)
    return np.asarray(found.to_numpy(), dtype=np.float64)


def times_of(frame: pl.DataFrame, series: str) -> list[Any]:
    """The grid of one series. Length T."""
    return frame.filter(pl.col(SERIES) == series)[TIME].to_list()


def representative(frame: pl.DataFrame, column: str) -> str:
    """The series with the most values of a column; the first by name among equals."""
    counts = frame.group_by(SERIES).agg(n=pl.col(column).count()).sort("n", SERIES, descending=[True, False])
    return str(counts[SERIES][0])


def filled(values_T: NDArray) -> NDArray:
    """Missing values on a straight line between their neighbours, the ends held; all zero where there is no value."""
    seen = np.isfinite(values_T)
    if seen.all() or not seen.any():
        return values_T if seen.any() else np.zeros_like(values_T)
    at = np.arange(len(values_T))
    return np.asarray(np.interp(at, at[seen], values_T[seen]))


def varies(values_T: NDArray) -> bool:
    """Whether there are at least two different values, beyond rounding."""
    seen = values_T[np.isfinite(values_T)]
    return len(seen) > 1 and float(np.ptp(seen)) > 1e-12 * max(1.0, float(np.abs(seen).max()))
