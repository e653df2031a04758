"""Gridded series to segments: gaps cut or filled. Works on any block of whole series; knows nothing of files or models."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.quality.impute import Filling, fill, fill_constant
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline import frequency, holidays
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError

SEGMENT, STEP, OBSERVED = "segment", "step", "observed:"
TRAIN = "observed: train"
"""A column that none of a table's can be called, while segments are made."""
MAX_CLASSES = 1000
"""Classes of steps, at most; a column with more holds something else."""


def make_schema(frame: pl.DataFrame, step: int, config: Config) -> Schema:
    """The schema of a loaded table: ``schema_of`` what its one block tells. Raises InputError where series do not share one
    grid or a role cannot be filled."""
    checked(frame, config)
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    ticks = frame[TIME].cast(pl.Int64)
    start, end = int(ticks.min()), int(ticks.max())  # type: ignore[arg-type]
    refuse_offsets(ticks, start, step, config)
    return schema_of(config, step, is_time, start, end, classes_of(labels_in(frame, config), config))


def checked(frame: pl.DataFrame, config: Config) -> None:
    """What must hold inside every block of whole series, sorted. Raises InputError where a label (task: classify) or a
    categorical column moves within a series or is missing, or a weight is below 0."""
    weight, label = config.data.weight, config.data.label
    if weight and len(below := frame[weight].filter(frame[weight] < 0)):
        series, time = frame.filter(frame[weight] < 0).row(0)[:2]
        raise InputError(
            f"weight '{weight}' is below 0 in {len(below)} rows, such as {below[0]:g} at {time} of series '{series}'; use 0 or "
            "above"
        )
    if label and config.task == "classify":
        mixed = _changing(frame, label)
        if mixed:
            raise InputError(
                f"label '{label}' changes inside {len(mixed)} sequences, such as '{mixed[0]}'; "
                "it must be constant within one data.series_id"
            )
        if frame[label].null_count():
            raise InputError(f"label '{label}' is missing in {frame[label].null_count()} rows; fill or drop them")
    for column in config.data.categorical:
        _require_constant(frame, column)


def refuse_offsets(ticks: pl.Series, start: int, step: int, config: Config) -> None:
    """Raises InputError where ticks lie off the grid that begins at ``start``: of rows, or of the first of each series, whose
    others lie whole steps after it (``grid.frequency``)."""
    if off := int(((ticks - start) % step != 0).sum()):
        raise InputError(
            f"{off} rows of '{config.data.time}' lie between the grid's steps: series start at different offsets; "
            "round the time stamps to data.frequency"
        )


def labels_in(frame: pl.DataFrame, config: Config) -> pl.Series:
    """The different labels of a block, for ``classes_of``; where labels are values, one of them stands for all. Blocks are
    joined by concatenating these."""
    if not config.data.label:
        return pl.Series([], dtype=pl.String)
    found = frame[config.data.label].drop_nulls()
    return found.unique() if config.answers == "classes" else found.head(1)


def classes_of(labels: pl.Series, config: Config) -> list[str]:
    """The classes in their order, given the labels of all blocks. Raises InputError where there is nothing to tell apart."""
    if config.task == "label":
        return _classes_of_steps(labels.unique(), config)
    if config.task != "classify" or not config.data.label:
        return []
    classes = sorted(labels.unique())
    if len(classes) < 2:
        raise InputError(f"label '{config.data.label}' has one class only, {classes}; a classifier needs two")
    return classes


def schema_of(config: Config, step: int, is_time: bool, axis_start: int, axis_end: int, classes: list[str]) -> Schema:
    """The schema, given facts of the whole table.

    Args:
        axis_start, axis_end: first and last tick of all series: microseconds since 1970, or integers.
    """
    data, in_months = config.data, frequency.months(config.data) is not None
    local_clock = frequency.on_local_clock(data)
    return Schema(
        target=data.target,
        past=data.past,
        known=[*data.known, *data.static],
        calendar=config.preprocess.calendar if is_time or in_months else [],
        classes=classes,
        label=data.label if config.task == "label" else None,
        weight=data.weight,
        step=step,
        is_time=is_time,
        in_months=in_months,
        axis_start=axis_start,
        time_zone=data.time_zone if is_time and not local_clock else None,
        local_clock=local_clock and is_time,
        holidays=_holidays(config, is_time, in_months, axis_start, axis_end),
    )


def _holidays(config: Config, is_time: bool, in_months: bool, axis_start: int, axis_end: int) -> list[str]:
    """The dates that preprocess.holidays asks for, from the data's first year on."""
    country = config.preprocess.holidays
    if country is None:
        return []
    if not is_time and not in_months:
        raise InputError(
            f"preprocess.holidays is {country}, but '{config.data.time}' counts steps, which have no dates; remove it"
        )
    years = np.asarray([axis_start, axis_end]).astype("datetime64[M]" if in_months else "datetime64[us]")
    first, last = (int(year) + 1970 for year in years.astype("datetime64[Y]").astype(np.int64))
    return holidays.dates(country, first, last + holidays.YEARS_AHEAD)


def make_segments(frame: pl.DataFrame, schema: Schema, config: Config, train: pl.Expr | None = None) -> pl.DataFrame:
    """Whole series on the regular grid (``grid.on_grid``) to segments, in the data's own units.

    A run of steps without any target (of past inputs, where each step has a label) longer than preprocess.max_gap_steps
    cuts the series; shorter ones are imputed, and ``observed:COLUMN`` tells them from measured values. A classified
    sequence is never cut. What no rule fills, such as what precedes a column's first value, stays null, and is read as the
    training part's mean. The label of a step is never imputed; a static column is filled with its series' own value.

    Args:
        frame: any set of whole series, sorted by series and time.
        train: tells the rows of the training part (over STEP and the columns of ``frame``), which alone give means and
            medians that are not causal; none: every row does.

    Returns columns: series, segment, step, targets, past, known, observed:targets (or observed:past), weight, label and
    categorical.
    """
    data = config.data
    step = ((pl.col(TIME).cast(pl.Int64) - schema.axis_start) // schema.step).alias(STEP)
    label, weight = ([name] if name else [] for name in (data.label, data.weight))
    constant = [*([] if schema.label else label), *data.categorical]
    columns = [*schema.target, *schema.past, *schema.known]
    starts = _series_starts(frame)
    frame = frame.with_columns(step).select(
        SERIES,
        STEP,
        *columns,
        *(pl.col(c).fill_null(1.0) for c in weight),
        *label,
        *data.categorical,
        (pl.lit(True) if train is None or config.preprocess.causal else train).alias(TRAIN),
    )
    frame = frame.with_columns(_constant_in_series(frame[c], starts) for c in constant if frame[c].null_count())
    missing_R = _missing(frame, schema.observed)
    if missing_R is None:
        bounds, segment = np.append(starts, frame.height), np.zeros(frame.height, np.int32)
    else:
        kept_R, segment, bounds = _cut(missing_R, starts, config.preprocess.max_gap_steps)
        frame = frame if kept_R.all() else frame.filter(pl.Series(kept_R))
        starts = _series_starts(frame)
    observed = [frame[c].is_not_null().alias(OBSERVED + c) for c in schema.observed]
    filled = _filled(frame, columns, bounds, np.append(starts, frame.height), config)
    frame = frame.with_columns(pl.Series(SEGMENT, segment), *filled, *observed)
    return frame.select(
        SERIES, SEGMENT, STEP, *columns, *(series.name for series in observed), *weight, *label, *data.categorical
    )


def _series_starts(frame: pl.DataFrame) -> NDArray:
    """Row at which each series begins, int64."""
    name = pl.col(SERIES)
    return frame.select((name != name.shift()).fill_null(True).arg_true()).to_series().to_numpy().astype(np.int64)


def _constant_in_series(column: pl.Series, starts: NDArray) -> pl.Series:
    """Nulls replaced by the first value in their series, where it has one."""
    told = column.is_not_null().to_numpy()
    row = np.arange(len(column))
    of = np.searchsorted(starts, row[~told], side="right") - 1
    told_rows = np.append(row[told], len(column))
    first = told_rows[np.searchsorted(told_rows, starts)]
    inside = first < np.append(starts[1:], len(column))
    row[~told] = np.where(inside, first, starts)[of]
    return column.gather(row)


def _missing(frame: pl.DataFrame, observed: list[str]) -> NDArray | None:
    """Rows in which every one of some columns is missing, bool [R]; none where there is no such row."""
    if not observed or not all(frame[c].null_count() for c in observed):
        return None
    missing = frame.select(pl.all_horizontal(pl.col(c).is_null() for c in observed)).to_series()
    return missing.to_numpy() if missing.any() else None


def _cut(missing_R: NDArray, starts: NDArray, max_gap: int) -> tuple[NDArray, NDArray, NDArray]:
    """Cut series where nothing was measured for longer than ``max_gap`` rows, and trim their ends, however short.

    Returns the rows that stay, bool [R]; of these, the number of each one's segment in its series, and segments' bounds.
    """
    turns = np.append(True, missing_R[1:] != missing_R[:-1])
    turns[starts] = True
    first = np.flatnonzero(turns)
    length, is_gap = np.diff(np.append(first, len(missing_R))), missing_R[first]
    opens = np.isin(first, starts, assume_unique=True)
    is_long = is_gap & (length > max_gap)
    # Segments are numbered by runs of what is long and what is not: 0, then 2 after the first long gap.
    changes = np.append(False, is_long[1:] != is_long[:-1]) & ~opens
    passed = np.cumsum(changes)
    number = passed - passed[opens][np.cumsum(opens) - 1]
    stays = ~(is_gap & (is_long | opens | np.append(opens[1:], True)))
    begins = stays & (opens | np.append(True, ~stays[:-1]))
    bounds = np.append(0, np.cumsum(length[stays]))[np.append(np.flatnonzero(begins[stays]), stays.sum())]
    segment = np.repeat(number[stays], length[stays]).astype(np.int32)
    return np.repeat(stays, length), segment, bounds


def _filled(
    frame: pl.DataFrame, columns: list[str], bounds: NDArray, series: NDArray, config: Config
) -> list[pl.Series]:
    """The columns that miss something, imputed."""
    filling = Filling.of(config.preprocess, config.window)
    filled = []
    for name in columns:
        if frame[name].null_count():
            values_R = frame[name].to_numpy()
            if name in config.data.static:
                values_R = fill_constant(values_R, series)
            else:
                values_R = fill(values_R, bounds, filling, train_R=frame[TRAIN].to_numpy(), series=series)
            filled.append(pl.Series(name, values_R, nan_to_null=True))
    return filled


def _classes_of_steps(found: pl.Series, config: Config) -> list[str]:
    """The classes that steps have, sorted, whole numbers by size; none where labels are values."""
    name = config.data.label
    if found.is_empty():
        raise InputError(f"label '{name}' has no values at all; name another column in data.label")
    if config.answers == "values":
        return []
    if len(found) < 2:
        raise InputError(
            f"label '{name}' has one class only, {found.to_list()}; telling classes apart needs two (data.label_kind: value "
            "learns numbers)"
        )
    if len(found) > MAX_CLASSES:
        raise InputError(
            f"label '{name}' has {len(found)} different classes, more than {MAX_CLASSES}; join rare ones, or set "
            "data.label_kind to value where they are numbers"
        )
    numbers = found.cast(pl.Int64, strict=False)
    by_size = not numbers.null_count() and numbers.cast(pl.String).to_list() == found.to_list()
    return sorted(found.to_list(), key=int) if by_size else sorted(found.to_list())


def _changing(frame: pl.DataFrame, column: str) -> list[str]:
    """The series, in order, in which a column's value is not the one before."""
    same = pl.col(SERIES) == pl.col(SERIES).shift()
    return (
        frame.filter(same & pl.col(column).ne_missing(pl.col(column).shift()))[SERIES]
        .unique(maintain_order=True)
        .to_list()
    )


def _require_constant(frame: pl.DataFrame, column: str) -> None:
    told = frame.select(SERIES, column).drop_nulls(column)
    if changing := _changing(told, column):
        name = changing[0]
        values = told.filter(pl.col(SERIES) == name)[column].unique(maintain_order=True).to_list()
        raise InputError(
            f"categorical column '{column}' changes inside {len(changing)} series, such as '{name}' ({values[:3]}); "
            "it must be constant within one data.series_id; a column that moves belongs in data.past, as numbers"
        )
    if told.height < frame.height:
        empty = (
            frame.select(SERIES).unique(maintain_order=True).join(told, on=SERIES, how="anti", maintain_order="left")
        )
        if empty.height:
            raise InputError(
                f"categorical column '{column}' is empty in {empty.height} series, such as '{empty[SERIES][0]}'; "
                "fill it, with a word such as 'unknown'"
            )
