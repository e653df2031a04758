"""Rows in the order of series and time, rows of the same time joined. Knows nothing of files or of grids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

SERIES, TIME = "series", "time"
NUMBER = "number of the series"
SUNDAY, CLOCKS_ARE_SET = 7, 4
"""The day and the hour before which most zones set their clocks."""


@dataclass(frozen=True)
class Runs:
    """Where the runs of one series begin in a table, and how far its rows are apart."""

    starts: NDArray
    """First row of each run, int64; one run for each series where rows are in order."""
    between: NDArray
    """How far each row is from the one before it, int64 [rows]; 0 for the first of a run."""

    @property
    def same(self) -> NDArray:
        """Which rows repeat the time of the one before them in their run, bool [rows]."""
        found: NDArray = self.between == 0
        found[self.starts] = False
        return found


def runs_of(frame: pl.DataFrame) -> Runs:
    names, ticks = frame[SERIES], ticks_of(frame)
    starts = np.flatnonzero((names != names.shift(1)).fill_null(True).to_numpy())
    between = np.diff(ticks, prepend=ticks[:1])
    between[starts] = 0
    return Runs(starts, between)


def ticks_of(frame: pl.DataFrame) -> NDArray:
    """Times as int64: microseconds since 1970, or whole numbers."""
    return frame[TIME].to_physical().to_numpy()


def in_order(frame: pl.DataFrame) -> tuple[pl.DataFrame, Runs]:
    """Rows sorted by series and time; of the same time in the order they had. What is in order costs a look."""
    runs = runs_of(frame)
    heads = frame[SERIES].gather(runs.starts)
    if (runs.between >= 0).all():
        if heads.is_sorted():
            return frame, runs
        if heads.n_unique() == len(heads):
            frame = frame[_whole_runs(runs.starts, heads.arg_sort().to_numpy(), frame.height)]
            return frame, runs_of(frame)
    names = frame[SERIES].unique().sort()
    number = frame[SERIES].cast(pl.Enum(names)).to_physical().cast(pl.UInt32)
    # Rows in the order of time, as most tables are, are in order once they are dealt to their series.
    frame = frame.with_columns(number.alias(NUMBER))[_by_number(number.to_numpy())]
    runs = runs_of(frame)
    if (runs.between < 0).any():
        frame = frame.sort(NUMBER, TIME, maintain_order=True)
        runs = runs_of(frame)
    return frame.drop(NUMBER), runs


def _by_number(numbers: NDArray) -> NDArray:
    """The rows sorted by small whole numbers, stable: a radix sort, which NumPy has for 16 bits."""
    order = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    if len(numbers) and numbers.max() > 0xFFFF:
        order = order[np.argsort((numbers >> 16).astype(np.uint16)[order], kind="stable")]
    return order


def _whole_runs(starts: NDArray, order: NDArray, height: int) -> NDArray:
    """The rows of runs in another order."""
    lengths = np.diff(starts, append=height)[order]
    ends = np.cumsum(lengths)
    return np.repeat(starts[order] - (ends - lengths), lengths) + np.arange(height)


def distinct(frame: pl.DataFrame, runs: Runs, data: DataConfig, counts: Counter[str] | None = None) -> pl.DataFrame:
    """One row for each series and time, as data.duplicates says, of rows in order.

    Args:
        counts: "duplicates" grows by the rows that are no more.

    Raises InputError where duplicates are refused.
    """
    if len(runs.between) - np.count_nonzero(runs.between) == len(runs.starts):
        return frame
    same = runs.same
    if data.duplicates == "error":
        _refuse(frame, same, data)
    if counts is not None:
        counts["duplicates"] += int(same.sum())
    if data.duplicates == "last":
        return frame.filter(~np.append(same[1:], False))
    return joined(frame, same, data, data.duplicates)


def joined(frame: pl.DataFrame, same: NDArray, data: DataConfig, how: str) -> pl.DataFrame:
    """Runs of rows made one: the mean or sum of what numbers are there, the last of static numbers, classes and words.

    Args:
        same: bool [N]: belongs to the row before it.
        how: "mean" or "sum".
    """
    if not same.any():
        return frame
    inside = same | np.append(same[1:], False)
    summed = [c for c in data.numeric if c in frame.columns and c not in data.static]
    rest = [c for c in frame.columns if c not in (SERIES, TIME, *summed)]
    numbers = [(pl.col(c).sum() if how == "sum" else pl.col(c).mean()) for c in summed]
    made = [pl.when(pl.col(c).count() > 0).then(number).alias(c) for c, number in zip(summed, numbers, strict=True)]
    numbered = frame.with_columns(run=pl.Series(np.cumsum(~same)))
    runs = numbered.filter(inside).group_by("run", maintain_order=True)
    one = runs.agg(pl.col(SERIES, TIME).first(), *made, *(pl.col(c).drop_nulls().last() for c in rest))
    whole = pl.concat([numbered.filter(~inside), one.select(numbered.columns)])
    return whole.sort("run", maintain_order=True).drop("run")


def _refuse(frame: pl.DataFrame, same: NDArray, data: DataConfig) -> None:
    repeated = int((same | np.append(same[1:], False)).sum())
    series, time = frame.row(int(np.argmax(same)))[:2]
    where = f" in series '{series}'" if data.series_id else ""
    keys = "" if data.series_id else ", or name the columns in data.series_id"
    if _set_back(frame, same) and data.time_zone is None:
        keys += ", or name the zone in data.time_zone whose clocks were set back then"
    raise InputError(
        f"time stamp {time} occurs twice{where} ({repeated} rows repeat one in all); keep one of each{keys}, or set "
        "data.duplicates to last, mean or sum"
    )


def _set_back(frame: pl.DataFrame, same: NDArray) -> bool:
    """Whether all rows that come twice lie in the first hours of Sundays, when clocks are set."""
    twice = frame.filter(pl.Series(same))[TIME]
    if not isinstance(twice.dtype, pl.Datetime):
        return False
    return bool(((twice.dt.weekday() == SUNDAY) & (twice.dt.hour() < CLOCKS_ARE_SET)).all())
