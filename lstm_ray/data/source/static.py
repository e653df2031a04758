"""A second table, with a row for each series, beside the rows of a first. Knows nothing of where either comes from."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from lstm_ray.errors import InputError

MOST_NAMED = 3
"""Series that a message names."""
ROW = "row of the second table"


def refuse_repeated(second: pa.Table, keys: Sequence[str], where: str) -> None:
    """Raises InputError where a series has two rows."""
    names = pl.DataFrame(second.select(list(keys)))
    repeated = names.filter(names.is_duplicated()).unique(maintain_order=True)
    if repeated.height:
        raise InputError(
            f"{repeated.height} series have more than one row in data.static_source '{where}', such as {_some(repeated)}; "
            "keep one row for each"
        )


def joined(table: pa.Table, second: pa.Table, keys: Sequence[str], where: str) -> pa.Table:
    """``table`` with the columns of ``second`` beyond the keys, each row with those of its series.

    Raises InputError where a series has no row in ``second``.
    """
    ids = pl.DataFrame(table.select(list(keys)))
    rows = pl.DataFrame(second.select(list(keys))).with_row_index(ROW)
    at = ids.join(rows, on=list(keys), how="left", maintain_order="left", nulls_equal=True)
    if at[ROW].null_count():
        missing = at.filter(pl.col(ROW).is_null()).select(keys).unique(maintain_order=True)
        raise InputError(
            f"series {_some(missing)} of the table {'has' if missing.height == 1 else 'have'} no row in data.static_source "
            f"'{where}' ({missing.height} lack one here); add a row for each"
        )
    values = second.drop_columns(list(keys)).take(at[ROW].to_arrow())
    for name in values.column_names:
        table = table.append_column(name, values[name])
    return table


def _some(names: pl.DataFrame) -> str:
    """The first series, each as its id columns tell it."""
    return ", ".join("'" + " | ".join(str(value) for value in row) + "'" for row in names.head(MOST_NAMED).iter_rows())
