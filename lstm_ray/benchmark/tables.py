"""Generated tables of any size, in Parquet files. Knows nothing of how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

SEED, START = 7, np.datetime64("2020-01-01", "us")
FILE_ROWS = 5_000_000
"""Rows of a file, about."""
SERIES_ID, TIME, VALUE = "item", "time", "value"


def write(folder: Path, num_series: int, num_steps: int, order: Literal["series", "time"]) -> None:
    """Hourly series with a daily wave and noise, with a name, a time stamp and a value a row.

    Args:
        order: files hold one series after the other, or every file some hours of all series.
    """
    folder.mkdir(parents=True)
    whole = num_series if order == "series" else num_steps
    num_files = min(whole, max(4, num_series * num_steps // FILE_ROWS))
    names = pl.Series(SERIES_ID, [f"item-{number:07d}" for number in range(num_series)])
    for file in range(num_files):
        first, end = whole * file // num_files, whole * (file + 1) // num_files
        rows = (end - first) * (num_steps if order == "series" else num_series)
        outer, inner = np.divmod(np.arange(rows), rows // (end - first))
        series, step = (outer + first, inner) if order == "series" else (inner, outer + first)
        noise = np.random.default_rng([SEED, file]).standard_normal(rows)
        value = 10 + np.sin(2 * np.pi * step / 24) + 0.3 * noise
        time = START + step.astype("timedelta64[h]")
        frame = pl.DataFrame([names.gather(series), pl.Series(TIME, time), pl.Series(VALUE, value)])
        frame.write_parquet(folder / f"part-{file:04d}.parquet")
