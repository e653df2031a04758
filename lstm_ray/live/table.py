"""A store's rows as a table, for whoever trains on them. Knows Polars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from lstm_ray.live.reading import chunks


def frame(file: Path, since: int = 0) -> pl.DataFrame:
    """Rows that are new or told otherwise since the change of this number, in that order.

    Columns: ``series`` (as requests name it), ``tick`` (as ``Schema.ticks``), ``sequence`` (number of the last change), and
    each column as Float64, null where nobody told it. A class is told by its index in ``Schema.classes``.
    Raises InputError where there is no store.
    """
    columns, found = chunks(file, since)
    kinds = {"series": pl.String, "tick": pl.Int64, "sequence": pl.Int64} | dict.fromkeys(columns, pl.Float64)
    parts = [pl.DataFrame(schema=kinds)]
    for chunk in found:
        values = {name: np.ascontiguousarray(chunk.values_TF[:, f]) for f, name in enumerate(columns)}
        head = {"series": chunk.series_T, "tick": chunk.tick_T, "sequence": chunk.sequence_T}
        parts.append(pl.DataFrame({**head, **values}, schema=kinds).with_columns(pl.col(columns).fill_nan(None)))
    return pl.concat(parts)
