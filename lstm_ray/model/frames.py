"""A table of many series as those that a policy predicts, and predictions as columns of a table again.

A table is anything whose columns become NumPy arrays: a polars or pandas DataFrame, a pyarrow Table, a mapping of arrays. None
of these packages is imported. Rows name their series and time in the columns of the YAML (``data.series_id``, ``data.time``),
in any order. Shapes: R rows of one series, X steps of the grid that they span, H horizon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.errors import InputError, nearest
from lstm_ray.model.request import Reader, SeriesInput

SEPARATOR = " | "
"""Between the values of several columns that together name a series."""
MOST_EMPTY = 10_000
"""Steps that a series may lack on its grid, beyond three for each that it has: a wrong date spans centuries."""
OWN_TIME, OWN_SERIES = "time", "series"
"""Names of columns where the YAML has none."""
OFFSET = re.compile(r":\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
"""Ends a time that says how far from UTC its clock is."""


def is_table(given: Any) -> bool:
    # Asked of the class: some packages warn, or work, where an object is.
    return isinstance(given, Mapping) or hasattr(type(given), "columns") or hasattr(type(given), "column_names")


def require_series(given: Any) -> None:
    """Raises InputError for what is neither a table nor a sequence of series."""
    if isinstance(given, SeriesInput):
        raise InputError("one series is given on its own; put it into a list: predict([series])")
    listed = isinstance(given, (list, tuple))
    if wrong := [one for one in (given if listed else [given]) if not isinstance(one, SeriesInput)]:
        found = f"{'a list of ' if listed else ''}{type(wrong[0]).__name__}"
        raise InputError(
            f"{found} is no table and no list of SeriesInput; give a polars or pandas DataFrame, a pyarrow Table, a mapping of "
            "column names to arrays, or a list of SeriesInput"
        )


def series_of(table: Any, reader: Reader) -> list[SeriesInput]:
    """The series of a table, in the order in which they first appear.

    To forecast, history ends with the last row that measures a target; rows after it tell what is known ahead, and need no
    target. Steps without a row are missing values. Static columns need not be repeated ahead.

    Raises InputError that names column, series, time and the fix: for a column that is missing or no numbers, two rows of one
    series and time, times off the grid.
    """
    config, schema = reader.config, reader.schema
    columns = _columns(table)
    needed = [*schema.target, *schema.past, *schema.known]
    for name in [*needed, *schema.categories]:
        if name not in columns:
            raise InputError(f"the table has no column '{name}', which this policy reads{nearest(name, columns)}")
    if not (num_rows := len(next(iter(columns.values())))):
        raise InputError("the table has no rows; give the history of a series at least")
    numbers = {name: _numbers(columns[name], name) for name in needed}
    words = {name: _words(columns[name]) for name in schema.categories}
    names_R = _names(columns, config, num_rows)
    ticks_R = _ticks(columns, reader, names_R)
    _, first_S, of_R = np.unique(names_R, return_index=True, return_inverse=True)
    rows = np.lexsort((ticks_R, of_R))
    parts = np.split(rows, np.flatnonzero(np.diff(of_R[rows])) + 1)
    found = []
    for s in np.argsort(first_S, kind="stable"):
        at = parts[s]
        name = str(names_R[at[0]])
        own = {column: values[at] for column, values in numbers.items()}
        static = {column: _constant(values[at], column, name) for column, values in words.items()}
        found.append(_series(name, ticks_R[at], own, static, reader))
    return found


def _series(
    name: str, ticks_R: NDArray, columns: Mapping[str, NDArray], static: Mapping[str, str], reader: Reader
) -> SeriesInput:
    """One series: its rows in order, laid out on the grid and divided into history and what is known ahead."""
    schema, config = reader.schema, reader.config
    where = f"series '{name}'" if name else "the series"
    at_R = _on_grid(ticks_R, where, reader)
    num_steps = int(at_R[-1]) + 1
    laid = {}
    for column, values_R in columns.items():
        laid[column] = np.full(num_steps, np.nan)
        laid[column][at_R] = values_R
    times = schema.of_ticks(ticks_R[0] + schema.step * np.arange(num_steps))
    if config.task != "forecast":
        return SeriesInput(times, laid, name=name, static=static)  # type: ignore[arg-type]
    measured_X = np.any([~np.isnan(laid[column]) for column in schema.target], axis=0)
    if not measured_X.any():
        raise InputError(f"{where} measures none of {', '.join(schema.target)} in any row; give its history")
    end, horizon = int(np.flatnonzero(measured_X)[-1]) + 1, config.window.horizon
    ahead = num_steps - end
    future = {}
    for column in schema.known:
        future[column] = laid[column][end : end + horizon]
        if column in config.data.static:
            told = laid[column][~np.isnan(laid[column])]
            future[column] = np.full(horizon, told[-1] if len(told) else np.nan)
        elif ahead < horizon:
            raise InputError(
                f"{where} has {ahead} rows after its last measured target, {times[end - 1]}; '{column}' must be known for "
                f"the {horizon} steps after it: add rows with these times and {', '.join(schema.target)} left empty"
            )
    history = {column: values[:end] for column, values in laid.items()}
    return SeriesInput(times[:end], history, future, name, static)  # type: ignore[arg-type]


def _on_grid(ticks_R: NDArray, where: str, reader: Reader) -> NDArray:
    """The step of each row, counted from the first, [R]."""
    schema = reader.schema
    at_R, off_R = np.divmod(ticks_R - ticks_R[0], schema.step)
    if off_R.any():
        wrong = schema.of_ticks(ticks_R[np.flatnonzero(off_R)[:1]])[0]
        raise InputError(
            f"{where}: time {wrong} lies between the steps of the grid that begins at {schema.of_ticks(ticks_R[:1])[0]}; "
            "round or resample times to the policy's step first"
        )
    if (same_R := np.diff(at_R) == 0).any():
        twice = schema.of_ticks(ticks_R[np.flatnonzero(same_R)[:1]])[0]
        raise InputError(
            f"{where} has more than one row for time {twice}; keep one of them, or name what tells two series apart"
        )
    if at_R[-1] + 1 > 4 * len(at_R) + MOST_EMPTY:
        ends = schema.of_ticks(ticks_R[[0, -1]])
        raise InputError(
            f"{where} has {len(at_R):,} rows in the {int(at_R[-1]) + 1:,} steps from {ends[0]} to {ends[1]}; is one of the "
            "times wrong? Give the rows of its newest stretch alone"
        )
    found: NDArray = at_R
    return found


def as_columns(predictions: Sequence[Any], policy: Any) -> dict[str, Any]:
    """Predictions as columns that ``polars.DataFrame`` and ``pandas.DataFrame`` take, named as ``lstm-ray forecast`` names
    them: a row for each series, step and target of a forecast, for each sequence, or for each step that is labelled.

    Args:
        policy: the one that predicted.
    """
    schema, task = policy.schema, policy.config.task
    if task == "forecast":
        num_rows = [len(one.times) * len(schema.target) for one in predictions]
        values_MQ = np.concatenate([one.values_HCQ.reshape(-1, len(policy.quantiles)) for one in predictions])
        middle = policy.quantiles.index(0.5)
        found = {"time": np.repeat(np.concatenate([one.times for one in predictions]), len(schema.target))}
        found["target"] = np.array(schema.target * (sum(num_rows) // len(schema.target)), dtype=object)
        found["median"] = values_MQ[:, middle]
        found |= {f"q{level:g}": values_MQ[:, q] for q, level in enumerate(policy.quantiles) if q != middle}
    else:
        answers = [one.probabilities[None] if task == "classify" else one.answer_LA for one in predictions]
        num_rows, answer_MA = [len(answer_LA) for answer_LA in answers], np.concatenate(answers)
        found = {} if task == "classify" else {"time": np.concatenate([one.times for one in predictions])}
        if schema.classes:
            found["class"] = np.array(schema.classes, dtype=object)[answer_MA.argmax(1)]
            found |= {f"probability {name}": answer_MA[:, a] for a, name in enumerate(schema.classes)}
        else:
            found["value"] = answer_MA[:, 0]
    names, warnings = (
        [text for text, n in zip(texts, num_rows, strict=True) for _ in range(n)]
        for texts in ([one.name for one in predictions], ["; ".join(one.warnings) for one in predictions])
    )
    return {"series": names, **found, "warnings": warnings}


def _columns(table: Any) -> dict[str, Any]:
    """Columns by name, all of one length."""
    if isinstance(table, Mapping):
        found = {str(name): column for name, column in table.items()}
    elif hasattr(table, "collect_schema") and hasattr(table, "collect"):
        raise InputError("the table is lazy; give what its collect() answers with")
    elif hasattr(table, "column_names"):
        found = {name: table.column(name) for name in table.column_names}
    else:
        # What pandas groups by or reads with index_col is no column of its own.
        named = [name for name in getattr(getattr(table, "index", None), "names", []) if name is not None]
        if named and not {*named} & {*table.columns}:
            table = table.reset_index()
        found = {str(name): table[name] for name in table.columns}
    if not found:
        raise InputError("the table has no columns")
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        short = min(lengths, key=lambda name: lengths[name])
        long = max(lengths, key=lambda name: lengths[name])
        raise InputError(
            f"column '{short}' has {lengths[short]} values and '{long}' {lengths[long]}; give one for each row"
        )
    return found


def _array(column: Any) -> NDArray:
    if hasattr(column, "null_count") and hasattr(column, "buffers"):
        # A pyarrow Array, as a RecordBatch holds them, copies only where it is told to.
        return np.asarray(column.to_numpy(zero_copy_only=False))
    found = column.to_numpy() if hasattr(column, "to_numpy") else column
    return np.asarray(found)


def _numbers(column: Any, name: str) -> NDArray:
    """Of a column, float64, NaN where missing."""
    values = _array(column)
    if values.ndim != 1:
        raise InputError(f"column '{name}' has shape {values.shape}; give one number for each row")
    if values.dtype == object:
        # A missing value may be None, NaN or a package's own, which equals nothing.
        values = np.array([np.nan if _missing(value) else value for value in values], dtype=object)
    texts = [value for value in values if isinstance(value, (str, bytes))] if values.dtype.kind in "OUS" else []
    try:
        if texts or values.dtype.kind in "mMc":
            raise TypeError
        return values.astype(np.float64)
    except (TypeError, ValueError):
        wrong = texts[0] if texts else values[0]
        raise InputError(
            f"column '{name}' holds {str(wrong)!r}, which is no number; convert the column to floats, missing values to null"
        ) from None


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _words(column: Any) -> NDArray:
    """Of a categorical column, as text; None where missing."""
    found = [None if _missing(v) else v if isinstance(v, str) else _word(v) for v in _array(column).tolist()]
    return np.array(found, dtype=object)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _constant(values_R: NDArray, column: str, name: str) -> str:
    told = {value for value in values_R if value is not None}
    if len(told) != 1:
        found = f"holds {' and '.join(map(repr, sorted(told)[:2]))}" if told else "is empty"
        raise InputError(f"series '{name}': column '{column}' {found}; it must be one value in all rows of a series")
    return str(told.pop())


def _names(columns: Mapping[str, Any], config: Config, num_rows: int) -> NDArray:
    """The series of each row, as training named it. Without the columns that name series all rows are one."""
    ids = config.data.series_id or ([OWN_SERIES] if config.data.layout != "long" else [])
    there = [name for name in ids if name in columns]
    if not there:
        return np.full(num_rows, "", dtype=object)
    if missing := [name for name in ids if name not in columns]:
        raise InputError(
            f"the table has no column '{missing[0]}', which together with {', '.join(there)} names a series"
            f"{nearest(missing[0], columns)}"
        )
    words = [[word or "" for word in _words(columns[name])] for name in there]
    return np.array([SEPARATOR.join(parts) for parts in zip(*words, strict=True)], dtype=object)


def _ticks(columns: Mapping[str, Any], reader: Reader, names_R: NDArray) -> NDArray:
    """The time of each row; rows of a series are numbered as they come where the policy knows no times."""
    schema, data = reader.schema, reader.config.data
    name = data.time or (OWN_TIME if data.layout != "long" else None)
    if data.irregular == "time_delta":
        # Each row is a step, however far from the one before: its column of that name says how far.
        name = None
    if name is None:
        order = np.argsort(names_R, kind="stable")
        starts = np.flatnonzero(np.append(True, names_R[order][1:] != names_R[order][:-1]))
        number_R = np.empty(len(names_R), dtype=np.int64)
        lengths = np.diff(np.append(starts, len(order)))
        number_R[order] = np.arange(len(order)) - np.repeat(starts, lengths)
        return number_R * schema.step
    if name not in columns:
        raise InputError(f"the table has no column '{name}', which holds the time of each row{nearest(name, columns)}")
    column = columns[name]
    if schema.has_dates and schema.on_own_clock:
        column = _as_written(column)
    elif data.time_zone and not _names_zone(column):
        raise InputError(
            f"column '{name}' names no zone, and this policy's files are read on the clock of {data.time_zone}, on which an "
            "hour may come twice; give times with their zone, or UTC as datetime64 arrays"
        )
    values = _array(column)
    if values.dtype.kind == "M" and not schema.has_dates:
        raise InputError(f"column '{name}' holds times, and this policy counts integer steps; give those")
    if values.dtype.kind in "iuf" and schema.has_dates:
        raise InputError(
            f"column '{name}' holds numbers such as {values[0]}, and this policy reads times; give datetimes"
        )
    if values.dtype.kind == "f":
        if not np.all(values == np.floor(values)):
            raise InputError(f"column '{name}' holds {values[values != np.floor(values)][0]}; give whole numbers")
        values = values.astype(np.int64)
    return reader.ticks(values, f"column '{name}'")


def _as_written(column: Any) -> Any:
    """Times without their zone, as its clock shows them: the axis is that of no zone in particular."""
    if (clock := getattr(column, "dt", None)) is None:
        return column
    if hasattr(clock, "replace_time_zone"):
        return clock.replace_time_zone(None)
    return clock.tz_localize(None) if hasattr(clock, "tz_localize") else column


def _names_zone(column: Any) -> bool:
    """Whether times say what they are in UTC: NumPy's do, a package's where it knows their zone, a text with an offset."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return True
    kind = getattr(column, "dtype", getattr(column, "type", None))
    if getattr(kind, "tz", None) or getattr(kind, "time_zone", None):
        return True
    return len(column) > 0 and OFFSET.search(str(_array(column)[0])) is not None
