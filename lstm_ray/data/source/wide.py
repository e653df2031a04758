"""Wide tables, a row or a column per series, as one long table. Knows nothing of files' places or of column roles.

Shapes: S series, W columns of values in one file, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.sections.data import OWN_TIME

MOST_NAMED = 3
"""Series that a message names."""


def to_long(parts: Sequence[tuple[str, pl.DataFrame]], name_column: str, value_column: str) -> pa.Table:
    """Rows of ``name_column``, OWN_TIME and ``value_column`` from files that continue one another.

    There are no time stamps, so every series ends on the last step: the longest one starts at step 0. Empty cells at the
    end of a row mean that the series is shorter, others that a value is missing.

    Args:
        parts: each file's name for people, and its table: the series' names first, then values.

    Raises InputError where a name repeats in a file or is not in all of them, and where text stands for a number.
    """
    order = _names(*parts[0])
    position = {name: row for row, name in enumerate(order)}
    taken_S = np.zeros(len(order), dtype=np.int64)
    values, series, steps = [], [], []
    for file, table in parts:
        names = _names(file, table)
        _require_same_names(parts[0][0], position, file, names)
        values_SW = _numbers(file, table)
        row_S = np.asarray([position[name] for name in names], dtype=np.int64)
        measured_SW = ~np.isnan(values_SW)
        column_W = np.arange(values_SW.shape[1])
        length_S = np.where(measured_SW, column_W + 1, 0).max(axis=1, initial=0)
        inside_SW = column_W < length_S[:, None]
        values.append(values_SW[inside_SW])
        series.append(np.repeat(row_S, length_S))
        steps.append((taken_S[row_S][:, None] + column_W)[inside_SW])
        taken_S[row_S] += length_S
    of_row = np.concatenate(series)
    step = np.concatenate(steps) + (taken_S.max() - taken_S)[of_row]
    return pa.table(
        {
            name_column: pa.array(order, pa.string()).take(pa.array(of_row)),
            OWN_TIME: pa.array(step),
            value_column: pa.array(np.concatenate(values), from_pandas=True),
        }
    )


def from_columns(table: pa.Table, series: Sequence[str], name_column: str, value_column: str) -> pa.Table:
    """A row for each series and row of ``table``: its other columns, ``name_column`` and ``value_column``.

    Row by row, so that a table read in runs of rows gives the same as one read whole. Where there is nothing beside the
    time, an empty cell is no row: series begin and end where they do.

    Args:
        table: ``series`` as float64 columns, the time, and columns that all series share.
    """
    of_series = {*series}
    shared = [name for name in table.column_names if name not in of_series]
    numbers = [table[name].to_numpy() for name in series]
    values_RS = np.column_stack(numbers) if numbers else np.empty((table.num_rows, 0))
    kept = ~np.isnan(values_RS).ravel() if len(shared) < 2 else np.ones(values_RS.size, dtype=bool)
    row = np.repeat(np.arange(table.num_rows), len(series))[kept]
    column = np.tile(np.arange(len(series), dtype=np.int32), table.num_rows)[kept]
    names = pa.DictionaryArray.from_arrays(pa.array(column), pa.array(series, pa.string()))
    long = table.select(shared).take(pa.array(row))
    long = long.append_column(name_column, names.cast(pa.string()))
    return long.append_column(value_column, pa.array(values_RS.ravel()[kept], from_pandas=True))


def _names(file: str, table: pl.DataFrame) -> list[str]:
    names: list[str] = table.to_series(0).cast(pl.String).to_list()
    if None in names:
        raise InputError(
            f"row {table.to_series(0).is_null().arg_max()} of '{file}' has no name in its first column; name every series"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"series '{twice}' has two rows in '{file}'; keep one row for each series")
    return names


def _require_same_names(first_file: str, first: dict[str, int], file: str, names: list[str]) -> None:
    for missing, where, other in (
        (first.keys() - set(names), file, first_file),
        (set(names) - first.keys(), first_file, file),
    ):
        if missing:
            some = ", ".join(f"'{name}'" for name in sorted(missing)[:MOST_NAMED])
            raise InputError(
                f"{len(missing)} series of '{other}' are not in '{where}', such as {some}; the files of a wide source "
                "continue one another, so each must hold every series"
            )


def _numbers(file: str, table: pl.DataFrame) -> NDArray:
    """[S, W] float64; NaN where a cell is empty."""
    cells = table[:, 1:]
    if not cells.width:
        raise InputError(f"'{file}' has one column alone; a wide table holds a series' name and then its values")
    numbers = cells.select(pl.all().cast(pl.Float64, strict=False))
    for before, after in zip(cells, numbers, strict=True):
        if (bad := before.is_not_null() & after.is_null()).any():
            row = int(bad.arg_max() or 0)
            raise InputError(
                f"column '{before.name}' of '{file}' holds {before[row]!r} in the row of series '{table[row, 0]}', which "
                "is no number; a wide table holds a series' name and then numbers alone"
            )
    values_SW: NDArray = numbers.to_numpy()
    return values_SW
