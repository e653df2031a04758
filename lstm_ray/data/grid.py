"""One typed table to a regular grid: times parsed, duplicates refused, gaps found. Knows nothing of imputation."""

from __future__ import annotations

import re

import polars as pl
import pyarrow as pa

from lstm_ray.data.files import read
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

SERIES, TIME = "series", "time"
MICROSECONDS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
SEPARATOR = " | "


def load(data: DataConfig) -> pl.DataFrame:
    """The source as a table sorted by series and time.

    Columns: ``series`` (the series_id columns joined; one constant without them), ``time`` (Datetime in microseconds,
    UTC where zones are given, or Int64 steps), the numeric columns as Float64 with missing as null, the categorical ones
    and the label. Without data.time, each series' rows are numbered from 0.
    Raises InputError for unparsable or duplicate time stamps and for a target without values.
    """
    return typed(read(data), data)


def typed(table: pa.Table, data: DataConfig) -> pl.DataFrame:
    """``load`` for a table that is already in memory."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    _refuse_infinite(frame, data)
    ids = pl.concat_str([pl.col(c).fill_null("") for c in data.series_id], separator=SEPARATOR)
    label = [pl.col(data.label)] if data.label else []
    if data.label and data.label_kind == "value":
        label = [pl.col(data.label).fill_nan(None)]
    series = (ids if data.series_id else pl.lit("all")).alias(SERIES)
    in_order = pl.int_range(pl.len(), dtype=pl.Int64).over(series)
    frame = frame.select(
        series,
        (_parse_times(frame, data.time) if data.time else in_order).alias(TIME),
        *(pl.col(c).fill_nan(None) for c in data.numeric),
        *(pl.col(c) for c in data.categorical),
        *label,
    ).sort(SERIES, TIME)
    _refuse_duplicates(frame, data)
    for column in data.target:
        if frame[column].null_count() == frame.height:
            raise InputError(f"target '{column}' has no values at all; name another column in data.target")
    return frame


def frequency(frame: pl.DataFrame, data: DataConfig) -> int:
    """The grid's step, in microseconds for time stamps and in steps for integers.

    The declared one, or the commonest difference between neighbours. Raises InputError where neither can be had or where
    the time stamps do not lie on one grid.
    """
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    differences = frame.select(pl.col(TIME).cast(pl.Int64).diff().over(SERIES).drop_nulls())[TIME]
    if data.frequency:
        match = re.fullmatch(r"(\d+)\s*([smhdw])", data.frequency.strip())
        if is_time and not match:
            raise InputError(f"data.frequency '{data.frequency}' is no duration; write such as 30s, 15m, 1h, 1d or 1w")
        if not is_time and not data.frequency.isdigit():
            raise InputError(f"data.frequency '{data.frequency}' must be a whole number: '{data.time}' holds integers")
        step = int(match[1]) * MICROSECONDS[match[2]] if match else int(data.frequency)
        if not step:
            raise InputError(f"data.frequency '{data.frequency}' is no step at all; write such as 15m, 1h or 1d")
    else:
        if differences.is_empty():
            raise InputError("every series has one row, so no frequency can be found; set data.frequency")
        step = int(differences.mode().min())  # type: ignore[arg-type]
    off_grid = (differences % step != 0).sum()
    if off_grid:
        raise InputError(
            f"{off_grid} of {len(differences)} time differences in '{data.time}' are no multiple of the step "
            f"{describe_step(step, is_time)}; set data.frequency to the true step or resample the source"
        )
    return step


def regular(frame: pl.DataFrame, step: int) -> pl.DataFrame:
    """Every series on its full grid: missing time stamps become rows of nulls. Sorted by series and time."""
    bounds = frame.group_by(SERIES, maintain_order=True).agg(first=pl.col(TIME).min(), last=pl.col(TIME).max())
    kind = frame.schema[TIME]
    whole = bounds.select(
        SERIES,
        pl.int_ranges(pl.col("first").cast(pl.Int64), pl.col("last").cast(pl.Int64) + step, step).alias(TIME),
    ).explode(TIME)
    return whole.with_columns(pl.col(TIME).cast(kind)).join(frame, on=[SERIES, TIME], how="left", maintain_order="left")


def describe_step(step: int, is_time: bool = True) -> str:
    """A step in words people use, such as 1h or 15m."""
    if not is_time:
        return str(step)
    for unit in reversed(MICROSECONDS):
        if step % MICROSECONDS[unit] == 0:
            return f"{step // MICROSECONDS[unit]}{unit}"
    return f"{step} microseconds"


def _parse_times(frame: pl.DataFrame, column: str) -> pl.Expr:
    text = frame[column]
    if text.dtype.is_integer():
        return pl.lit(text.cast(pl.Int64))
    if text.null_count():
        row = text.is_null().arg_max()
        raise InputError(
            f"column '{column}' has {text.null_count()} empty time stamps, the first in row {row}; fill them"
        )
    steps = text.cast(pl.Int64, strict=False)
    if not steps.null_count():
        return pl.lit(steps)
    times = text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)
    if times.null_count() == len(times):
        times = text.str.to_date(strict=False).cast(pl.Datetime("us"))
    if times.null_count():
        row = int(times.is_null().arg_max() or 0)
        raise InputError(
            f"column '{column}' holds {text[row]!r} in row {row}, which is no time stamp like the others; "
            "write ISO 8601 such as 2013-01-31T05:00:00Z, or whole numbers"
        )
    return pl.lit(times)


def _refuse_infinite(frame: pl.DataFrame, data: DataConfig) -> None:
    label = [data.label] if data.label and data.label_kind == "value" else []
    for column in (*data.numeric, *label):
        infinite = frame[column].is_infinite().fill_null(False)
        if infinite.any():
            row = int(infinite.arg_max() or 0)
            raise InputError(
                f"column '{column}' holds {frame[column][row]} in row {row}; leave the field empty where nothing was measured"
            )


def _refuse_duplicates(frame: pl.DataFrame, data: DataConfig) -> None:
    repeated = frame.filter(pl.struct(SERIES, TIME).is_duplicated())
    if repeated.height:
        series, time = repeated.row(0)[:2]
        where = f" in series '{series}'" if data.series_id else ""
        hint = "keep one of each" if data.series_id else "keep one of each, or name the columns in data.series_id"
        raise InputError(f"time stamp {time} occurs twice{where} ({repeated.height} rows repeat one in all); {hint}")
